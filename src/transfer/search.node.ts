/**
 * The job that searches for the settings of a head on a network's features: layers, pooling, size, head. Prints nothing; a
 * reporter receives its events.
 *
 * Promises: no choice uses the test images: all trials train on the same part of the training images and are compared on the
 * others. Each trial is a line in trials.jsonl, so a search that was stopped resumes after its last one. Layers at one
 * size and pooling are computed in one pass over the images and cached.
 */
import { FeatureDataset } from '../data/feature-dataset.ts'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import { fit } from '../nn/fit.ts'
import { type JobKind, prepareJob, type Run, type RunGround } from '../runs/job.node.ts'
import { appendRunLine, shown, writeRunFile } from '../runs/run-folder.node.ts'
import type { TransferSettings } from '../tasks/recipe.ts'
import type { Task } from '../tasks/task.ts'
import { type FeatureImages, imagesOf, tapsOf } from './feature-source.node.ts'
import { fillFeatures, hooksOf, noteEnlarged } from './features.node.ts'
import { type FeatureColumns, featureColumns, featureWidth, likelyTaps } from './features.ts'
import { headModel } from './model.ts'
import { openBase, type PretrainedBase } from './pretrained-base.node.ts'
import { baseIn, type NetworkSettings, refuseOtherWeights, type TransferOptions, transferKind } from './run.node.ts'
import { type Change, questions, type SearchState, searched } from './search.ts'
import { headTraining, standardized, type TransferReporter } from './stages.node.ts'

/** A trial: its settings and its validation. */
export interface SearchTrial {
  /** The question that it answers. */
  readonly question: string
  readonly change: Change
  readonly settings: TransferSettings
  readonly validationAccuracy: number
  readonly validationLoss: number
  /** The best epoch. */
  readonly epoch: number
  readonly seconds: number
  /** Whether it is better than all before it. */
  readonly isBest: boolean
}

/** The content of `report.json`. */
export interface TransferSearchReport {
  readonly model: string
  /** The source of the network's weights. */
  readonly weights: string
  /** True for made-up weights: the choice means nothing. */
  readonly meaningless: boolean
  readonly trials: readonly SearchTrial[]
  /** The chosen settings, also in settings.json. */
  readonly chosen: TransferSettings
  /** The options that give `weftgrad transfer` the chosen settings. */
  readonly options: string
  readonly validation: { readonly accuracy: number; readonly loss: number }
  readonly images: { readonly train: number; readonly validation: number }
  readonly adapter: string
  readonly runDir: string
}

/** Receives events, features first. */
export interface TransferSearchReporter extends Pick<TransferReporter, 'onFolder'>, Omit<TransferReporter, 'onTest'> {
  onQuestion?(title: string): void
  /** A trial is done; `isNew` is false for one that an earlier process did. */
  onTrial?(trial: SearchTrial, isNew: boolean): void
}

const log = 'trials.jsonl'

/** The kind of job that the search is. The layers that are given are those to choose from. */
function searchKind(
  task: Task,
): JobKind<NetworkSettings, Parameters<ReturnType<typeof transferKind>['resolve']>[0], TransferSearchReport> {
  const transfer = transferKind(task)
  return {
    ...transfer,
    job: 'transfer-search',
    noun: 'search',
    resolve: (given) => ({ ...transfer.resolve(given), layers: given.layers ?? [] }),
    isResult: (value): value is TransferSearchReport =>
      isRecord(value) && Array.isArray(value.trials) && isRecord(value.chosen) && typeof value.options === 'string',
    report: (result) => result,
  }
}

/**
 * Searches, and writes the run's folder, or resumes a search in its folder.
 * @throws WeftgradError as `trainTransfer`.
 */
