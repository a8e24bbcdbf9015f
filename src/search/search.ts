/**
 * Searches a space of hyperparameters: plans the trials, decides which continue after a round, and picks the winner.
 * Pure: the next step follows from the plan and the outcomes so far, so a stopped search resumes from its outcomes
 * alone.
 *
 * Promises: the same space, settings and outcomes give the same search, however many trials run at a time.
 */
import { WeftgradError } from '../errors.ts'
import type { EpochResult } from '../nn/contract.ts'
import { Random } from '../random.ts'
import { inLanes } from '../runs/lanes.ts'
import type { Dimensions, Point, Space } from '../tasks/space.ts'
import { type Bracket, type HyperbandSizes, hyperbandSchedule } from './hyperband.ts'

export const searchMethods = ['hyperband', 'random', 'grid'] as const
export type SearchMethod = (typeof searchMethods)[number]

export interface SearchOptions {
  readonly method: SearchMethod
  /** The most epochs of a trial. */
  readonly maxEpochs: number
  /** Hyperband: each round keeps one trial in this many. */
  readonly factor: number
  readonly sizes: HyperbandSizes
  /** Random and grid search: the most trials. Null means 12 random ones, or the whole grid. */
  readonly trials: number | null
  readonly seed: number
}

/** Default number of random trials: with 10 epochs each, as many epochs as Hyperband trains by default, 120. */
export const randomTrials = 12

export interface Trial<P = Point> {
  /** The trial's number from 1, counted through all brackets. */
  readonly id: number
  readonly bracket: number
  readonly hyperparameters: P
  /** Random seed of the trial's weights and the order of its images. */
  readonly seed: number
}

export interface PlannedBracket<P = Point> extends Bracket {
  /** The trials of its first round. */
  readonly trials: readonly Trial<P>[]
}

/** A trial's best epoch so far: the highest validation accuracy, then the lower loss. */
export interface TrialScore {
  readonly accuracy: number
  readonly loss: number
  /** Counted from 1. */
  readonly epoch: number
}

/** The outcome of a trial in one round. */
export interface TrialOutcome {
  readonly trial: number
  /** Counted from 1. */
  readonly round: number
  /** Epochs trained so far, earlier rounds included. */
  readonly epochs: number
  /** The score; null if training diverged, as with too high a rate. Such a trial does not continue. */
  readonly score: TrialScore | null
  /** The reason for a missing score. */
  readonly problem?: string
  /** The logs of all epochs so far. */
  readonly history: readonly EpochResult[]
}

/** A trial to train in a round, from where the previous round left it. */
export interface TrialTask<P = Point> {
  readonly trial: Trial<P>
  readonly bracket: PlannedBracket<P>
  /** Counted from 1. */
  readonly round: number
  readonly epochs: number
}

/**
 * Plans all brackets with their trials; random and grid search are a single bracket of one round. A bracket draws its
 * trials without replacement, independently of the others: a point may be a trial of several brackets. Throws
 * WeftgradError 'argument'.
 */
export function planSearch<D extends Dimensions>(
  space: Space<D>,
  { method, maxEpochs, factor, sizes, trials, seed }: SearchOptions,
): PlannedBracket<Point<D>>[] {
  const { size: spaceSize } = space
  const count = Math.min(spaceSize, trials ?? (method === 'grid' ? spaceSize : randomTrials))
  const schedule =
    method === 'hyperband'
      ? hyperbandSchedule({ maxEpochs, factor, sizes, spaceSize })
      : [{ bracket: 0, rounds: [{ size: count, epochs: maxEpochs }] }]
  let id = 0
  return schedule.map((bracket) => {
    const size = bracket.rounds[0]?.size ?? 0
    const points =
      method === 'grid'
        ? Array.from({ length: size }, (_, i) => space.at(i))
        : space.sample(size, new Random(seed, `bracket ${bracket.bracket}`))
    const drawn = points.map((hyperparameters) => {
      id++
      const trialSeed = new Random(seed, `trial ${id}`).below(2 ** 32)
      return { id, bracket: bracket.bracket, hyperparameters, seed: trialSeed }
    })
    return { ...bracket, trials: drawn }
  })
}

/** The outcomes of a search so far, one per trial and round. */
export class Outcomes {
  readonly #byTask = new Map<string, TrialOutcome>()

  constructor(outcomes: Iterable<TrialOutcome> = []) {
    for (const outcome of outcomes) this.add(outcome)
  }

  add(outcome: TrialOutcome): void {
    this.#byTask.set(`${outcome.trial}/${outcome.round}`, outcome)
  }

  of(trial: number, round: number): TrialOutcome | undefined {
    return this.#byTask.get(`${trial}/${round}`)
  }

  /** The outcome of the trial's latest round. */
  latest({ id }: Trial<unknown>, { rounds }: Bracket): TrialOutcome | undefined {
    return rounds.map((_, i) => this.of(id, rounds.length - i)).find((outcome) => outcome !== undefined)
  }
}

/** The trials of a round (from 1); undefined until the previous round is over. */
export function entrants<P>(
  bracket: PlannedBracket<P>,
  round: number,
  outcomes: Outcomes,
): readonly Trial<P>[] | undefined {
  if (round === 1) return bracket.trials
  const before = entrants(bracket, round - 1, outcomes)?.map((trial) => ({
    trial,
    outcome: outcomes.of(trial.id, round - 1),
  }))
  if (before === undefined || before.some(({ outcome }) => outcome === undefined)) return undefined
  const scored = before.flatMap(({ trial, outcome }) =>
    outcome === undefined || outcome.score === null ? [] : [{ trial, score: outcome.score }],
  )
  // `sort` is stable: if trials are equal, the first continues.
  const chosen = scored.sort((a, b) => compareScores(a.score, b.score)).slice(0, bracket.rounds[round - 1]?.size)
  return chosen.map(({ trial }) => trial).sort((a, b) => a.id - b.id)
}

