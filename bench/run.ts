/**
 * A benchmark run: times the kernels that matter, whole training steps and whole networks, and reports the share of the
 * adapter's ceiling that they reach, beside TensorFlow.js if asked for. Every result is verified; a wrong one stops the
 * run.
 */

import { WeftgradError } from '../src/errors.ts'
import { writeFileAtomic } from '../src/format/atomic-write.node.ts'
import type { Device } from '../src/gpu/device.ts'
import { openForCommand } from '../src/runs/device.node.ts'
import type { BenchCase, OpenCase } from './case.ts'
import { workingCommit } from './commit.ts'
import { lenetCases } from './lenet.ts'
import type { Measurement, Sampling, Subject } from './measure.ts'
import { measureInTurn, quickSampling, summarize, thoroughSampling } from './measure.ts'
import { networkCases } from './networks.ts'
import { operatorCases } from './operators.ts'
import type { Ceiling, Peak } from './peak.ts'
import { measureCeiling, rateOf } from './peak.ts'
import { PytorchSide } from './pytorch.ts'
import type { BenchReport, BenchRow, RivalName, RivalResult } from './report.ts'
import { notesOf, rivals, rounded, short, tableHeader, tableLine } from './report.ts'
import { TensorFlowSide } from './tensorflow.ts'
import { trainingKernelCases } from './training-kernels.ts'
import { WrongResult } from './verify.ts'

export interface BenchOptions {
  /** Runs only cases whose name contains all of these words, ignoring case. A comma separates alternatives. */
  readonly filter?: string | readonly string[] | undefined
  /** Fewer samples. */
  readonly quick?: boolean | undefined
  /** The variant to use, by number or name. Cases without it are left out. */
  readonly variant?: string | number | undefined
  /** True times every variant of every case, one row each. */
  readonly allVariants?: boolean | undefined
  /** `tfjs` or `pytorch` times that library too, in turn with ours. */
  readonly against?: string | undefined
  /** A file that the report is also written to. */
  readonly json?: string | undefined
}

const allCases: readonly BenchCase[] = [...operatorCases, ...trainingKernelCases, ...lenetCases, ...networkCases]

/** Prints one line on standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/**
 * Runs the benchmark on the best adapter; `log` receives the table line by line. Throws 'argument' if no case fits the
 * options, WrongResult if a kernel's result is wrong, 'file' if the report cannot be written.
 */
export async function runBench(options: BenchOptions = {}, log: (line: string) => void = print): Promise<BenchReport> {
  const { against } = options
  if (against !== undefined && !isRival(against))
    throw new WeftgradError('argument', `--against takes ${Object.keys(rivals).join(' or ')}, not ${against}.`, {
      against,
    })
  const cases = chosenCases(options.filter)
  const device = await openForCommand()
  try {
    const runs = cases.flatMap((one) => chosenVariants(one, device, options).map((variant) => ({ one, variant })))
    if (runs.length === 0)
      throw new WeftgradError(
        'argument',
        `None of these ${cases.length} cases has a variant ${options.variant} on this adapter; --list names them.`,
      )
    const sampling = options.quick ? quickSampling : thoroughSampling
    log(device.describe())
    const ceiling = await measureCeiling(device, sampling)
    const { peak } = ceiling
    log(
      `ceiling: ${short(peak.gflops)} GFLOP/s (${peak.shapes.gflops}); ${short(peak.gbps)} GB/s (${peak.shapes.gbps})`,
    )
    let side: TensorFlowSide | PytorchSide | undefined
    try {
      if (against !== undefined) side = await (against === 'tfjs' ? TensorFlowSide.open() : PytorchSide.open())
      if (side !== undefined) log(`against: ${side.title}`)
      log(tableHeader)
      const rows: BenchRow[] = []
      for (const { one, variant } of runs) {
        const row = await measureCase(one, variant, { device, sampling, ceiling, side })
        rows.push(row)
        log(tableLine(row))
        for (const note of notesOf(row)) log(`  ${note}`)
      }
      const done = await report(device, options, peak, rows)
      if (options.json !== undefined) {
        await writeFileAtomic(options.json, `${JSON.stringify(done, null, 2)}\n`)
        log(`Report: ${options.json}`)
      }
      return done
    } finally {
      side?.dispose()
      ceiling.dispose()
    }
  } finally {
    device.dispose()
  }
}

/** Lists the cases and their variants without measuring. Throws 'argument' if no case fits the filter. */
export async function listCases(
  filter: BenchOptions['filter'] = [],
  log: (line: string) => void = print,
): Promise<void> {
  const cases = chosenCases(filter)
  const device = await openForCommand()
  try {
    for (const one of cases) log(`${one.name}: ${listedVariants(one, device)}`)
  } finally {
    device.dispose()
  }
}

function isRival(word: string): word is RivalName {
  return Object.hasOwn(rivals, word)
}

