/**
 * The cross-validation job: stratified k-fold cross-validation of the task's network, with a fresh model for each fold;
 * on request also with one model reused across folds. Prints nothing; a reporter receives its events.
 *
 * Promises: no choice uses the test images. Each fold is a line in folds.jsonl, and each epoch a checkpoint, so a run
 * stopped at any moment resumes to the same results, bit for bit on the same adapter.
 */
import { join } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult, Progress } from '../nn/contract.ts'
import { evaluate } from '../nn/evaluate.ts'
import type { Model } from '../nn/model.ts'
import { writeCheckedFile } from '../runs/checked-file.node.ts'
import { EpochClock, type EpochProgress } from '../runs/epoch-clock.ts'
import { type JobOptions, type JobReporter, runJob, tableKind } from '../runs/job.node.ts'
import { inLanes } from '../runs/lanes.ts'
import { removeFromRun } from '../runs/run-folder.node.ts'
import { evaluationBatchSize } from '../runs/test-report.ts'
import { isHistory, Trainings } from '../runs/trainings.node.ts'
import { tunedForTraining } from '../runs/tuned-kernels.node.ts'
import type { Task } from '../tasks/task.ts'
import type { Executor, Remote, RemoteOption } from '../units/executor.node.ts'
import { executorFor } from '../units/in-process.node.ts'
import type { UnitOrder } from '../units/unit.ts'
import {
  carriedModel,
  type FoldPlace,
  type FoldSettings,
  type FoldsGround,
  type FoldsKind,
  foldKind,
  foldModel,
  foldsGround,
  foldTraining,
} from './fold.node.ts'
import {
  type CarryOver,
  type CrossValidationResult,
  carryOverOf,
  explainCarryOver,
  type FoldResult,
  type FoldsSummary,
  isCrossValidationResult,
  summarizeFolds,
} from './result.ts'
import { type CrossValidationSettings, crossValidationSettings } from './settings.ts'

export interface CrossValidationOptions extends Partial<CrossValidationSettings>, JobOptions, RemoteOption {}

export type { FoldPlace, FoldsKind }

/** Receives events in this order; `onNote` at any time. */
export interface CrossValidationReporter extends JobReporter {
  onBegin?(facts: CrossValidationFacts): void
  onProgress?(place: FoldPlace, progress: Progress, all: EpochProgress): void
  onEpochEnd?(place: FoldPlace, logs: EpochResult): void
  /** A fold is done; also called for folds that an earlier process finished. */
  onFold?(place: FoldPlace, result: FoldResult): void
  /** All folds are done; the reused model is being tested. */
  onTest?(): void
}

export interface CrossValidationFacts {
  readonly settings: CrossValidationSettings
  readonly model: Model
  readonly trainCount: number
  readonly validationCount: number
}

/** The log's file name. */
const log = 'folds.jsonl'

/**
 * Cross-validates and writes the run's folder, or resumes a run in its folder.
 * @throws WeftgradError as `runJob`; 'data' if a class has fewer images than there are folds; 'not-finite'.
 */
export async function crossValidate(
  task: Task,
  options: CrossValidationOptions = {},
  reporter: CrossValidationReporter = {},
): Promise<CrossValidationResult> {
  const facts = { job: 'cross-validation', noun: 'cross-validation', isResult: isCrossValidationResult }
  return await runJob(tableKind(facts, crossValidationSettings(task)), options, reporter, async (run) => {
    using running = await Trainings.open(run, task, log)
    return await new CrossValidation(task, running, options.remote, reporter).run()
  })
}

type FoldExecutor = Executor<FoldSettings, readonly EpochResult[]>

class CrossValidation {
  readonly #task: Task
  readonly #running: Trainings<CrossValidationSettings>
  readonly #settings: CrossValidationSettings
  readonly #reporter: CrossValidationReporter
  readonly #remote: Remote | undefined
  readonly #folds: FoldsGround
  readonly #clock: EpochClock
  readonly #finished = new Map<string, FoldResult>()
  #kernels: VariantTable = {}

