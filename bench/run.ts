/**
 * A benchmark run: times every hot kernel and whole training steps, says what part of the adapter's ceiling they reach,
 * and can put TensorFlow.js beside them. Every result is verified; a wrong one stops the run.
 */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { WeftgradError } from '../src/errors.ts'
import { writeFileAtomic } from '../src/format/atomic-write.node.ts'
import type { Device } from '../src/gpu/device.ts'
import { open } from '../src/gpu/node/open.ts'
import { targetOf } from '../src/graph/program.ts'
import type { Target } from '../src/kernels/kernel.ts'
import type { BenchCase, OpenCase } from './case.ts'
import { kernelCases } from './cases.ts'
import { WrongResult } from './kernel-run.ts'
import { lenetCases } from './lenet.ts'
import type { Measurement, Sampling, Subject } from './measure.ts'
import { measureInTurn, quickSampling, summarize, thoroughSampling } from './measure.ts'
import type { Peak } from './peak.ts'
import { measurePeak } from './peak.ts'
import type { BenchReport, BenchRow, RivalResult } from './report.ts'
import { rounded, short, tableHeader, tableLine } from './report.ts'
import { TensorFlowSide } from './tensorflow.ts'

export interface BenchOptions {
  /** A case runs if its name contains all of these words, in any case. */
  readonly filter?: string | readonly string[] | undefined
  /** Fewer samples. */
  readonly quick?: boolean | undefined
  /** The variant to use, by number or name, for the cases that have it; the others are left out. */
  readonly variant?: string | number | undefined
  /** Every variant of every case, one row each. */
  readonly allVariants?: boolean | undefined
  /** `tfjs`: TensorFlow.js' WebGPU backend in turn with ours. */
  readonly against?: string | undefined
  /** The report goes into this file as well. */
  readonly json?: string | undefined
  /** Names cases and variants and measures nothing. */
  readonly list?: boolean | undefined
}

const allCases: readonly BenchCase[] = [...kernelCases, ...lenetCases]

/** One line for people, on standard output. */
function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/**
 * Runs the benchmark on the best adapter; `log` takes the table line by line. Throws 'argument' for options that fit no
 * case, WrongResult where a kernel's result is wrong, 'file' where the report cannot be written.
 */
export async function runBench(options: BenchOptions = {}, log: (line: string) => void = print): Promise<BenchReport> {
  const { against } = options
  if (against !== undefined && against !== 'tfjs')
    throw new WeftgradError('argument', `--against takes tfjs, not ${against}.`, { against })
  const cases = chosenCases(options.filter)
  const device = await open()
  try {
    const target = targetOf(device)
    if (options.list) {
      for (const one of cases) log(`${one.name}: ${listedVariants(one, target)}`)
      return await report(device, options, { gflops: 0, gbps: 0, shapes: { gflops: '', gbps: '' } }, [])
    }
    const runs = cases.flatMap((one) => chosenVariants(one, target, options).map((variant) => ({ one, variant })))
    if (runs.length === 0)
      throw new WeftgradError('argument', `None of these ${cases.length} cases has a variant ${options.variant} here.`)
    const sampling = options.quick ? quickSampling : thoroughSampling
    log(device.describe())
    const peak = await measurePeak(device, sampling)
    log(
      `ceiling: ${short(peak.gflops)} GFLOP/s (${peak.shapes.gflops}); ${short(peak.gbps)} GB/s (${peak.shapes.gbps})`,
    )
    const side = against === 'tfjs' ? await TensorFlowSide.open() : undefined
    try {
      log(tableHeader)
      const rows: BenchRow[] = []
      for (const { one, variant } of runs) {
        const row = await measureCase(one, variant, { device, target, sampling, peak, side })
        rows.push(row)
        log(tableLine(row))
      }
      const done = await report(device, options, peak, rows)
      if (options.json !== undefined) {
        await writeFileAtomic(options.json, `${JSON.stringify(done, null, 2)}\n`)
        log(`written to ${options.json}`)
      }
      return done
    } finally {
      side?.dispose()
    }
  } finally {
    device.dispose()
  }
}

function chosenCases(filter: BenchOptions['filter']): BenchCase[] {
  const words = [filter ?? []].flat().flatMap((text) => text.toLowerCase().split(/\s+/))
  const chosen = allCases.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)))
  if (chosen.length === 0)
    throw new WeftgradError('argument', `No case's name contains "${words.join(' ')}". bench --list names them all.`)
  return chosen
}

function listedVariants(one: BenchCase, target: Target): string {
  const preferred = one.preferred(target)
  return one
    .variants(target)
    .map((name, i) => `${i} ${name}${name === preferred ? ' (preferred)' : ''}`)
    .join(', ')
}

