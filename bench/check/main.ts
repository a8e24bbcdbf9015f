/**
 * `npm run check:gpu`: checks that every result is correct on an adapter, and how fast it is. As a bundle it runs on
 * machines with nothing installed; see scripts/pack-check.sh.
 */

import { fork } from 'node:child_process'
import { basename, dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError, Option } from 'commander'
import { exitCodeAfter } from '../../src/cli/failure.ts'
import { interruptible } from '../../src/cli/interrupt.ts'
import { WeftgradError } from '../../src/errors.ts'
import { writeFileAtomic } from '../../src/format/atomic-write.node.ts'
import { readHostText } from '../../src/format/host-file.node.ts'
import { isRecord, parsedJson } from '../../src/format/json.ts'
import { open } from '../../src/gpu/node/open.ts'
import { adapterFacts } from './adapter-facts.ts'
import type { Launch, PartMessage } from './conduct.ts'
import { conduct, isGood } from './conduct.ts'
import { pageOf } from './page.ts'
import type { Part, PartOptions } from './part.ts'
import { messageOf, PartWork } from './part.ts'
import { allParts } from './parts.ts'
import type { PytorchReport } from './pytorch-report.ts'
import type { CheckReport } from './report.ts'
import { adapterSlug } from './report.ts'

interface CommandOptions extends PartOptions {
  readonly only?: readonly Part[]
  readonly out?: string
  readonly minutes?: number
  readonly page?: string
  readonly pytorch?: string
  /** Set by this program for the processes of its parts. */
  readonly part?: string
  readonly seconds?: number
}

const self = fileURLToPath(import.meta.url)
/** In a clone, reports go into bench/results; a bundle writes into the current folder. */
const isBundle = basename(self) !== 'main.ts'
const kept = isBundle ? '.' : resolve(dirname(self), '../results')

const stop = interruptible(
  () => process.stderr.write('Stopping. The report keeps what was found so far.\n'),
  () => {},
)
const printed = new Set<string>()

/** Runs the chosen parts and writes the report. Returns whether everything is correct. */
async function check(options: CommandOptions): Promise<boolean> {
  if (options.pytorch !== undefined)
    throw new WeftgradError('argument', '--pytorch needs --page: it adds PyTorch to the page of a report.')
  const parts = options.only ?? allParts
  const minutes = options.minutes ?? (options.quick ? 2 : 7)
  const isPartial = options.only !== undefined || options.cases !== undefined
  const fileFor = ({ adapter }: CheckReport): string =>
    options.out ??
    join(kept, `${adapterSlug(adapter)}${isPartial ? '-parts' : ''}${options.quick ? '-quick' : ''}.json`)
  const report = await conduct(parts, {
    quick: options.quick,
    // Opening the adapter and loading the program take a moment for each part.
    seconds: 60 * minutes * 0.95,
    launch: launchWith(options),
    onReport: (report) => writeReport(report, fileFor(report)),
    log: (line) => process.stdout.write(`${line}\n`),
    signal: stop.signal,
  })
  if (report.parts.length > 0) process.stdout.write(`Report: ${fileFor(report)} and ${pageFile(fileFor(report))}\n`)
  return isGood(report)
}

function pageFile(file: string): string {
  return file.replace(/\.json$/, '.md')
}

