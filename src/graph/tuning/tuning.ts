/**
 * Tuning: measures the variants of a kernel on this device, checks them against the reference variant, and puts the
 * fastest into a `VariantTable`. It measures only the kernels it is given, until the budget is spent; the others keep
 * the variant that their family prefers. Kernels that update memory in place are not part of a plan and are not tuned.
 *
 * Measurements differ from run to run, so to reproduce a run bit for bit, keep the table: tuning again may give
 * another.
 */

import type { Device } from '../../gpu/device.ts'
import { aFunction, aNumber, anArray, anObject, aSignal, checkOptions } from '../../options.ts'
import type { KernelTask, VariantTable } from '../plan/choice.ts'
import { classKey, variantIn } from '../plan/choice.ts'
import { bytesOf } from '../plan/plan.ts'
import { Clock } from './clock.ts'
import type { CandidateResult, TunedKernel } from './tune-kernel.ts'
import { tuneKernel } from './tune-kernel.ts'

export type { CandidateResult, TunedKernel } from './tune-kernel.ts'

/** Default time budget: enough to tune a LeNet-5 step on software Vulkan. Users would notice a longer start. */
export const defaultBudgetMs = 3000

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
  /** Why nothing can be measured on this device, in a sentence. */
  readonly problem?: string | undefined
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
  let clock: Clock | undefined
  for (const task of inOrder(tasks, after)) {
    const entry = variantIn(known, task, task.candidates)
    if (entry !== undefined) variants[classKey(task)] = entry
    else if (isSpent() || clock?.problem !== undefined) left++
    else {
      clock ??= await Clock.of(device)
      if (clock.problem !== undefined) {
        log?.(`Not tuned: ${clock.problem}`)
        left++
        continue
      }
      const found = await tuneKernel(device, clock, task, isSpent)
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
  return { variants, kernels, left, seconds: (performance.now() - began) / 1000, problem: clock?.problem }
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

function candidateText({ variant, milliseconds, problem }: CandidateResult): string {
  const time = milliseconds === undefined ? '' : ` ${milliseconds.toPrecision(3)} ms`
  return `${variant}${time}${problem === undefined ? '' : ` (${problem})`}`
}
