/**
 * Tuning: measures the variants of a kernel on this device, checks them against the reference variant, and puts the
 * fastest into a `VariantTable`. It measures only the kernels it is given, until the budget is spent; the others keep
 * the variant that their family prefers. Kernels that update memory in place are not part of a plan and are not tuned.
 *
 * Measurements differ from run to run, so to reproduce a run bit for bit, keep the table: tuning again may give
 * another.
 */

import type { Device } from '../../gpu/device.ts'
import type { KernelPlan } from '../../kernels/kernel.ts'
import { aFunction, aNumber, anArray, anObject, aSignal, checkOptions } from '../../options.ts'
import type { KernelTask, VariantTable } from '../plan/choice.ts'
import { classKey, variantIn } from '../plan/choice.ts'
import { bytesOf } from '../plan/plan.ts'
import type { BenchedVariant } from './bench.ts'
import { TaskBench } from './bench.ts'

/** Default time budget: enough to tune a LeNet-5 step on software Vulkan. Users would notice a longer start. */
export const defaultBudgetMs = 3000
/** The most variants measured per kernel: the preferred one and those that follow the reference variant. */
const mostCandidates = 8
/** Number of rounds. Each measures all candidates in turn, so a machine that slows down affects all of them. */
const rounds = 7
const fewestRounds = 3
/** Time after which only the fewest rounds are completed: long runs vary less, and other kernels are waiting. */
const longestSamplingMs = 300
/** Shortest sample, reached by repeating the kernel: submitting and waiting alone take 0.1 to 0.2 ms. */
const sampleMs = 4
const mostRepeats = 64
/** A candidate whose second run takes this many times as long as the best one's is not measured further ... */
const hopeless = 10
/**
 * ... if that run took longer than this, or a third run is as slow: a thread that waits for a core can lose this much.
 */
const hiccupMs = 50
/** Resolution of browsers' clocks: a best time of 0 would make all others hopeless. */
const clockMs = 0.1
/**
 * Longest compilation plus first run: a program compiles at every start, and no kernel of a step saves more time than
 * this.
 */
const longestFirstMs = 1000
/**
 * A candidate must beat the preferred variant by this share: between tunings, equal kernels differ by up to that much.
 */
const margin = 0.05
/**
 * The most operations for which the reference variant is measured and used for comparison. With more, it would take a
 * quarter of a second at 1 GFLOP/s (a naive kernel on two cores) or 1 TFLOP/s (on a GPU). The preferred variant, which
 * every test compares with the reference, then takes its place.
 */
const referenceFlops = { cpu: 2.5e8, gpu: 2.5e11 } as const

/** Options of tuning: how long it may take, and what it can skip. */
export interface TuneOptions {
  /** Wall-clock time in ms; 3000 by default. Exceeded by at most one candidate's first dispatch. */
  readonly budgetMs?: number | undefined
  /** More kernels, tuned with the rest of the budget. */
  readonly after?: readonly KernelTask[] | undefined
  /** Kernels with an entry in this table are not measured. */
  readonly known?: VariantTable | undefined
  /** Receives a line about each kernel. */
  readonly log?: ((line: string) => void) | undefined
  /** Stops tuning as if the budget were spent. */
  readonly signal?: AbortSignal | undefined
}

/** Kinds of the options that callers pass on to {@link tune}. */
export const tuneKinds = { budgetMs: aNumber, log: aFunction, signal: aSignal }

/** The measurement of one variant. */
export interface CandidateResult {
  /** Its name in the family. */
  readonly variant: string
  /**
   * Wall-clock time of one run: the lower quartile of the rounds, or a single run if it was given up. Undefined if it
   * was not run.
   */
  readonly milliseconds?: number
  /** The reason it was ruled out. */
  readonly problem?: string
}

/** The tuning result of one kernel. */
export interface TunedKernel {
  /** The kernel. */
  readonly task: KernelTask
  /** The variant to use. */
  readonly chosen: string
  /** The measured variants. */
  readonly candidates: readonly CandidateResult[]
}

/** The result of a tuning. */
export interface TuningResult {
  /** The variants for these kernels, both known and newly found. */
  readonly variants: VariantTable
  /**
   * The tuned kernels, the one with the most work first. `candidates` is empty if only one was worth measuring, or one
   * took the whole budget.
   */
  readonly kernels: readonly TunedKernel[]
  /** Kernels not tuned because the budget was spent. */
  readonly left: number
  /** Wall-clock time. */
  readonly seconds: number
}