async function writeReport(report: CheckReport, file: string): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(report, null, 1)}\n`)
  await writeFileAtomic(pageFile(file), pageOf(report, allParts))
}

/** Dawn and the driver print the same warnings in every process. */
function printOnce(line: string): void {
  if (printed.has(line)) return
  printed.add(line)
  process.stderr.write(`${line}\n`)
}

/** Starts a part in its own process, with the same options. */
function launchWith({ quick, cases, dataDir }: CommandOptions): Launch {
  return (part, seconds, onMessage, signal) =>
    new Promise((done) => {
      const flags = [
        ...['--part', part, '--seconds', String(seconds)],
        ...(quick ? ['--quick'] : []),
        ...(cases === undefined ? [] : ['--cases', cases]),
        ...(dataDir === undefined ? [] : ['--data-dir', dataDir]),
      ]
      const child = fork(self, flags, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], serialization: 'json' })
      if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', printOnce)
      const kill = (): void => void child.kill('SIGKILL')
      signal.addEventListener('abort', kill)
      if (signal.aborted) kill()
      child.on('message', (message) => onMessage(message as PartMessage))
      const end = (sentence: string | undefined): void => {
        signal.removeEventListener('abort', kill)
        done(sentence)
      }
      child.on('error', (error) => end(`Its process did not start: ${error.message}`))
      child.on('exit', (code, cause) => {
        if (cause !== null) end(`Its process was ended by ${cause}.`)
        else end(code === 0 ? undefined : `Its process ended with code ${code}.`)
      })
    })
}

/** Runs one part, in its own process. */
async function runPart({ part: name, seconds = 60, quick, cases, dataDir }: CommandOptions): Promise<void> {
  const [part] = partsNamed(name ?? '')
  if (part === undefined || process.send === undefined)
    throw new WeftgradError('argument', '--part is only for the processes that a check starts.')
  const send = (message: PartMessage): Promise<void> =>
    new Promise((sent, failed) => {
      process.send?.(message, (error: Error | null) => (error === null ? sent() : failed(error)))
    })
  let isFirst = true
  const openDevice = async () => {
    const device = await open()
    if (isFirst) await send({ kind: 'adapter', adapter: await adapterFacts(device) })
    isFirst = false
    return device
  }
  try {
    const outcome = await PartWork.run(part, openDevice, { quick, cases, dataDir }, seconds, (outcome) => {
      void send({ kind: 'outcome', outcome }).catch(() => process.exit(1))
    })
    await send({ kind: 'outcome', outcome })
  } catch (error) {
    // The part could not start: there is no device.
    await send({
      kind: 'outcome',
      outcome: { problems: [messageOf(error)], left: [], peakBytes: 0, figures: undefined },
    })
  }
  await send({ kind: 'done' })
  process.disconnect?.()
}

async function writePage(file: string, pytorchFile: string | undefined): Promise<void> {
  const report = readJson<CheckReport>(file, 'weftgrad check')
  const pytorch =
    pytorchFile === undefined ? undefined : readJson<PytorchReport>(pytorchFile, 'weftgrad check, PyTorch')
  const page = pageFile(jsonFile(file))
  await writeFileAtomic(page, pageOf(report, allParts, pytorch))
  process.stdout.write(`${page}\n`)
}

function readJson<Report extends { readonly what: string }>(file: string, what: Report['what']): Report {
  const content = parsedJson(readHostText(file))
  if (isRecord(content) && content.what === what) return content as unknown as Report
  throw new WeftgradError('format', `${file} is not a report of "${what}".`, { file })
}

function partsNamed(text: string): readonly Part[] {
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.filter((name) => allParts.every((part) => part.name !== name))
  if (unknown.length > 0)
    throw new InvalidArgumentError(
      `There is no part "${unknown.join('", "')}"; there are ${allParts.map(({ name }) => name).join(', ')}.`,
    )
  return allParts.filter(({ name }) => names.includes(name))
}

function positive(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0 && Number.isFinite(value)))
    throw new InvalidArgumentError('It must be a number above 0.')
  return value
}

function jsonFile(text: string): string {
  if (!text.endsWith('.json')) throw new InvalidArgumentError('Its name must end in .json.')
  return text
}

try {
  const program = new Command('check:gpu')
    .description("check an adapter: every kernel's results, LeNet-5's training, and speed (at most 7 minutes)")
    .option('--only <parts>', `run only these parts: ${allParts.map(({ name }) => name).join(',')}`, partsNamed)
    .option('--quick', 'fewer samples and less work (at most 2 minutes)', false)
    .option('--out <file.json>', 'write the report here, and a page (.md) next to it', jsonFile)
    .option('--cases <words>', 'check only operator cases whose name contains these words')
    .option('--minutes <number>', 'time limit for all parts', positive)
    .option('--data-dir <folder>', 'the folder with Fashion-MNIST')
    .option('--page <report.json>', 'write the page of an existing report; check nothing')
    .option('--pytorch <file.json>', 'with --page: what pytorch.py measured on the same machine')
    .addOption(new Option('--part <name>').hideHelp())
    .addOption(new Option('--seconds <number>').argParser(positive).hideHelp())
    .exitOverride()
    .action(async (options: CommandOptions) => {
      if (options.part !== undefined) await runPart(options)
      else if (options.page !== undefined) await writePage(options.page, options.pytorch)
      else process.exitCode = (await check(options)) ? 0 : 1
    })
  await program.parseAsync()
  if (stop.exitCode !== undefined) process.exitCode = stop.exitCode
} catch (error) {
  process.exitCode = exitCodeAfter(error, stop)
} finally {
  stop.release()
}