function chosenCases(filter: BenchOptions['filter']): BenchCase[] {
  const text = [filter ?? []].flat().join(' ').toLowerCase()
  const alternatives = text.split(',').map((words) => words.trim().split(/\s+/))
  const chosen = allCases.filter(({ name }) =>
    alternatives.some((words) => words.every((word) => name.toLowerCase().includes(word))),
  )
  if (chosen.length === 0)
    throw new WeftgradError('argument', `No case's name contains "${text}". bench --list names them all.`)
  return chosen
}

function listedVariants(one: BenchCase, device: Device): string {
  const preferred = one.preferred(device)
  return one
    .variants(device)
    .map((name, i) => `${i} ${name}${name === preferred ? ' (preferred)' : ''}`)
    .join(', ')
}

function chosenVariants(one: BenchCase, device: Device, { variant, allVariants }: BenchOptions): string[] {
  const names = one.variants(device)
  if (allVariants) return [...names]
  if (variant === undefined) return [one.preferred(device)]
  const named = names.find((name) => name === variant)
  const numbered = /^\d+$/.test(String(variant)) ? names[Number(variant)] : undefined
  return [named ?? numbered].filter((name) => name !== undefined)
}

interface RunContext {
  readonly device: Device
  readonly sampling: Sampling
  readonly ceiling: Ceiling
  readonly side: TensorFlowSide | PytorchSide | undefined
}

async function measureCase(one: BenchCase, variant: string, context: RunContext): Promise<BenchRow> {
  const { device, side } = context
  const ours = await one.open(device, variant)
  try {
    const measure = (): Promise<Measured> => measureSides(ours, one.bound, context)
    const measured = await (side === undefined ? measure() : side.scoped(measure))
    const deviceMilliseconds = device.timestamps ? await timeOnDevice(ours, measured.own) : undefined
    await ours.verify()
    return rowOf(one, ours, measured, { deviceMilliseconds, peak: context.ceiling.peak, rivalName: side?.name })
  } finally {
    ours.dispose()
  }
}

interface Measured {
  readonly own: Measurement
  /** GFLOP/s or GB/s of the ceiling's kernel, sampled in turn. */
  readonly ceiling: number
  readonly rival?: RivalResult
}

/** Samples in turn: ours, the kernel that sets the ceiling and, if asked for and possible, the other library. */
async function measureSides(
  ours: OpenCase,
  bound: BenchCase['bound'],
  { sampling, ceiling, side }: RunContext,
): Promise<Measured> {
  const yardstick = ceiling.yardsticks[bound]
  const theirs = side === undefined ? undefined : await rivalOf(ours, side)
  const rival = theirs !== undefined && 'skipped' in theirs ? undefined : theirs
  const subjects = [ours, yardstick, ...(rival === undefined ? [] : [rival])]
  const [own, limit, other] = await measureInTurn(subjects, sampling)
  if (own === undefined || limit === undefined) throw new RangeError('every subject gives a measurement')
  const measured = { own, ceiling: rateOf(yardstick, limit.milliseconds) }
  if (other !== undefined) {
    const { milliseconds, spread, samples } = other
    const ratio = rounded(milliseconds / own.milliseconds)
    return {
      ...measured,
      rival: { milliseconds: rounded(milliseconds), spread: roundedSpread(spread), samples, ratio },
    }
  }
  return theirs !== undefined && 'skipped' in theirs ? { ...measured, rival: theirs } : measured
}

async function rivalOf(
  ours: OpenCase,
  side: TensorFlowSide | PytorchSide,
): Promise<Subject | { readonly skipped: string }> {
  try {
    return await (side.name === 'tfjs' ? ours.rival(side) : side.subjectFor(ours.pytorch))
  } catch (error) {
    if (error instanceof WrongResult || error instanceof WeftgradError) throw error // ours
    return { skipped: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) }
  }
}

/** Samples by the device's clock. It is steadier than the host's, so a few are enough. */
const deviceSamples = 5

async function timeOnDevice(ours: OpenCase, { repeats }: Measurement): Promise<number> {
  const samples: number[] = []
  for (let i = 0; i < deviceSamples; i++) samples.push(await ours.onDevice(repeats))
  return summarize(samples).median
}

interface RowContext {
  readonly deviceMilliseconds: number | undefined
  readonly peak: Peak
  readonly rivalName: RivalName | undefined
}

function rowOf(
  one: BenchCase,
  ours: OpenCase,
  { own, ceiling, rival }: Measured,
  { deviceMilliseconds, peak, rivalName }: RowContext,
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
    ceiling: rounded(ceiling),
    ...(ours.imagesPerRepeat === undefined
      ? {}
      : { imagesPerSecond: rounded((1000 * ours.imagesPerRepeat) / own.milliseconds) }),
    ...(ours.notes === undefined ? {} : { notes: ours.notes }),
    ...(deviceMilliseconds === undefined ? {} : { deviceMilliseconds: rounded(deviceMilliseconds) }),
    ...(rival === undefined || rivalName === undefined ? {} : { [rivalName]: rival }),
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