export async function searchTransfer(
  task: Task,
  options: TransferOptions,
  reporter: TransferSearchReporter = {},
): Promise<TransferSearchReport> {
  if (options.unfreeze !== undefined && options.unfreeze !== null)
    throw new WeftgradError('argument', 'A search trains heads only: leave --unfreeze to the training that follows.', {
      setting: 'unfreeze',
    })
  const job = await prepareJob(searchKind(task), options)
  const done = await job.finished(reporter)
  if (done !== undefined) return done
  const { signal, featureDir } = options
  const open = (settings: TransferSettings): Promise<PretrainedBase> =>
    openBase(job.settings.model, { ...settings, signal, ...hooksOf(reporter) })
  const base = await open(job.settings)
  try {
    const { layers } = job.settings
    const taps = layers.length > 0 ? layers : likelyTaps(base.model)
    featureColumns(base.model, tapsOf({ layers: taps, pool: job.settings.pool }))
    return await job.run(reporter, (run) => new Search({ task, run, base, open, taps, featureDir, reporter }).run())
  } finally {
    base.close()
  }
}

interface Work {
  readonly task: Task
  readonly run: Run<NetworkSettings>
  /** The network at the size that the search begins with. */
  readonly base: PretrainedBase
  readonly open: (settings: TransferSettings) => Promise<PretrainedBase>
  readonly taps: readonly string[]
  readonly featureDir: string | undefined
  readonly reporter: TransferSearchReporter
}

class Search {
  readonly #work: Work

  constructor(work: Work) {
    this.#work = work
  }