  constructor(
    task: Task,
    running: Trainings<CrossValidationSettings>,
    remote: Remote | undefined,
    reporter: CrossValidationReporter,
  ) {
    this.#task = task
    this.#running = running
    this.#settings = running.run.settings
    this.#reporter = reporter
    this.#remote = remote
    const { folds, epochs, carryOver } = this.#settings
    this.#folds = foldsGround(task, running.images, this.#settings)
    this.#clock = new EpochClock(epochs * (carryOver ? 2 * folds - 1 : folds))
  }

  async run(): Promise<CrossValidationResult> {
    const { train, duplicates, run, ground } = this.#running
    const settings = this.#settings
    using model = foldModel(this.#task, settings, 1)
    // A checkpoint holds weights, two moments and the best weights.
    const bytes = model.parameterCount * 4 * 4 * 2 * settings.folds + 4e6
    this.#kernels = await this.#running.begin(bytes, () => this.#tune(model))
    const [held] = this.#folds.held
    const validationCount = held?.length ?? 0
    this.#reporter.onBegin?.({ settings, model, trainCount: train.count - validationCount, validationCount })
    for (const { kind, ...result } of await this.#running.readLog((value) => this.#lineOf(value))) {
      this.#finish({ kind, fold: result.fold }, result)
    }

    const { signal } = run
    const executor = this.#executor()
    const left = this.#places('honest').filter((place) => !this.#finished.has(keyOf(place)))
    const failures: WeftgradError[] = []
    await inLanes(left, { lanes: executor.lanes, signal }, async (place, stop) => {
      try {
        await this.#train(executor, place, stop)
      } catch (error) {
        // The other folds go on.
        if (!(error instanceof WeftgradError) || error.code !== 'set-aside') throw error
        failures.push(error)
      }
    })
    run.stopIfAsked()
    if (failures[0] !== undefined) throw failures[0]
    const honest = summarizeFolds(this.#results('honest'))
    const carryOver = settings.carryOver ? await this.#carryOver(executor, honest) : null
    await removeFromRun(run.path('folds'))

    const { driver, hardware } = ground.device.facts
    return {
      model: this.#task.network.name,
      settings,
      honest,
      carryOver,
      explanation: carryOver === null ? [] : explainCarryOver(honest, carryOver, settings.epochs, this.#task.published),
      images: { count: train.count, duplicates },
      parameters: model.parameterCount,
      epochs: [...this.#finished.values()].reduce((sum, { history }) => sum + history.length, 0),
      seconds: this.#running.seconds,
      adapter: driver,
      hardware,
      runDir: run.runDir,
    }
  }

  /** The folds of a kind to train. The first carried fold is the first honest one. */
  #places(kind: FoldsKind): FoldPlace[] {
    const all = this.#folds.held.map((_, i) => ({ kind, fold: i + 1 }))
    return kind === 'honest' ? all : all.slice(1)
  }

  #results(kind: FoldsKind): FoldResult[] {
    return this.#places(kind).flatMap((place) => this.#finished.get(keyOf(place)) ?? [])
  }

  async #tune(model: Model): Promise<VariantTable> {
    const { train, options } = foldTraining(this.#folds, this.#settings, 1)
    const { run } = this.#running
    const { signal } = run
    return await tunedForTraining(model, train, { ...options, ...(signal === undefined ? {} : { signal }) }, run)
  }

  async #carryOver(executor: FoldExecutor, honest: FoldsSummary): Promise<CarryOver> {
    for (const place of this.#places('carried')) {
      this.#running.run.stopIfAsked()
      if (!this.#finished.has(keyOf(place))) await this.#train(executor, place, this.#running.run.signal)
    }
    this.#reporter.onTest?.()
    const { ground, test } = this.#running
    const { folds: count } = this.#settings
    const last = this.#folder({ kind: 'carried', fold: count })
    using model = await carriedModel(this.#task, this.#settings, count, last)
    using testSet = residentImages(ground.device, test)
    const { loss, accuracy } = await evaluate(model, testSet, {
      batchSize: evaluationBatchSize,
      variants: this.#kernels,
    })
    const folds = [...honest.folds.slice(0, 1), ...this.#results('carried')]
    return carryOverOf(honest, folds, { loss, accuracy, count: testSet.count })
  }

  #executor(): FoldExecutor {
    const { device, fingerprint } = this.#running.ground
    const { driver } = device.facts
    const job = { task: this.#task, data: fingerprint, driver, kernels: this.#kernels }
    return executorFor(foldKind, this.#folds, job, this.#remote)
  }

  async #train(executor: FoldExecutor, place: FoldPlace, signal: AbortSignal | undefined): Promise<void> {
    const order = this.#orderOf(place)
    const history = await executor.run(order, signal, {
      onProgress: (progress) => {
        this.#clock.report(keyOf(place), progress)
        this.#reporter.onProgress?.(place, progress, this.#clock.progress)
      },
      onEpochEnd: (logs) => this.#reporter.onEpochEnd?.(place, logs),
    })
    // The next fold and the test continue from here, also where a resumed run does not use the queue.
    if (this.#settings.carryOver)
      for (const [name, bytes] of await executor.files(order)) await writeCheckedFile(join(order.folder, name), bytes)
    const validation = this.#folds.held[place.fold - 1]?.length ?? 0
    const result = resultOf(place.fold, { train: this.#running.train.count - validation, validation }, history)
    await this.#running.appendLog({ kind: place.kind, ...result })
    this.#finish(place, result)
  }

  #finish(place: FoldPlace, result: FoldResult): void {
    this.#finished.set(keyOf(place), result)
    this.#clock.reach(keyOf(place), result.history.length)
    this.#reporter.onFold?.(place, result)
  }

  /** A fold's unit; a carried one continues the fold before, of which the first is an honest one. */
  #orderOf(place: FoldPlace): UnitOrder<FoldSettings> {
    const { carryOver: _, ...settings } = this.#settings
    const order = { settings: { ...place, settings }, folder: this.#folder(place) }
    if (place.kind === 'honest') return order
    const before = place.fold - 1
    return { ...order, after: this.#orderOf({ kind: before === 1 ? 'honest' : 'carried', fold: before }) }
  }

  #folder({ kind, fold }: FoldPlace): string {
    return this.#running.run.path('folds', `${kind}-${fold}`)
  }

  /** Parses a line of the log as a fold of this run; returns the problem if it is none. */
  #lineOf(value: unknown): FoldLine | string {
    if (!isRecord(value)) return 'it is not a fold'
    const { kind, fold, history } = value
    const held = typeof fold === 'number' ? this.#folds.held[fold - 1] : undefined
    if ((kind !== 'honest' && kind !== 'carried') || typeof fold !== 'number' || held === undefined)
      return 'the run has no such fold'
    if (!isHistory(history) || history.length !== this.#settings.epochs) return 'its history is damaged'
    const count = this.#running.train.count
    const counts = { train: count - held.length, validation: held.length }
    const result: FoldLine = { kind, ...resultOf(fold, counts, history) }
    const { seconds: _, ...line } = value
    return JSON.stringify(result) === JSON.stringify(line) ? result : 'its figures and its history disagree'
  }
}

/** A line of folds.jsonl. */
interface FoldLine extends FoldResult {
  readonly kind: FoldsKind
}

function keyOf({ kind, fold }: FoldPlace): string {
  return `${kind} ${fold}`
}

function resultOf(
  fold: number,
  counts: { readonly train: number; readonly validation: number },
  history: readonly EpochResult[],
): FoldResult {
  const last = history.at(-1)
  return {
    fold,
    trainCount: counts.train,
    validationCount: counts.validation,
    loss: last?.validationLoss ?? Number.NaN,
    accuracy: last?.validationAccuracy ?? Number.NaN,
    history,
  }
}
