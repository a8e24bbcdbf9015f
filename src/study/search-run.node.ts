/**
 * The job: a search for LeNet-5's hyperparameters on Fashion-MNIST. Prints nothing; a reporter is told what happens.
 *
 * Promises: the test images have no say. All trials are validated on the same tenth of the training images, drawn by the
 * search's seed. Each round of a trial is a line in trials.jsonl, and each epoch a checkpoint, so that a search that ended
 * at any moment goes on to the same trials, bit for bit on the same adapter.
 */
import type { ImageDataset } from '../data/dataset.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochLogs, FitOptions, Progress } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { lenet5 } from '../nn/models/lenet5.ts'
import { adam } from '../nn/optimizers.ts'
import { EpochClock, type EpochProgress } from './epoch-clock.ts'
import { epochsIn } from './hyperband.ts'
import { trainingsAtATime } from './lanes.ts'
import { fitInFolder } from './resumable-fit.node.ts'
import { removeFromRun } from './run-folder.node.ts'
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
import type { SearchResult } from './search-result.ts'
import {
  type LenetPoint,
  lenetSpace,
  resolveSearchSettings,
  type SearchSettings,
  searchSettings,
} from './search-settings.ts'
import { wilsonInterval } from './statistics.ts'
import { isHistory, runStudyJob, type StudyJob, type StudyJobOptions, type StudyJobReporter } from './study-job.node.ts'
import { tunedForTraining } from './tuned-kernels.node.ts'

export interface SearchJobOptions extends Partial<SearchSettings>, StudyJobOptions {}

export type { SearchResult }
export type LenetBracket = PlannedBracket<LenetPoint>
export type LenetTrial = Trial<LenetPoint>

/** Told what happens, in this order; `onNote` at any time. */
export interface SearchReporter extends StudyJobReporter {
  onPlan?(facts: SearchFacts): void
  /** A round begins; `outcomes` are those there are by now, and grow. */
  onRound?(bracket: LenetBracket, round: number, trials: readonly LenetTrial[], outcomes: Outcomes): void
  onProgress?(trial: LenetTrial, progress: Progress, all: EpochProgress): void
  onEpochEnd?(trial: LenetTrial, logs: EpochLogs): void
  onOutcome?(task: TrialTask<LenetPoint>, outcome: TrialOutcome): void
  onBracket?(bracket: LenetBracket, outcomes: Outcomes): void
}

export interface SearchFacts {
  readonly settings: SearchSettings
  readonly brackets: readonly LenetBracket[]
  readonly trainCount: number
  readonly validationCount: number
  /** Rounds of trials that an earlier process finished. */
  readonly outcomesBefore: number
}

const validationShare = 0.1
/** Weights, two moments and the best weights of the largest network, 139,414 parameters, and some history. */
const checkpointBytes = 4 * 4 * 150_000

const job = {
  job: 'search',
  noun: 'search',
  log: 'trials.jsonl',
  table: searchSettings,
  resolve: resolveSearchSettings,
  isResult: (value: unknown): value is SearchResult =>
    isRecord(value) && isRecord(value.best) && Array.isArray(value.trials) && Array.isArray(value.brackets),
}

/**
 * Searches to the end and writes the run's folder, or goes on with a run in its folder.
 * @throws WeftgradError as `runStudyJob`; 'not-finite' where no trial could be trained.
 */
export async function searchHyperparameters(
  options: SearchJobOptions = {},
  reporter: SearchReporter = {},
): Promise<SearchResult> {
  return await runStudyJob(job, options, reporter, (running) => search(running, reporter))
}

