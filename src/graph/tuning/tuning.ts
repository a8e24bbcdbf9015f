/**
 * Tuning: the variants of a kernel are measured once on this device, checked against the plain one, and the fastest is
 * put into a `VariantTable`. Only what is asked for is measured, and only as long as the budget lasts; kernels that it does
 * not reach keep their families' preferences. Kernels that update memory in place are no part of a plan and not tuned.
 *
 * Measurements differ from run to run, so the table, not the tuning, is what repeats a run bit for bit.
 */

import type { Device } from '../../gpu/device.ts'
import type { KernelPlan } from '../../kernels/kernel.ts'
import { aFunction, aNumber, anArray, anObject, aSignal, checkOptions } from '../../options.ts'
import type { KernelTask, VariantTable } from '../plan/choice.ts'
import { classKey, variantIn } from '../plan/choice.ts'
import { bytesOf } from '../plan/plan.ts'
import type { BenchedVariant } from './bench.ts'
import { TaskBench } from './bench.ts'

/** On software Vulkan a LeNet-5 step is tuned within it; a start that takes longer is felt. */
export const defaultBudgetMs = 3000
/** Variants of one kernel that are measured at most: the preferred one and those that follow the plain one. */
const mostCandidates = 8
/** Rounds in which all candidates are measured in turn, so that a machine that slows down slows all of them. */
const rounds = 7
const fewestRounds = 3
/** Beyond the fewest rounds, no new one begins after so long: long runs are steadier, and other kernels wait. */
const longestSamplingMs = 300
/** A sample lasts this long, by repeating the kernel: submitting and waiting take 0.1 to 0.2 ms. */
const sampleMs = 4
const mostRepeats = 64
/** A candidate whose second run takes so many times the best one's is not measured further ... */
const hopeless = 10
/** ... if that run was long, or a third one is as slow: a thread that had to wait for a core loses up to so many ms. */
const hiccupMs = 50
/** Browsers round their clocks to as much: a best of 0 would make all others hopeless. */
const clockMs = 0.1
/** Compiling is paid at every start of a program, and no kernel of a step earns back more than this. */
const longestFirstMs = 1000
/** By how much a candidate must beat the preferred variant: equal kernels differ by up to that from tuning to tuning. */
const margin = 0.05
/**
 * The plain variant is neither measured nor compared with beyond this many operations: a quarter of a second at the
 * 1 GFLOP/s of a naive kernel on two cores, and at the 1 TFLOP/s of one on a GPU. The preferred variant, which every test
 * compares with the reference, then takes its place.
 */
const plainFlops = { cpu: 2.5e8, gpu: 2.5e11 } as const

/** How long tuning may take, and what it need not measure. */
export interface TuneOptions {
  /** Wall clock in ms; 3000 by default. Overrun by one candidate's first dispatch at most. */
  readonly budgetMs?: number | undefined
  /** More kernels, for what is left of the budget. */
  readonly after?: readonly KernelTask[] | undefined
  /** Kernels that this table has an entry for are not measured. */
  readonly known?: VariantTable | undefined
  /** Takes a line about each kernel. */
  readonly log?: ((line: string) => void) | undefined
  /** Stops as if the budget were spent. */
  readonly signal?: AbortSignal | undefined
}

/** What a caller of {@link tune}, or of what calls it, may say. */
export const tuneKinds = { budgetMs: aNumber, log: aFunction, signal: aSignal }

/** How a variant did. */
export interface CandidateResult {
  /** Its name in the family. */
  readonly variant: string
  /** Wall clock of one run: the lower quartile of the rounds, or a single run where it was given up. Undefined where it was not run. */
  readonly milliseconds?: number
  /** Why it could not win, in words. */
  readonly problem?: string
}

/** A kernel, and what was found about it. */
export interface TunedKernel {
  /** What was measured. */
  readonly task: KernelTask
  /** The variant to use. */
  readonly chosen: string
  /** How each did that was measured. */
  readonly candidates: readonly CandidateResult[]
}

/** What a tuning came to. */
export interface TuningResult {
  /** What was known of these kernels, and what was found. */
  readonly variants: VariantTable
  /** In the order of their weight. `candidates` is empty where only one was worth measuring, or one took the whole budget. */
  readonly kernels: readonly TunedKernel[]
  /** How many kernels the budget did not reach. */
  readonly left: number
  /** Wall clock. */
  readonly seconds: number
}

/**
 * Measures the kernels that have a choice and no entry in `known`. A candidate that is refused by the adapter or whose
 * results are wrong is reported and never chosen. For a training use `nn.tuneTraining`, which finds the kernels itself.
 * @throws WeftgradError 'argument' for options that there are not; 'device-lost', 'device' or 'disposed' if the device fails.
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
      // One that uses up a whole budget would do so again: every tuning gets somewhere.
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

/** Each shape class that has a choice, the one with the most work first, so that the budget goes where it pays. */
function inOrder(tasks: readonly KernelTask[], after: readonly KernelTask[]): Iterable<KernelTask> {
  const byWeight = (some: readonly KernelTask[]): KernelTask[] =>
    some
      .filter(({ candidates }) => candidates.length > 1)
      .map((task) => ({ task, weight: weightOf(task) }))
      .sort((a, b) => b.weight - a.weight || (classKey(a.task) < classKey(b.task) ? -1 : 1))
      .map(({ task }) => task)
  return new Map([...byWeight(tasks), ...byWeight(after)].map((task) => [classKey(task), task])).values()
}

/** Operations, and bytes at four operations each: what adapters of either class do in the same time, roughly. */
function weightOf(task: KernelTask): number {
  const bytes = [...task.inputs, ...task.outputs].reduce((sum, type) => sum + bytesOf(type), 0)
  return task.plan(task.preferred).flops + 4 * bytes
}

/**
 * Barriers make a processor keep the state of every lane: the tiled kernels for GPUs take 0.6 to 1.4 s to compile on
 * lavapipe, and 4 ms where those without barriers take 1.
 */
function hasBarriers(plan: KernelPlan): boolean {
  return plan.dispatches.some(({ wgsl }) => wgsl.includes('workgroupBarrier'))
}

/** The preferred variant, then the others; the plain one last, and only where it is quick enough. */
function candidatesOf(task: KernelTask, device: Device): { reference: string; names: readonly string[] } {
  const [plain = task.preferred] = task.candidates
  const isQuick = task.plan(plain).flops <= plainFlops[device.facts.class]
  const others = task.candidates.filter(
    (name) =>
      name !== plain && name !== task.preferred && !(device.facts.class === 'cpu' && hasBarriers(task.plan(name))),
  )
  const names = [task.preferred, ...others.slice(0, mostCandidates - 2)]
  if (isQuick && plain !== task.preferred) names.push(plain)
  return { reference: isQuick ? plain : task.preferred, names }
}

interface Entrant {
  readonly variant: string
  readonly bench: BenchedVariant
  /** ms of a run; the lower quartile of several once it was sampled. */
  milliseconds: number
}

/** Undefined where the budget ended before a winner was found. */
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
    // On a busy machine one series in ten names a wrong winner, so a change is measured twice.
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

/** Measures all in turn, round by round. False where the budget ended before enough rounds were done. */
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
 * What disturbs a machine only adds time. With a load of six on two cores the medians named the wrong winner; a minimum
 * would rest on one lucky sample.
 */
function lowerQuartile(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 2] ?? Number.NaN
}
