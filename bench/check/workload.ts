/**
 * A traced computation to time: its kernels tuned, the chosen variants bound, and the result read back for
 * verification.
 */

import type { Device } from '../../src/gpu/device.ts'
import type { VariantTable } from '../../src/graph/plan/choice.ts'
import { classKey } from '../../src/graph/plan/choice.ts'
import { Program, planFor } from '../../src/graph/run/program.ts'
import type { TunedKernel } from '../../src/graph/tuning/tuning.ts'
import { tune } from '../../src/graph/tuning/tuning.ts'
import type { Tensor } from '../../src/operators/tensor.ts'
import { Random } from '../../src/random.ts'
import type { Array64 } from '../../test/reference/array64.ts'
import { elementOf } from '../../test/reference/array64.ts'
import { disagreementAt, sampledPlaces, sumTolerance } from '../../test/support/compare.ts'
import type { Measurement, Sampling, Subject } from '../measure.ts'
import { measureInTurn, summarize } from '../measure.ts'
import { rounded } from '../report.ts'
import type { PartWork } from './part.ts'

export class Workload implements Subject {
  readonly maxRepeats = 256
  readonly device: Device
  readonly program: Program
  readonly label: string

  private constructor(device: Device, program: Program, label: string) {
    this.device = device
    this.program = program
    this.label = label
  }

  /** Makes the workload. Throws 'limit' if the adapter is too small for it. */
  static async create(device: Device, y: Tensor, label: string, variants: VariantTable = {}): Promise<Workload> {
    const plan = planFor(device, [{ value: y.value }], { variants })
    return new Workload(device, await Program.create(device, plan, label), label)
  }

  async run(repeats: number): Promise<void> {
    this.device.submitNow(this.program.commands, repeats)
    await this.device.idle()
  }

  async onDevice(repeats: number): Promise<number> {
    return (await this.device.timeOnDevice(this.program.commands, repeats)) / repeats
  }

  async result(): Promise<Float32Array<ArrayBuffer>> {
    const [bytes] = await this.device.readAll(this.program.results)
    return new Float32Array(bytes ?? new ArrayBuffer(0))
  }

  dispose(): void {
    this.program.dispose()
  }
}

/** The times of a kernel's variants. */
export interface VariantTimes {
  readonly kernel: string
  /** The variant used without tuning. */
  readonly preferred: string
  readonly chosen: string
  /** ms per run, or why there is no time. */
  readonly variants: Readonly<Record<string, number | string>>
}

export function variantTimes({ task, chosen, candidates }: TunedKernel): VariantTimes {
  return {
    kernel: classKey(task),
    preferred: task.preferred,
    chosen,
    variants: Object.fromEntries(
      candidates.map(({ variant, milliseconds, problem }) => [
        variant,
        problem ?? (milliseconds === undefined ? 'not run' : rounded(milliseconds)),
      ]),
    ),
  }
}

/** A sentence for each variant with wrong results. Tuning compares each with the plain or the preferred one. */
export function wrongVariants(kernels: readonly TunedKernel[]): string[] {
  return kernels.flatMap(({ task, candidates }) =>
    candidates.flatMap(({ variant, problem }) =>
      problem === undefined || /^(took|is much slower)/.test(problem)
        ? []
        : [`${task.family}/${variant} ${problem} (${task.shapeClass})`],
    ),
  )
}

/** Measures the variants of the kernels that compute `y`. */
export async function tunedKernels(device: Device, y: Tensor, budgetMs: number): Promise<readonly TunedKernel[]> {
  const { tasks } = planFor(device, [{ value: y.value }], { record: true })
  return (await tune(device, tasks, { budgetMs })).kernels
}

function variantTable(kernels: readonly TunedKernel[]): VariantTable {
  return Object.fromEntries(kernels.map(({ task, chosen }) => [classKey(task), chosen]))
}

/** The time of a piece of work, for a report. */
export interface Timing {
  /** Wall-clock time of one repeat: the median. */
  readonly milliseconds: number
  readonly lowerQuartile: number
  readonly upperQuartile: number
  readonly samples: number
  readonly repeats: number
  /** One repeat by the device's own clock: the median of a few; absent without timestamps. */
  readonly deviceMilliseconds?: number
}

