/**
 * The search job: searches for the hyperparameters of the task's network. Prints nothing; a reporter receives its
 * events.
 *
 * Promises: no choice uses the test images. All trials are validated on the same tenth of the training images, drawn by
 * the search's seed. Each round of a trial is a line in trials.jsonl, and each epoch a checkpoint, so a search stopped
 * at any moment resumes to the same trials, bit for bit on the same adapter.
 */
import type { ImageDataset } from '../data/dataset.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult, FitOptions, Progress } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { adam } from '../nn/optimizers.ts'
import { EpochClock, type EpochProgress } from '../runs/epoch-clock.ts'
import { type JobOptions, type JobReporter, type Run, runJob, tableKind } from '../runs/job.node.ts'
import { trainingsAtATime } from '../runs/lanes.ts'
import { fitInFolder } from '../runs/resumable-fit.node.ts'
import { removeFromRun } from '../runs/run-folder.node.ts'
import { isHistory, Trainings } from '../runs/trainings.node.ts'
import { tunedForTraining } from '../runs/tuned-kernels.node.ts'
import { wilsonInterval } from '../statistics.ts'
import { buildNetwork, type Task } from '../tasks/task.ts'
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

export interface SearchJobOptions extends Partial<SearchSettings>, JobOptions {}

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

const validationShare = 0.1
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
  return await runJob(kind, options, reporter, (run) => search(task, run, reporter))
}

async function search(task: Task, run: Run<SearchSettings>, reporter: SearchReporter): Promise<SearchResult> {
  const { settings, runDir, signal } = run
  using running = await Trainings.open(run, task, log)
  const { device } = running.ground
  const { space } = task.search
  const brackets = planSearch(space, settings)
  const { rest, held } = randomSplit(running.train.count, validationShare, settings.seed)
  const data = { train: running.train.subset(rest), validation: running.train.subset(held) }
  const trials = new Trials(task, running, data)
  const mostTrials = Math.max(...brackets.map((bracket) => bracket.trials.length))
  const kernels = await running.begin(mostTrials * trials.checkpointBytes(brackets) + 4e6, () => trials.tune(brackets))
  const before = await running.readLog((value) => outcomeIn(value, brackets))
  const outcomes = new Outcomes(before)
  const clock = new EpochClock(brackets.reduce((sum, bracket) => sum + epochsIn(bracket), 0))
  for (const { trial, epochs } of before) clock.reach(trial, epochs)
  reporter.onPlan?.({
    settings,
    brackets,
    trainCount: rest.length,
    validationCount: held.length,
    outcomesBefore: before.length,
  })
  await runSearch(
    brackets,
    async (trialTask, stop) => {
      const { trial, bracket, round } = trialTask
      const history = await trials.train(trialTask, kernels, stop, {
        onProgress(progress) {
          clock.report(trial.id, progress)
          reporter.onProgress?.(trial, progress, clock.progress)
        },
        onEpochEnd: (logs) => reporter.onEpochEnd?.(trial, logs),
      })
      const outcome = outcomeOf(trialTask, history, outcomes.of(trial.id, round - 1)?.history ?? [])
      clock.reach(trial.id, trialTask.epochs)
      const { hyperparameters, seed } = trial
      await running.appendLog({ ...outcome, bracket: bracket.bracket, hyperparameters, seed })
      reporter.onOutcome?.(trialTask, outcome)
      // A trial that has ended needs no checkpoint.
      if (round === bracket.rounds.length || outcome.score === null) await trials.forget(trial)
      return outcome
    },
    {
      outcomes,
      lanes: trainingsAtATime,
      signal,
      onRound: (bracket, round, entered) => reporter.onRound?.(bracket, round, entered, outcomes),
      async onBracket(bracket) {
        for (const trial of bracket.trials) await trials.forget(trial)
        reporter.onBracket?.(bracket, outcomes)
      },
    },
  )
  await removeFromRun(run.path('trials'))

  const results = trialResults(brackets, outcomes)
  const best = bestOf(brackets, outcomes)
  if (best === undefined) throw new RangeError('a finished search has a best trial')
  const { driver, hardware } = device.facts
  return {
    model: task.network.name,
    objective: 'validationAccuracy',
    settings,
    space: space.dimensions,
    brackets: brackets.map(({ bracket, rounds }) => ({ bracket, rounds })),
    trials: results,
    best,
    bestInterval: wilsonInterval(Math.round(best.score.accuracy * held.length), held.length),
    images: { train: rest.length, validation: held.length, duplicates: running.duplicates },
    epochs: results.reduce((sum, { history }) => sum + history.length, 0),
    seconds: running.seconds,
    adapter: driver,
    hardware,
    runDir,
  }
}