/**
 * Measures the kernels that have several variants and no entry in `known`. A candidate that the adapter refuses, or
 * whose results are wrong, is reported and never chosen. For a training use `nn.tuneTraining`, which finds the kernels
 * itself.
 * @throws WeftgradError 'argument' for unknown options; 'device-lost', 'device' or 'disposed' if the device fails.
 */
export async function tune(
  device: Device,
  tasks: readonly KernelTask[],
  options: TuneOptions = {},
): Promise<TuningResult> {
  const began = performance.now()
  checkOptions('tune', options, { ...tuneKinds, after: anArray, known: anObject })
  const { known = {}, after = [], budgetMs = defaultBudgetMs, signal, log } = options
  const isSpent = (): boolean => signal?.aborted === true || performance.now() - began >= budgetMs
  const variants: Record<string, string> = {}
  const kernels: TunedKernel[] = []
  let left = 0
  for (const task of inOrder(tasks, after)) {
    const entry = variantIn(known, task, task.candidates)
    if (entry !== undefined) variants[classKey(task)] = entry
    else if (isSpent()) left++
    else {
      const found = await tuneKernel(device, task, isSpent)
      // A kernel that exhausts the budget would do so every time: record the default, so that the next run moves on.
      const isFirst = kernels.every(({ candidates }) => candidates.length === 0)
      const isTooMuch = found === undefined && isFirst && signal?.aborted !== true
      const tuned = isTooMuch ? { task, chosen: task.preferred, candidates: [] } : found
      if (tuned === undefined) left++
      else {
        kernels.push(tuned)
        variants[classKey(task)] = tuned.chosen
        log?.(`${classKey(task)}: ${tuned.candidates.map(candidateText).join(', ')}; ${tuned.chosen}`)
      }
    }
  }
  return { variants, kernels, left, seconds: (performance.now() - began) / 1000 }
}

/** Yields one kernel per shape class with several variants, the one with the most work first, since it gains most. */
function inOrder(tasks: readonly KernelTask[], after: readonly KernelTask[]): Iterable<KernelTask> {
  const byWeight = (some: readonly KernelTask[]): KernelTask[] =>
    some
      .filter(({ candidates }) => candidates.length > 1)
      .map((task) => ({ task, weight: weightOf(task) }))
      .sort((a, b) => b.weight - a.weight || (classKey(a.task) < classKey(b.task) ? -1 : 1))
      .map(({ task }) => task)
  return new Map([...byWeight(tasks), ...byWeight(after)].map((task) => [classKey(task), task])).values()
}

/**
 * The work of a task in operations. A byte counts as four: both classes of adapters take roughly that long to load one.
 */
function weightOf(task: KernelTask): number {
  const bytes = [...task.inputs, ...task.outputs].reduce((sum, type) => sum + bytesOf(type), 0)
  return task.plan(task.preferred).flops + 4 * bytes
}

/**
 * Whether a plan uses barriers. They make a CPU keep the state of every lane: on lavapipe, the tiled kernels for GPUs
 * take 0.6 to 1.4 s to compile and run four times as long as kernels without barriers.
 */
function hasBarriers(plan: KernelPlan): boolean {
  return plan.dispatches.some(({ wgsl }) => wgsl.includes('workgroupBarrier'))
}

/** The preferred variant, then the others; the reference variant last, and only if it is fast enough. */
function candidatesOf(task: KernelTask, device: Device): { reference: string; names: readonly string[] } {
  const [reference = task.preferred] = task.candidates
  const isQuick = task.plan(reference).flops <= referenceFlops[device.facts.class]
  const others = task.candidates.filter(
    (name) =>
      name !== reference && name !== task.preferred && !(device.facts.class === 'cpu' && hasBarriers(task.plan(name))),
  )
  const names = [task.preferred, ...others.slice(0, mostCandidates - 2)]
  if (isQuick && reference !== task.preferred) names.push(reference)
  return { reference: isQuick ? reference : task.preferred, names }
}

interface Entrant {
  readonly variant: string
  readonly bench: BenchedVariant
  /** Time of a run in ms; after sampling, the lower quartile of several. */
  milliseconds: number
}

