/**
 * The search job: searches for the hyperparameters of the task's network. Prints nothing; a reporter receives its
 * events.
 *
 * Promises: no choice uses the test images. All trials are validated on the same tenth of the training images, drawn by
 * the search's seed. Each round of a trial is a line in trials.jsonl, and each epoch a checkpoint, so a search stopped
 * at any moment resumes to the same trials, bit for bit on the same adapter.
 */
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult, Progress } from '../nn/contract.ts'
import { EpochClock, type EpochProgress } from '../runs/epoch-clock.ts'
import { type JobOptions, type JobReporter, type Run, runJob, tableKind } from '../runs/job.node.ts'
import { removeFromRun } from '../runs/run-folder.node.ts'
import { isHistory, Trainings } from '../runs/trainings.node.ts'
import { tunedForTraining } from '../runs/tuned-kernels.node.ts'
import { wilsonInterval } from '../statistics.ts'
import type { Task } from '../tasks/task.ts'
import type { RemoteOption } from '../units/executor.node.ts'
import { executorFor } from '../units/in-process.node.ts'
import type { UnitOrder } from '../units/unit.ts'
import { epochsIn } from './hyperband.ts'
import { isSearchResult, type SearchResult } from './result.ts'
import {
  bestOf,
  Outcomes,
  type PlannedBracket,
  planSearch,
  runSearch,
  scoreOf,
  type Trial,
  type TrialOutcome,
  type TrialTask,
  trialResults,
} from './search.ts'
import { resolveSearchSettings, type SearchSettings, searchSettings } from './settings.ts'
import {
  type TrialAnswer,
  type TrialGround,
  type TrialSettings,
  trialGround,
  trialKind,
  trialModel,
  trialOptions,
} from './trial.node.ts'

export interface SearchJobOptions extends Partial<SearchSettings>, JobOptions, RemoteOption {}

/** Receives events in this order; `onNote` at any time. */
export interface SearchReporter extends JobReporter {
  onPlan?(facts: SearchFacts): void
  /** A round begins; `outcomes` holds the outcomes so far and grows. */
  onRound?(bracket: PlannedBracket, round: number, trials: readonly Trial[], outcomes: Outcomes): void
  onProgress?(trial: Trial, progress: Progress, all: EpochProgress): void
  onEpochEnd?(trial: Trial, logs: EpochResult): void
  onOutcome?(task: TrialTask, outcome: TrialOutcome): void
  onBracket?(bracket: PlannedBracket, outcomes: Outcomes): void
}

export interface SearchFacts {
  readonly settings: SearchSettings
  readonly brackets: readonly PlannedBracket[]
  readonly trainCount: number
  readonly validationCount: number
  /** Number of rounds of trials that an earlier process finished. */
  readonly outcomesBefore: number
}

/** The log's file name. */
const log = 'trials.jsonl'

/**
 * Runs a search and writes its folder, or resumes a run in its folder.
 * @throws WeftgradError as `runJob`; 'not-finite' if no trial could be trained.
 */
export async function searchHyperparameters(
  task: Task,
  options: SearchJobOptions = {},
  reporter: SearchReporter = {},
): Promise<SearchResult> {
  const facts = { job: 'search', noun: 'search', isResult: isSearchResult }
  const kind = tableKind(facts, searchSettings(task), (given) => resolveSearchSettings(task, given))
  return await runJob(kind, options, reporter, (run) => search(task, run, options, reporter))
}

async function search(
  task: Task,
  run: Run<SearchSettings>,
  { remote }: RemoteOption,
  reporter: SearchReporter,
): Promise<SearchResult> {
  const { settings, runDir, signal } = run
  using running = await Trainings.open(run, task, log)
  const { device } = running.ground
  const { space } = task.search
  const brackets = planSearch(space, settings)
  const ground = trialGround(task, running.images, settings)
  const orders = new TrialOrders(task, run, ground)
  const mostTrials = Math.max(...brackets.map((bracket) => bracket.trials.length))
  const kernels = await running.begin(mostTrials * orders.checkpointBytes(brackets) + 4e6, () => orders.tune(brackets))
  const { fingerprint } = running.ground
  const job = { task, data: fingerprint, driver: device.facts.driver, kernels }
  const executor = executorFor(trialKind, ground, job, remote)
  const before = await running.readLog((value) => outcomeIn(value, brackets))
  const outcomes = new Outcomes(before)
  const clock = new EpochClock(brackets.reduce((sum, bracket) => sum + epochsIn(bracket), 0))
  for (const { trial, epochs } of before) clock.reach(trial, epochs)
  reporter.onPlan?.({
    settings,
    brackets,
    trainCount: ground.train.count,
    validationCount: ground.validation.count,
    outcomesBefore: before.length,
  })
  await runSearch(
    brackets,
    async (trialTask, stop) => {
      const { trial, bracket, round } = trialTask
      const answer = await setAside(
        executor.run(orders.of(trialTask), stop, {
          onProgress(progress) {
            clock.report(trial.id, progress)
            reporter.onProgress?.(trial, progress, clock.progress)
          },
          onEpochEnd: (logs) => reporter.onEpochEnd?.(trial, logs),
        }),
      )
      const outcome = outcomeOf(trialTask, answer, outcomes.of(trial.id, round - 1)?.history ?? [])
      clock.reach(trial.id, trialTask.epochs)
      const { hyperparameters, seed } = trial
      await running.appendLog({ ...outcome, bracket: bracket.bracket, hyperparameters, seed })
      reporter.onOutcome?.(trialTask, outcome)
      // A trial that has ended needs no checkpoint.
      if (round === bracket.rounds.length || outcome.score === null) await orders.forget(trial)
      return outcome
    },
    {
      outcomes,
      lanes: executor.lanes,
      signal,
      onRound: (bracket, round, entered) => reporter.onRound?.(bracket, round, entered, outcomes),
      async onBracket(bracket) {
        for (const trial of bracket.trials) await orders.forget(trial)
        reporter.onBracket?.(bracket, outcomes)
      },
    },
  )
  await removeFromRun(run.path('trials'))

  const results = trialResults(brackets, outcomes)
  const best = bestOf(brackets, outcomes)
  if (best === undefined) throw new RangeError('a finished search has a best trial')
  const validation = ground.validation.count
  const { driver, hardware } = device.facts
  return {
    model: task.network.name,
    objective: 'validationAccuracy',
    settings,
    space: space.dimensions,
    brackets: brackets.map(({ bracket, rounds }) => ({ bracket, rounds })),
    trials: results,
    best,
    bestInterval: wilsonInterval(Math.round(best.score.accuracy * validation), validation),
    images: { train: ground.train.count, validation, duplicates: running.duplicates },
    epochs: results.reduce((sum, { history }) => sum + history.length, 0),
    seconds: running.seconds,
    adapter: driver,
    hardware,
    runDir,
  }
}