interface TrialData {
  readonly train: ImageDataset
  readonly validation: ImageDataset
}

/** The trainings of a search. */
class Trials {
  readonly #task: Task
  readonly #running: Trainings<SearchSettings>
  readonly #data: TrialData

  constructor(task: Task, running: Trainings<SearchSettings>, data: TrialData) {
    this.#task = task
    this.#running = running
    this.#data = data
  }

  /** Tunes the kernels for each network size of the search. */
  async tune(brackets: readonly PlannedBracket[]): Promise<VariantTable> {
    let kernels: VariantTable = {}
    for (const trial of this.#sizes(brackets)) {
      using model = this.#modelOf(trial)
      kernels = {
        ...kernels,
        ...(await tunedForTraining(model, this.#data.train, this.#options(trial, 1), this.#running.run)),
      }
    }
    return kernels
  }

  /** The most bytes of a trial's checkpoint: weights, two moments, the best weights, and the history. */
  checkpointBytes(brackets: readonly PlannedBracket[]): number {
    const parameters = this.#sizes(brackets).map((trial) => {
      using model = this.#modelOf(trial)
      return model.parameterCount
    })
    return 4 * 4 * Math.max(...parameters) + 1e5
  }

  /** One trial for each network size. */
  #sizes(brackets: readonly PlannedBracket[]): readonly Trial[] {
    const all = brackets.flatMap(({ trials }) => trials)
    const sizeOf = ({ hyperparameters }: Trial): string => this.#task.search.settingsOf(hyperparameters).units.join(',')
    return [...new Map(all.map((trial) => [sizeOf(trial), trial])).values()]
  }

  /** Trains to the task's epochs; returns the history, or why training failed. */
  async train(
    { trial, epochs }: TrialTask,
    variants: VariantTable,
    signal: AbortSignal,
    callbacks: { onProgress(progress: Progress): void; onEpochEnd(logs: EpochResult): void },
  ): Promise<readonly EpochResult[] | WeftgradError> {
    try {
      return await fitInFolder({
        folder: this.#folder(trial),
        makeModel: () => this.#modelOf(trial),
        train: this.#data.train,
        options: { ...this.#options(trial, epochs), variants, signal },
        callbacks,
      })
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'not-finite') return error
      throw error
    }
  }

  async forget(trial: Trial): Promise<void> {
    await removeFromRun(this.#folder(trial))
  }

  #folder({ id }: Trial): string {
    return this.#running.run.path('trials', id)
  }

  #options({ hyperparameters, seed }: Trial, epochs: number): FitOptions {
    const { signal, settings } = this.#running.run
    return {
      optimizer: adam({ learningRate: this.#task.search.settingsOf(hyperparameters).learningRate }),
      epochs,
      batchSize: settings.batchSize,
      validation: this.#data.validation,
      seed,
      ...(signal === undefined ? {} : { signal }),
    }
  }

  #modelOf({ hyperparameters, seed }: Trial): Model {
    return buildNetwork(this.#task, this.#task.search.settingsOf(hyperparameters), seed)
  }
}

function outcomeOf(
  { trial, round, epochs }: TrialTask,
  result: readonly EpochResult[] | WeftgradError,
  before: readonly EpochResult[],
): TrialOutcome {
  const reached = { trial: trial.id, round, epochs }
  if (result instanceof WeftgradError) return { ...reached, score: null, problem: result.message, history: before }
  const score = scoreOf(result)
  if (score !== undefined) return { ...reached, score, history: result }
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