async function search(running: StudyJob<SearchSettings>, reporter: SearchReporter): Promise<SearchResult> {
  const { settings, device, runDir, signal } = running
  const brackets = planSearch(lenetSpace, settings)
  const { rest, held } = randomSplit(running.train.count, validationShare, settings.seed)
  const trials = new Trials(running, { train: running.train.subset(rest), validation: running.train.subset(held) })
  const bytes = checkpointBytes * Math.max(...brackets.map((bracket) => bracket.trials.length)) + 4e6
  const kernels = await running.begin(bytes, () => trials.tune(brackets))
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
    async (task, stop) => {
      const { trial, bracket, round } = task
      const history = await trials.train(task, kernels, stop, {
        onProgress(progress) {
          clock.report(trial.id, progress)
          reporter.onProgress?.(trial, progress, clock.progress)
        },
        onEpochEnd: (logs) => reporter.onEpochEnd?.(trial, logs),
      })
      const outcome = outcomeOf(task, history, outcomes.of(trial.id, round - 1)?.history ?? [])
      clock.reach(trial.id, task.epochs)
      const { hyperparameters, seed } = trial
      await running.appendLog({ ...outcome, bracket: bracket.bracket, hyperparameters, seed })
      reporter.onOutcome?.(task, outcome)
      // What does not go on needs no checkpoint.
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
  await removeFromRun(running.folder('trials'))

  const results = trialResults(brackets, outcomes)
  const best = bestOf(brackets, outcomes)
  if (best === undefined) throw new RangeError('a search that ended has a best trial')
  const { driver, hardware } = device.facts
  return {
    model: 'lenet5',
    objective: 'validationAccuracy',
    settings,
    space: lenetSpace.dimensions,
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

/** The trainings of a search. */
class Trials {
  readonly #running: StudyJob<SearchSettings>
  readonly #data: { readonly train: ImageDataset; readonly validation: ImageDataset }

  constructor(
    running: StudyJob<SearchSettings>,
    data: { readonly train: ImageDataset; readonly validation: ImageDataset },
  ) {
    this.#running = running
    this.#data = data
  }

  /** Measures kernels for each size of network that there will be. */
  async tune(brackets: readonly LenetBracket[]): Promise<VariantTable> {
    const all = brackets.flatMap(({ trials }) => trials)
    const bySize = new Map(
      all.map((trial) => [`${trial.hyperparameters.units_1},${trial.hyperparameters.units_2}`, trial]),
    )
    let kernels: VariantTable = {}
    for (const trial of bySize.values()) {
      using model = modelOf(trial)
      const { note } = this.#running
      kernels = { ...kernels, ...(await tunedForTraining(model, this.#data.train, this.#options(trial, 1), note)) }
    }
    return kernels
  }

  /** The history up to the task's epochs, or why training failed. */
  async train(
    { trial, epochs }: TrialTask<LenetPoint>,
    variants: VariantTable,
    signal: AbortSignal,
    callbacks: { onProgress(progress: Progress): void; onEpochEnd(logs: EpochLogs): void },
  ): Promise<readonly EpochLogs[] | WeftgradError> {
    try {
      return await fitInFolder({
        folder: this.#folder(trial),
        makeModel: () => modelOf(trial),
        train: this.#data.train,
        options: { ...this.#options(trial, epochs), variants, signal },
        callbacks,
      })
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'not-finite') return error
      throw error
    }
  }

  async forget(trial: LenetTrial): Promise<void> {
    await removeFromRun(this.#folder(trial))
  }

  #folder({ id }: LenetTrial): string {
    return this.#running.folder('trials', id)
  }

  #options({ hyperparameters, seed }: LenetTrial, epochs: number): FitOptions {
    const { signal, settings } = this.#running
    return {
      optimizer: adam({ learningRate: hyperparameters.learning_rate }),
      epochs,
      batchSize: settings.batchSize,
      validation: this.#data.validation,
      seed,
      ...(signal === undefined ? {} : { signal }),
    }
  }
}

function modelOf({ hyperparameters: { units_1, units_2 }, seed }: LenetTrial): Model {
  return lenet5({ units: [units_1, units_2], classes: fashionMnistClasses.length }, { seed })
}

function outcomeOf(
  { trial, round, epochs }: TrialTask<LenetPoint>,
  result: readonly EpochLogs[] | WeftgradError,
  before: readonly EpochLogs[],
): TrialOutcome {
  const reached = { trial: trial.id, round, epochs }
  if (result instanceof WeftgradError) return { ...reached, score: null, problem: result.message, history: before }
  const score = scoreOf(result)
  if (score !== undefined) return { ...reached, score, history: result }
  return { ...reached, score: null, problem: 'No epoch had a validation loss that is a number.', history: before }
}

/** A line of the log as an outcome of this search, or what is wrong with it. */
function outcomeIn(value: unknown, brackets: readonly LenetBracket[]): TrialOutcome | string {
  if (!isRecord(value)) return 'it is no outcome of a trial'
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