function chosenVariants(one: BenchCase, target: Target, { variant, allVariants }: BenchOptions): string[] {
  const names = one.variants(target)
  if (allVariants) return [...names]
  if (variant === undefined) return [one.preferred(target)]
  const named = names.find((name) => name === variant)
  const numbered = /^\d+$/.test(String(variant)) ? names[Number(variant)] : undefined
  return [named ?? numbered].filter((name) => name !== undefined)
}

interface Surroundings {
  readonly device: Device
  readonly target: Target
  readonly sampling: Sampling
  readonly peak: Peak
  readonly side: TensorFlowSide | undefined
}

async function measureCase(one: BenchCase, variant: string, around: Surroundings): Promise<BenchRow> {
  const { device, target, sampling, side } = around
  const ours = await one.open(device, target, variant)
  try {
    const measured =
      side === undefined
        ? await measureAlone(ours, sampling)
        : await side.scoped(() => measureBoth(ours, side, sampling))
    const deviceMilliseconds = device.timestamps ? await timeOnDevice(ours, measured.own) : undefined
    await ours.verify()
    return rowOf(one, ours, measured, deviceMilliseconds, around.peak)
  } finally {
    ours.dispose()
  }
}

interface Measured {
  readonly own: Measurement
  readonly rival?: RivalResult
}

async function measureAlone(ours: OpenCase, sampling: Sampling): Promise<Measured> {
  const [own] = await measureInTurn([ours], sampling)
  if (own === undefined) throw new RangeError('one subject gives one measurement')
  return { own }
}

async function measureBoth(ours: OpenCase, side: TensorFlowSide, sampling: Sampling): Promise<Measured> {
  let rival: Subject
  try {
    rival = await ours.rival(side)
  } catch (error) {
    if (error instanceof WrongResult || error instanceof WeftgradError) throw error // ours
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    return { ...(await measureAlone(ours, sampling)), rival: { skipped: reason } }
  }
  const [own, theirs] = await measureInTurn([ours, rival], sampling)
  if (own === undefined || theirs === undefined) throw new RangeError('two subjects give two measurements')
  return {
    own,
    rival: {
      milliseconds: rounded(theirs.milliseconds),
      spread: roundedSpread(theirs.spread),
      samples: theirs.samples,
      ratio: rounded(theirs.milliseconds / own.milliseconds),
    },
  }
}

/** Samples by the device's clock: it is steadier than the host's, a few are enough. */
const deviceSamples = 5

async function timeOnDevice(ours: OpenCase, { repeats }: Measurement): Promise<number> {
  const samples: number[] = []
  for (let i = 0; i < deviceSamples; i++) samples.push(await ours.onDevice(repeats))
  return summarize(samples).median
}

function rowOf(
  one: BenchCase,
  ours: OpenCase,
  { own, rival }: Measured,
  deviceMilliseconds: number | undefined,
  peak: Peak,
): BenchRow {
  const gflops = ours.flops / (own.milliseconds * 1e6)
  const gbps = ours.bytes / (own.milliseconds * 1e6)
  return {
    case: one.name,
    variant: ours.variant,
    bound: one.bound,
    milliseconds: rounded(own.milliseconds),
    spread: roundedSpread(own.spread),
    samples: own.samples,
    repeats: own.repeats,
    gflops: rounded(gflops),
    gbps: rounded(gbps),
    fractionOfPeak: rounded(one.bound === 'arithmetic' ? gflops / peak.gflops : gbps / peak.gbps),
    ...(deviceMilliseconds === undefined ? {} : { deviceMilliseconds: rounded(deviceMilliseconds) }),
    ...(rival === undefined ? {} : { tfjs: rival }),
  }
}

function roundedSpread({ minimum, lowerQuartile, upperQuartile }: Measurement['spread']): Measurement['spread'] {
  return { minimum: rounded(minimum), lowerQuartile: rounded(lowerQuartile), upperQuartile: rounded(upperQuartile) }
}

async function report(
  device: Device,
  { quick = false }: BenchOptions,
  { gflops, gbps, shapes }: Peak,
  rows: readonly BenchRow[],
): Promise<BenchReport> {
  const commit = await workingCommit()
  return {
    adapter: device.describe(),
    hardware: device.facts.hardware,
    date: new Date().toISOString(),
    ...(commit === undefined ? {} : { commit }),
    quick,
    peak: { gflops: rounded(gflops), gbps: rounded(gbps), shapes },
    rows,
  }
}

/** The commit of this working tree, with a `+` where files were changed; undefined outside a repository. */
async function workingCommit(): Promise<string | undefined> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', args, { cwd: import.meta.dirname })).stdout.trim()
  try {
    const commit = await git('rev-parse', '--short=12', 'HEAD')
    return (await git('status', '--porcelain')) === '' ? commit : `${commit}+`
  } catch {
    return undefined
  }
}