/** Compares scores: negative if `a` is better. */
function compareScores(a: TrialScore, b: TrialScore): number {
  return b.accuracy - a.accuracy || a.loss - b.loss
}

/** The score of a history; undefined without validation or without finite numbers. */
export function scoreOf(history: readonly EpochResult[]): TrialScore | undefined {
  const scores = history.flatMap(({ epoch, validationAccuracy: accuracy, validationLoss: loss }) =>
    accuracy !== undefined && loss !== undefined && Number.isFinite(loss) ? [{ accuracy, loss, epoch }] : [],
  )
  return scores.sort(compareScores)[0]
}

export interface SearchHooks<P> {
  /** Outcomes that are already known, as from a stopped search. */
  readonly outcomes?: Outcomes
  /** Trials at a time. 1 by default. */
  readonly lanes?: number
  readonly signal?: AbortSignal | undefined
  /** A round begins, with these trials; `left` of them have no outcome yet. */
  onRound?(bracket: PlannedBracket<P>, round: number, trials: readonly Trial<P>[], left: number): void
  /** A bracket is over. */
  onBracket?(bracket: PlannedBracket<P>): void | Promise<void>
}

/**
 * Runs a search to its end. Calls `train` for each trial and round without an outcome; an error from it ends the
 * search.
 * @throws WeftgradError 'not-finite' if no trial has a score.
 */
export async function runSearch<P>(
  brackets: readonly PlannedBracket<P>[],
  train: (task: TrialTask<P>, signal: AbortSignal) => Promise<TrialOutcome>,
  { outcomes = new Outcomes(), lanes = 1, signal, ...hooks }: SearchHooks<P> = {},
): Promise<Outcomes> {
  for (const bracket of brackets) {
    for (const [i, { epochs }] of bracket.rounds.entries()) {
      const round = i + 1
      const trials = entrants(bracket, round, outcomes) ?? []
      const left = trials.filter(({ id }) => outcomes.of(id, round) === undefined)
      hooks.onRound?.(bracket, round, trials, left.length)
      await inLanes(left, { lanes, signal }, async (trial, stop) => {
        outcomes.add(await train({ trial, bracket, round, epochs }, stop))
      })
      if (signal?.aborted) throw new WeftgradError('aborted', 'The search was stopped.')
    }
    await hooks.onBracket?.(bracket)
  }
  if (bestOf(brackets, outcomes) === undefined)
    throw new WeftgradError(
      'not-finite',
      'No trial could be trained: each produced NaN or infinite numbers. Check the learning rates and the data.',
    )
  return outcomes
}

/**
 * The state of a trial. `waiting`: for its next or first round; `trained`: until its round is over; `stopped`: early,
 * after a round; `finished`: with all epochs; `failed`: its numbers became NaN or infinite.
 */
export type TrialState = 'waiting' | 'trained' | 'stopped' | 'finished' | 'failed'

export interface Standing<P> {
  readonly trial: Trial<P>
  readonly state: TrialState
  /** The outcome of the trial's latest finished round. */
  readonly outcome: TrialOutcome | undefined
}

/** The state of each trial of a bracket. */
export function standings<P>(bracket: PlannedBracket<P>, outcomes: Outcomes): Standing<P>[] {
  return bracket.trials.map((trial) => {
    const outcome = outcomes.latest(trial, bracket)
    return { trial, outcome, state: stateOf(bracket, trial, outcome, outcomes) }
  })
}

function stateOf<P>(
  bracket: PlannedBracket<P>,
  { id }: Trial<P>,
  outcome: TrialOutcome | undefined,
  outcomes: Outcomes,
): TrialState {
  if (outcome === undefined) return 'waiting'
  if (outcome.score === null) return 'failed'
  if (outcome.round === bracket.rounds.length) return 'finished'
  const next = entrants(bracket, outcome.round + 1, outcomes)
  if (next === undefined) return 'trained'
  return next.some((trial) => trial.id === id) ? 'waiting' : 'stopped'
}

/** The result of a trial, for reports and plots. */
export interface TrialResult<P = Point> extends Trial<P> {
  readonly state: TrialState
  /** Its last round, from 1. */
  readonly round: number
  readonly epochs: number
  readonly score: TrialScore | null
  readonly problem?: string
  readonly history: readonly EpochResult[]
}

/** All started trials, by id. */
export function trialResults<P>(brackets: readonly PlannedBracket<P>[], outcomes: Outcomes): TrialResult<P>[] {
  return brackets.flatMap((bracket) =>
    standings(bracket, outcomes).flatMap(({ trial, state, outcome }) => {
      if (outcome === undefined) return []
      const { trial: _, ...reached } = outcome
      return [{ ...trial, state, ...reached }]
    }),
  )
}

/** The trial with the best score, the first if equal; undefined if none has a score. */
export function bestOf<P>(
  brackets: readonly PlannedBracket<P>[],
  outcomes: Outcomes,
): (TrialResult<P> & { readonly score: TrialScore }) | undefined {
  const scored = trialResults(brackets, outcomes).flatMap((trial) =>
    trial.score === null ? [] : [{ ...trial, score: trial.score }],
  )
  return scored.sort((a, b) => compareScores(a.score, b.score))[0]
}