  async run(): Promise<TransferSearchReport> {
    const { task, run, base, taps, reporter } = this.#work
    const { model, ...settings } = run.settings
    const before = run.earlier === undefined ? undefined : baseIn(run.earlier)
    if (before !== undefined) refuseOtherWeights(shown(run.runDir), base, before)
    using ground = await run.open(task)
    reporter.onBase?.(base)
    noteEnlarged(task, base, reporter)
    // One image stands for the test images, which no trial uses.
    const images = imagesOf(ground.data, settings.limitTrain, 1)
    ground.choose(images.facts)
    await ground.writeConfig({}, { base: { weights: base.weights, fingerprint: base.fingerprint } })
    run.markResumable()
    const known = this.#known()
    const trials: SearchTrial[] = []
    let state: SearchState = { best: settings, taps, size: settings.size }
    for (const { title, answers } of questions) {
      const changes = answers(state)
      if (changes.length > 0) reporter.onQuestion?.(title)
      const { best } = state
      for (const change of changes) {
        const settingsOfTrial = { ...best, ...change }
        const found = known.get(keyOf(settingsOfTrial))
        const measured = found ?? (await this.#measure(ground, images, settingsOfTrial))
        const isBest = trials.every((other) => isBetter(measured, other))
        const trial = { question: title, change, settings: settingsOfTrial, ...measured, isBest }
        if (found === undefined) await appendRunLine(run.path(log), JSON.stringify(trial))
        trials.push(trial)
        if (isBest) state = { ...state, best: settingsOfTrial }
        run.reached = ` after ${trials.length} trials`
        reporter.onTrial?.(trial, found === undefined)
      }
    }
    const winner = trials.findLast(({ isBest }) => isBest)
    if (winner === undefined) throw new RangeError('the first trial is better than none')
    const { settings: chosen } = winner
    await writeRunFile(run.path('settings.json'), `${JSON.stringify({ model, ...chosen }, null, 2)}\n`)
    const { rest, held } = headTraining(chosen, images.train.labels.length)
    return {
      ...{ model, weights: base.weights, meaningless: base.isMeaningless, trials, chosen, options: optionsFor(chosen) },
      validation: { accuracy: winner.validationAccuracy, loss: winner.validationLoss },
      images: { train: rest.length, validation: held.length },
      adapter: ground.device.facts.driver,
      runDir: run.runDir,
    }
  }

  /** The results of the trials that an earlier process did, by settings. */
  #known(): ReadonlyMap<string, Measured> {
    const text = ifThere(() => readHostText(this.#work.run.path(log))) ?? ''
    const values = text.split('\n').map((line) => parsedJson(line))
    // A line that a crash cut off is not JSON: its trial is done again.
    return new Map(
      values.flatMap((value) => {
        if (!isRecord(value) || !isRecord(value.settings)) return []
        const { validationAccuracy, validationLoss, epoch, seconds } = value
        const figures = { validationAccuracy, validationLoss, epoch, seconds }
        return isMeasured(figures) ? [[JSON.stringify(value.settings), figures] as const] : []
      }),
    )
  }

  /** Trains a head with these settings and validates it. */
  async #measure(ground: RunGround, images: FeatureImages, settings: TransferSettings): Promise<Measured> {
    const { task, run, featureDir, reporter, taps, base: first, open } = this.#work
    const { signal } = run
    run.stopIfAsked()
    const started = performance.now()
    const base = settings.size === run.settings.size ? first : await open(settings)
    try {
      // All candidates in one pass, as long as only they differ.
      const isFirstPass = settings.size === run.settings.size && settings.pool === run.settings.pool
      const computed = tapsOf({ layers: isFirstPass ? taps : settings.layers, pool: settings.pool })
      const columns = featureColumns(base.model, computed)
      const chosen = columns.filter(({ layer }) => settings.layers.includes(layer))
      const width = featureWidth(chosen)
      const classes = task.data.classNames.length
      using all = FeatureDataset.allocate(ground.device, { width, classes, labels: images.train.labels })
      const train = (at: number, rows: Float32Array): void =>
        all.write(at, picked(rows, featureWidth(columns), chosen, width))
      await fillFeatures(
        { device: ground.device, base, images, taps: computed, featureDir, signal },
        { train },
        reporter,
      )
      const { rest, held, options } = headTraining(settings, all.count, signal)
      const rows = all.subset(rest)
      using head = headModel(`${base.name}-head`, width, classes, settings)
      head.setWeights(await standardized(head, rows))
      const training = { ...options(settings), validation: all.subset(held) }
      const history = await fit(head, rows, {
        ...training,
        callbacks: { onProgress: (progress) => reporter.onProgress?.(progress) },
      })
      const best = history.epochs[history.bestEpoch - 1]
      if (best === undefined) throw new RangeError('training has at least one epoch')
      const { epoch, validationAccuracy = Number.NaN, validationLoss = Number.NaN } = best
      return { validationAccuracy, validationLoss, epoch, seconds: (performance.now() - started) / 1000 }
    } finally {
      if (base !== first) base.close()
    }
  }
}

type Measured = Pick<SearchTrial, 'validationAccuracy' | 'validationLoss' | 'epoch' | 'seconds'>

function isMeasured(figures: Readonly<Record<string, unknown>>): figures is Measured & Record<string, unknown> {
  return Object.values(figures).every((value) => typeof value === 'number')
}

function isBetter(own: Measured, other: Measured): boolean {
  const { validationAccuracy: accuracy, validationLoss: loss } = own
  return accuracy === other.validationAccuracy ? loss < other.validationLoss : accuracy > other.validationAccuracy
}

function keyOf(settings: TransferSettings): string {
  return JSON.stringify(settings)
}

/** The rows' numbers in these columns. */
function picked(rows: Float32Array, from: number, columns: readonly FeatureColumns[], width: number): Float32Array {
  if (from === width) return rows
  const count = rows.length / from
  const own = new Float32Array(count * width)
  for (let row = 0; row < count; row++) {
    let to = row * width
    for (const column of columns) {
      own.set(rows.subarray(row * from + column.from, row * from + column.from + column.count), to)
      to += column.count
    }
  }
  return own
}

/** The searched settings, as options of the command. */
function optionsFor(settings: TransferSettings): string {
  const flags = { layers: '--layers', pool: '--pool', size: '--size', head: '--head', dropout: '--dropout' }
  const more = { learningRate: '--learning-rate', weightDecay: '--weight-decay' }
  const all: Readonly<Record<string, string>> = { ...flags, ...more }
  return searched
    .flatMap((name) => (settings[name] === null ? [] : [`${all[name]} ${String(settings[name])}`]))
    .join(' ')
}