/** Tunes one kernel; undefined if the budget was spent before a winner was found. */
async function tuneKernel(device: Device, task: KernelTask, isSpent: () => boolean): Promise<TunedKernel | undefined> {
  const { reference, names } = candidatesOf(task, device)
  if (names.length < 2) return { task, chosen: task.preferred, candidates: [] }
  const problems: CandidateResult[] = []
  const entrants: Entrant[] = []
  let operands: TaskBench | undefined
  try {
    operands = new TaskBench(device, task)
    let best = Number.POSITIVE_INFINITY
    for (const variant of [reference, ...names.filter((name) => name !== reference)]) {
      if (isSpent()) return undefined
      const bench = await opened(device, operands, variant)
      if ('problem' in bench) {
        problems.push({ variant, ...bench })
        if (variant === reference) break // there is nothing to compare the others with
      } else if (bench.firstMs > longestFirstMs && variant !== task.preferred) {
        problems.push({ variant, problem: `took ${Math.round(bench.firstMs)} ms to compile and run once` })
      } else {
        const milliseconds = await bench.time(1)
        entrants.push({ variant, bench, milliseconds })
        best = Math.min(best, milliseconds)
      }
    }
    const slow: Entrant[] = []
    for (const entrant of entrants) if (await isHopeless(entrant, best)) slow.push(entrant)
    for (const { variant, milliseconds } of slow) problems.push({ variant, milliseconds, problem: 'is much slower' })
    const measured = entrants.filter((entrant) => !slow.includes(entrant))
    if (measured.length > 1 && !(await sample(measured, isSpent))) return undefined
    const chosen = winner(measured, task.preferred)
    // On a busy machine one series in ten finds a wrong winner, so a change is measured twice.
    const finalists = measured.filter(({ variant }) => variant === chosen || variant === task.preferred)
    if (finalists.length > 1 && !(await sample(finalists, isSpent))) return undefined
    return { task, chosen: winner(finalists, task.preferred), candidates: reported(names, measured, problems) }
  } catch (error) {
    if (!device.usable) throw error
    return { task, chosen: task.preferred, candidates: [{ variant: task.preferred, problem: textOf(error) }] }
  } finally {
    operands?.dispose()
  }
}

async function isHopeless(entrant: Entrant, best: number): Promise<boolean> {
  const limit = hopeless * Math.max(best, clockMs)
  if (entrant.milliseconds <= limit) return false
  if (entrant.milliseconds > hiccupMs) return true
  entrant.milliseconds = Math.min(entrant.milliseconds, await entrant.bench.time(1))
  return entrant.milliseconds > limit
}

async function opened(
  device: Device,
  operands: TaskBench,
  variant: string,
): Promise<BenchedVariant | { readonly problem: string }> {
  try {
    const bench = await operands.open(variant)
    return bench.wrong === undefined ? bench : { problem: `is wrong: ${bench.wrong}` }
  } catch (error) {
    if (!device.usable) throw error
    return { problem: textOf(error) }
  }
}

/** Measures all in turn, round by round. False if the budget was spent before enough rounds were done. */
async function sample(entrants: readonly Entrant[], isSpent: () => boolean): Promise<boolean> {
  const series = entrants.map((entrant) => ({
    entrant,
    repeats: Math.min(mostRepeats, Math.max(1, Math.ceil(sampleMs / entrant.milliseconds))),
    samples: [] as number[],
  }))
  const began = performance.now()
  const isEnough = (done: number): boolean => done >= fewestRounds && performance.now() - began > longestSamplingMs
  let done = 0
  for (; done < rounds && !isEnough(done) && !isSpent(); done++)
    for (const { entrant, repeats, samples } of series) samples.push((await entrant.bench.time(repeats)) / repeats)
  if (done < fewestRounds) return false
  for (const { entrant, samples } of series) entrant.milliseconds = lowerQuartile(samples)
  return true
}

function winner(entrants: readonly Entrant[], preferred: string): string {
  const [fastest] = entrants.toSorted((a, b) => a.milliseconds - b.milliseconds)
  const usual = entrants.find(({ variant }) => variant === preferred)
  if (fastest === undefined) return preferred
  const isClear = usual === undefined || fastest.milliseconds < usual.milliseconds * (1 - margin)
  return isClear ? fastest.variant : preferred
}

function reported(
  names: readonly string[],
  measured: readonly Entrant[],
  problems: readonly CandidateResult[],
): CandidateResult[] {
  return names.flatMap((variant): CandidateResult[] => {
    const entrant = measured.find((one) => one.variant === variant)
    if (entrant !== undefined) return [{ variant, milliseconds: entrant.milliseconds }]
    return problems.filter((one) => one.variant === variant)
  })
}

function candidateText({ variant, milliseconds, problem }: CandidateResult): string {
  const time = milliseconds === undefined ? '' : ` ${milliseconds.toPrecision(3)} ms`
  return `${variant}${time}${problem === undefined ? '' : ` (${problem})`}`
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * The lower quartile, because disturbances only add time. With a load of six on two cores, medians found the wrong
 * winner; a minimum would depend on one lucky sample.
 */
function lowerQuartile(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 2] ?? Number.NaN
}