/** The units of a search's trials. */
class TrialOrders {
  readonly #task: Task
  readonly #run: Run<SearchSettings>
  readonly #ground: TrialGround

  constructor(task: Task, run: Run<SearchSettings>, ground: TrialGround) {
    this.#task = task
    this.#run = run
    this.#ground = ground
  }

  /** A trial's next round, after its previous one. */
  of({ trial, bracket, round, epochs }: TrialTask): UnitOrder<TrialSettings> {
    const folder = this.#folder(trial)
    const earlier = bracket.rounds[round - 2]
    return {
      settings: this.#settingsOf(trial, epochs),
      folder,
      after: earlier && { settings: this.#settingsOf(trial, earlier.epochs), folder },
    }
  }

  /** Tunes the kernels for each network size of the search. */
  async tune(brackets: readonly PlannedBracket[]): Promise<VariantTable> {
    let kernels: VariantTable = {}
    const { train, validation } = this.#ground
    const { signal } = this.#run
    for (const trial of this.#sizes(brackets)) {
      using model = trialModel(this.#task, trial)
      const options = trialOptions(this.#task, this.#settingsOf(trial, 1), validation)
      const stoppable = { ...options, ...(signal === undefined ? {} : { signal }) }
      kernels = { ...kernels, ...(await tunedForTraining(model, train, stoppable, this.#run)) }
    }
    return kernels
  }

  /** The most bytes of a trial's checkpoint: weights, two moments, the best weights, and the history. */
  checkpointBytes(brackets: readonly PlannedBracket[]): number {
    const parameters = this.#sizes(brackets).map((trial) => {
      using model = trialModel(this.#task, trial)
      return model.parameterCount
    })
    return 4 * 4 * Math.max(...parameters) + 1e5
  }

  async forget(trial: Trial): Promise<void> {
    await removeFromRun(this.#folder(trial))
  }

  /** One trial for each network size. */
  #sizes(brackets: readonly PlannedBracket[]): readonly Trial[] {
    const all = brackets.flatMap(({ trials }) => trials)
    const sizeOf = ({ hyperparameters }: Trial): string => this.#task.search.settingsOf(hyperparameters).units.join(',')
    return [...new Map(all.map((trial) => [sizeOf(trial), trial])).values()]
  }

  #folder({ id }: Trial): string {
    return this.#run.path('trials', id)
  }

  #settingsOf({ hyperparameters, seed }: Trial, epochs: number): TrialSettings {
    const { split, limit, seed: imageSeed, batchSize } = this.#run.settings
    return { images: { split, limit, seed: imageSeed }, batchSize, hyperparameters, seed, epochs }
  }
}

/** A trial that workers set aside counts as one that failed: the search goes on without it. */
async function setAside(answer: Promise<TrialAnswer>): Promise<TrialAnswer> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof WeftgradError && error.code === 'set-aside') return { problem: error.message }
    throw error
  }
}

function outcomeOf(
  { trial, round, epochs }: TrialTask,
  answer: TrialAnswer,
  before: readonly EpochResult[],
): TrialOutcome {
  const reached = { trial: trial.id, round, epochs }
  if ('problem' in answer) return { ...reached, score: null, problem: answer.problem, history: before }
  const score = scoreOf(answer.history)
  if (score !== undefined) return { ...reached, score, history: answer.history }
  return { ...reached, score: null, problem: 'No epoch had a finite validation loss.', history: before }
}

/** Parses a line of the log as an outcome of this search; returns the problem if it is none. */
function outcomeIn(value: unknown, brackets: readonly PlannedBracket[]): TrialOutcome | string {
  if (!isRecord(value)) return 'it is not an outcome of a trial'
  const { trial: id, round, score, history, problem, hyperparameters, seed } = value
  const bracket = brackets.find(({ trials }) => trials.some((trial) => trial.id === id))
  const trial = bracket?.trials.find((one) => one.id === id)
  const epochs = typeof round === 'number' ? bracket?.rounds[round - 1]?.epochs : undefined
  if (trial === undefined || typeof round !== 'number' || epochs === undefined || epochs !== value.epochs)
    return 'the search has no such trial and round'
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
  if (!same(hyperparameters, trial.hyperparameters) || seed !== trial.seed)
    return `trial ${trial.id} of this search has other hyperparameters or another seed`
  if (!isHistory(history)) return 'its history is damaged'
  const reached = { trial: trial.id, round, epochs, history }
  if (score === null && typeof problem === 'string') return { ...reached, score, problem }
  const found = scoreOf(history)
  if (found === undefined || history.length !== epochs || !same(score, found)) return 'its score and history disagree'
  return { ...reached, score: found }
}