/** The timing of a single run. */
export function onceTimed(milliseconds: number): Timing {
  const time = rounded(milliseconds)
  return { milliseconds: time, lowerQuartile: time, upperQuartile: time, samples: 1, repeats: 1 }
}

export interface TimedSubject extends Subject {
  onDevice(repeats: number): Promise<number>
}

/** ms per repeat, by the device's clock if it has one. */
export function timeOf({ milliseconds, deviceMilliseconds }: Timing): number {
  return deviceMilliseconds ?? milliseconds
}

/**
 * Times the work in `opened`, which has preferred kernels, in turn with the same work by tuned kernels, if tuning chose
 * others. The tuned work is added to `opened`, whose owner disposes all of it. Wrong variants are problems of the part.
 */
export async function timedWithTuned<Opened extends TimedSubject>(
  work: PartWork,
  what: string,
  kernels: readonly TunedKernel[],
  opened: Opened[],
  openTuned: (variants: VariantTable) => Promise<Opened>,
  shareOfRest?: number,
): Promise<readonly [preferred: Timing, tuned: Timing | undefined]> {
  for (const sentence of wrongVariants(kernels)) work.problem(`${what}: ${sentence}`)
  if (kernels.some(({ task, chosen }) => chosen !== task.preferred)) opened.push(await openTuned(variantTable(kernels)))
  const [preferred, tuned] = await timed(work.device, opened, work.sampling(shareOfRest))
  if (preferred === undefined) throw new Error('It was not timed.')
  return [preferred, tuned]
}

/** Samples subjects in turn, and each by the device's clock if it has one. */
async function timed(
  device: Device,
  subjects: readonly TimedSubject[],
  sampling: Sampling,
): Promise<readonly Timing[]> {
  const measured = await measureInTurn(subjects, sampling)
  const timings: Timing[] = []
  for (const [i, measurement] of measured.entries()) {
    const subject = subjects[i]
    if (subject === undefined) continue
    const own = device.timestamps ? await onDeviceMedian(subject, measurement, sampling.budgetMilliseconds) : undefined
    timings.push({ ...timingOf(measurement), ...(own === undefined ? {} : { deviceMilliseconds: rounded(own) }) })
  }
  return timings
}

/** Samples by the device's clock vary little: a few are enough, and one if it takes long. */
async function onDeviceMedian(
  subject: TimedSubject,
  { repeats, milliseconds }: Measurement,
  budgetMs: number,
): Promise<number> {
  const count = Math.max(1, Math.min(5, Math.floor(budgetMs / (3 * milliseconds * repeats))))
  const samples: number[] = []
  for (let i = 0; i < count; i++) samples.push(await subject.onDevice(repeats))
  return summarize(samples).median
}

function timingOf({ milliseconds, spread, samples, repeats }: Measurement): Timing {
  return {
    milliseconds: rounded(milliseconds),
    lowerQuartile: rounded(spread.lowerQuartile),
    upperQuartile: rounded(spread.upperQuartile),
    samples,
    repeats,
  }
}

/** Random numbers, made once. Operands are parts of it, each starting at its own position. */
let pool: Float32Array<ArrayBuffer> | undefined
const poolSize = 2 ** 20

/** Uniform in [-1, 1), the same for the same operand; repeats after a million numbers. */
export function madeUp(count: number, operand: number): Float32Array<ArrayBuffer> {
  if (pool === undefined) {
    const random = new Random(1, 'made up')
    pool = Float32Array.from({ length: poolSize }, () => random.uniform() * 2 - 1)
  }
  const numbers = new Float32Array(count)
  // An odd length, so that rows whose length is a power of two differ.
  const own = pool.subarray(operand * 7, poolSize - 101 + operand * 7)
  for (let at = 0; at < count; at += own.length) numbers.set(own.subarray(0, Math.min(own.length, count - at)), at)
  return numbers
}

/** The most positions of a result that are compared with its definition. */
const comparedPlaces = 512

/**
 * A sentence if the result differs from its definition, at a sample of positions. `terms`: products of numbers in [-1,
 * 1) that each position sums.
 */
export function wrongPlaces(actual: Float32Array, expected: Array64, terms: number): string | undefined {
  const places = sampledPlaces(actual.length, comparedPlaces)
  const numberAt = (place: number): number => actual[place] ?? Number.NaN
  return disagreementAt(places, numberAt, (place) => elementOf(expected, place), sumTolerance(terms), expected.shape)
}
