/**
 * The job: transfer learning on Fashion-MNIST. A head is trained on the features of a frozen pretrained network; asked to
 * unfreeze, it then trains the network's end together with the head, at a lower rate. Prints nothing; a reporter is told
 * what happens.
 *
 * Promises: options, data and weights are checked before anything is computed. Validation images decide when training
 * stops, which weights are kept, and whether fine-tuning is; the test images are looked at once, at the end. Same seed,
 * adapter and code: the same bits.
 */
import { join } from 'node:path'
import { loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { FeatureDataset } from '../data/feature-dataset.ts'
import { randomSplit } from '../data/split.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import { isBetterEpoch } from '../nn/best-epoch.ts'
import type { EpochLogs, Evaluation, FitOptions, History, Progress, TrainingFacts } from '../nn/contract.ts'
import { evaluate } from '../nn/evaluate.ts'
import { fit } from '../nn/fit.ts'
import { median } from '../nn/metrics.ts'
import type { Model } from '../nn/model.ts'
import type { WeightNumbers } from '../nn/model-weights.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { adamw } from '../nn/optimizers.ts'
import { cosineRate } from '../nn/schedules.ts'
import { zoo } from '../weights/zoo.ts'
import type { FeatureTap } from './feature-taps.ts'
import {
  type FeatureFacts,
  type FeatureReporter,
  type FeatureSinks,
  fillFeatures,
  hooksOf,
  imagesOf,
  type StudyImages,
  tapsOf,
} from './features.node.ts'
import { featureColumns, featureWidth } from './features.ts'
import { openBase, type PretrainedBase } from './pretrained-base.node.ts'
import {
  appendRunLine,
  inNewRunFolder,
  type JobConfig,
  requireSpace,
  runFiles,
  writeConfig,
  writeHistory,
  writeReport,
} from './run-folder.node.ts'
import {
  evaluationBatchSize,
  type LossAndAccuracy,
  type TestReport,
  testReport,
  writeTestFiles,
} from './train-report.node.ts'
import { saveModel } from './trained-model.node.ts'
import { type FineTuning, fineTuning, headModel, standardization } from './transfer-model.ts'
import { type Head, type TransferSettings, transferDefaults, transferSettings } from './transfer-settings.ts'
import { tunedForTraining } from './tuned-kernels.node.ts'
import { versions } from './versions.node.ts'

export interface TransferOptions extends Partial<TransferSettings> {
  readonly model: PretrainedName
  /** Where to look for Fashion-MNIST; see `loadFashionMnist`. */
  readonly dataDir?: string | undefined
  /** Where features are kept; in weftgrad's cache unless given. */
  readonly featureDir?: string | undefined
  /** The run's folder; `runs/<time>` unless given. */
  readonly out?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** `head`: on frozen features; `fine-tuning`: the network's end with it. */
export type Stage = 'head' | 'fine-tuning'

export interface StageLogs extends EpochLogs {
  readonly stage: Stage
}

/** Told what happens, features first. */
export interface TransferReporter extends FeatureReporter {
  onFeaturesReady?(facts: FeatureFacts): void
  onModel?(model: Model, stage: Stage): void
  onBegin?(facts: TrainingFacts, settings: TransferSettings, stage: Stage): void
  onProgress?(progress: Progress): void
  onEpochEnd?(logs: StageLogs): void
  onTest?(): void
}

/** What `report.json` holds. */
export interface TransferReport extends TestReport {
  readonly model: PretrainedName
  readonly size: number
  readonly head: Head
  readonly features: FeatureFacts
  readonly history: readonly StageLogs[]
  readonly runDir: string
  /** The driver, for people. */
  readonly adapter: string
  readonly hardware: boolean
  /** Where the network's weights are from. */
  readonly weights: string
  /** True for made-up weights: no figure of this report says anything about the network. */
  readonly meaningless: boolean
  readonly layers: readonly string[]
  readonly pool: string
  /** Where the network's end was trained, too. */
  readonly fineTuning?: {
    /** The first layer that was trained. */
    readonly from: string
    readonly layers: readonly string[]
    readonly features: FeatureFacts
    /** False where validation images found nothing better than the head alone: then those weights are kept. */
    readonly kept: boolean
  }
  /** Of the model that was kept. */
  readonly parameters: number
  readonly epochs: number
  readonly batchSize: number
  /** Median over all epochs, validation included. */
  readonly secondsPerEpoch: number
  /** Images that the weights were trained on, those that decided, and those of the test. */
  readonly images: { readonly train: number; readonly validation: number; readonly test: number }
  /** Of the weights that were kept. */
  readonly validation: LossAndAccuracy
  /** The epoch whose weights were kept, counted over both stages. */
  readonly bestEpoch: number
}

export interface TransferConfig extends JobConfig<'transfer', TransferSettings & { readonly model: PretrainedName }> {
  readonly base: { readonly weights: string; readonly fingerprint: string }
}

const classNames: readonly string[] = fashionMnistClasses

const validationShare = 0.1

/**
 * Trains, tests and writes the run's folder.
 * @throws WeftgradError 'argument', 'file', 'data', 'fetch', 'mismatch', 'format', 'no-adapter', 'device-lost',
 * 'not-finite', 'aborted'. The features that were computed until then are kept.
 */
export async function trainTransfer(
  { model: name, out, dataDir, featureDir, signal, ...given }: TransferOptions,
  reporter: TransferReporter = {},
): Promise<TransferReport> {
  const settings = transferSettings.resolve(given, transferDefaults[name])
  const base = await openBase(name, { ...settings, signal, ...hooksOf(reporter) })
  try {
    const taps = tapsOf(settings)
    featureColumns(base.model, taps)
    const tuning = settings.unfreeze === null ? undefined : fineTuning(base.model, taps, settings.unfreeze)
    const log = (line: string): void => reporter.onNote?.(line)
    return await inNewRunFolder(out, async (runDir) => {
      using device = await open({ log })
      reporter.onAdapter?.(device)
      reporter.onBase?.(base)
      const loaded = await loadFashionMnist({ dataDir, signal, log })
      const images = imagesOf(loaded, settings.limitTrain, settings.limitTest)
      reporter.onImages?.(images.facts)
      return await new TransferRun({ device, base, images, settings, taps, featureDir, runDir, signal }, reporter).run(
        tuning,
      )
    })
  } finally {
    base.close()
  }
}

interface TransferJob {
  readonly device: Device
  readonly base: PretrainedBase
  readonly images: StudyImages
  readonly settings: TransferSettings
  readonly taps: readonly FeatureTap[]
  readonly featureDir: string | undefined
  readonly runDir: string
  readonly signal: AbortSignal | undefined
}

/** A model that a stage trains. */
interface StageModel {
  readonly model: Model
  readonly taps: readonly FeatureTap[]
  /** Its weights at the beginning; the rows are those it is trained on. */
  readonly weights: (rows: FeatureDataset) => Promise<WeightNumbers>
  readonly epochs: number
  readonly learningRate: number
}

/** What a stage came to. */
interface StageResult {
  readonly features: FeatureFacts
  readonly weights: WeightNumbers
  /** By validation, of the weights that were kept. */
  readonly best: StageLogs
  readonly test: Evaluation | undefined
}

class TransferRun {
  readonly #job: TransferJob
  readonly #reporter: TransferReporter
  readonly #history: StageLogs[] = []
  readonly #config: TransferConfig
  #kernels: VariantTable = {}

  constructor(job: TransferJob, reporter: TransferReporter) {
    this.#job = job
    this.#reporter = reporter
    const { base, device, images, settings } = job
    const { folder, train, test } = images.facts
    this.#config = {
      job: 'transfer',
      startedAt: new Date().toISOString(),
      settings: { model: base.name, ...settings },
      base: { weights: base.weights, fingerprint: base.fingerprint },
      data: { folder, fingerprint: images.fingerprint, train, test, duplicates: 0 },
      adapter: { driver: device.facts.driver, name: device.info.device, hardware: device.facts.hardware },
      kernels: {},
      versions: versions(),
    }
  }

  async run(tuning: FineTuning | undefined): Promise<TransferReport> {
    const { base, settings, taps } = this.#job
    const width = featureWidth(featureColumns(base.model, taps))
    using head = headModel(`${base.name}-head`, width, classNames.length, settings)
    const { epochs, learningRate } = settings
    const weights = (rows: FeatureDataset): Promise<WeightNumbers> => standardized(head, rows)
    const first = await this.#train('head', { model: head, taps, weights, epochs, learningRate }, tuning === undefined)
    if (tuning === undefined) return await this.#report(head, first, undefined)

    const { frozenTaps, layers } = tuning
    using tuned = tuning.model(`${base.name}-from-${settings.unfreeze}`, classNames.length, settings)
    const numbers = new Map(first.weights)
    for (const weight of base.model.layers.filter(({ layer }) => layers.includes(layer.name)).flatMap((l) => l.weights))
      numbers.set(weight.name, { shape: weight.shape, data: await base.read(weight) })
    const stage = {
      model: tuned,
      taps: frozenTaps,
      weights: async () => numbers,
      epochs: settings.fineTuneEpochs,
      learningRate: settings.fineTuneRate,
    }
    const second = await this.#train('fine-tuning', stage, true, first.best)
    return await this.#report(tuned, first, { layers, result: second })
  }

  /** Trains a model from its first weights on; they come back if training makes none better than `before`. */
  async #train(
    stage: Stage,
    { model, taps, ...how }: StageModel,
    isLast: boolean,
    before?: StageLogs,
  ): Promise<StageResult> {
    const { device, base, images, settings, featureDir, signal, runDir } = this.#job
    const spec = { width: featureWidth(featureColumns(base.model, taps)), classes: classNames.length }
    using all = FeatureDataset.allocate(device, { ...spec, labels: images.train.labels })
    using test = FeatureDataset.allocate(device, { ...spec, labels: images.test.labels })
    const sinks: FeatureSinks = {
      train: (first, rows) => all.write(first, rows),
      test: (first, rows) => test.write(first, rows),
    }
    const features = await fillFeatures({ device, base, images, taps, featureDir, signal }, sinks, this.#reporter)
    this.#reporter.onFeaturesReady?.(features)
    const { rest, held } = randomSplit(all.count, validationShare, settings.seed)
    const rows = all.subset(rest)
    const weights = await how.weights(rows)
    model.setWeights(weights)
    this.#reporter.onModel?.(model, stage)
    await requireSpace(runDir, model.parameterCount * 8 + 4e6)

    const training: FitOptions = {
      optimizer: adamw({ learningRate: cosineRate(how.learningRate), weightDecay: settings.weightDecay }),
      epochs: how.epochs,
      batchSize: settings.batchSize,
      validation: all.subset(held),
      earlyStopping: { patience: settings.patience },
      seed: settings.seed,
      ...(signal === undefined ? {} : { signal }),
    }
    const log = (line: string): void => this.#reporter.onNote?.(line)
    const variants = await tunedForTraining(model, rows, training, log)
    await this.#writeConfig(variants)
    const history = await this.#fit(stage, model, rows, { ...training, variants })
    const best = this.#history.at(history.bestEpoch - 1 - history.epochs.length)
    if (best === undefined) throw new RangeError('training has at least one epoch')
    const isBetter = before === undefined || isBetterEpoch(best, before)
    if (!isBetter) model.setWeights(weights)
    if (isLast) this.#reporter.onTest?.()
    return {
      features,
      weights: await model.weightNumbers(),
      best: isBetter ? best : before,
      test: isLast ? await evaluate(model, test, { batchSize: evaluationBatchSize, variants }) : undefined,
    }
  }

  async #fit(stage: Stage, model: Model, rows: FeatureDataset, training: FitOptions): Promise<History> {
    const { runDir, settings } = this.#job
    const done = this.#history.length
    if (done === 0) await writeHistory(runDir, [])
    let config: Promise<void> = Promise.resolve()
    const history = await fit(model, rows, {
      ...training,
      callbacks: {
        onBegin: (facts) => {
          config = this.#writeConfig(facts.variants)
          config.catch(() => undefined) // awaited at the end
          this.#reporter.onBegin?.(facts, settings, stage)
        },
        onProgress: (progress) => this.#reporter.onProgress?.(progress),
        onEpochEnd: async (logs) => {
          const counted: StageLogs = { ...logs, epoch: done + logs.epoch, stage }
          this.#history.push(counted)
          await appendRunLine(join(runDir, runFiles.history), JSON.stringify(counted))
          this.#reporter.onEpochEnd?.(counted)
        },
      },
    })
    await config
    return history
  }

  async #writeConfig(kernels: VariantTable): Promise<void> {
    this.#kernels = { ...this.#kernels, ...kernels }
    await writeConfig(this.#job.runDir, { ...this.#config, kernels: this.#kernels })
  }

  async #report(
    model: Model,
    head: StageResult,
    tuned: { readonly layers: readonly string[]; readonly result: StageResult } | undefined,
  ): Promise<TransferReport> {
    const { base, device, images, settings, runDir } = this.#job
    const { best, test: evaluation } = tuned?.result ?? head
    if (evaluation === undefined) throw new RangeError('the last stage tests its model')
    const { train, test } = images.facts
    const validationCount = randomSplit(train, validationShare, settings.seed).held.length
    const { test: figures, ...classes } = testReport(evaluation, classNames)
    const report: TransferReport = {
      model: base.name,
      size: settings.size,
      head: settings.head,
      features: head.features,
      test: figures,
      history: this.#history,
      runDir,
      adapter: device.facts.driver,
      hardware: device.facts.hardware,
      weights: base.weights,
      meaningless: base.isMeaningless,
      layers: settings.layers,
      pool: settings.pool,
      ...(tuned === undefined
        ? {}
        : {
            fineTuning: {
              from: settings.unfreeze ?? '',
              layers: tuned.layers,
              features: tuned.result.features,
              kept: best.stage === 'fine-tuning',
            },
          }),
      parameters: model.parameterCount,
      epochs: this.#history.length,
      batchSize: settings.batchSize,
      secondsPerEpoch: median(this.#history.map(({ seconds }) => seconds)),
      images: { train: train - validationCount, validation: validationCount, test },
      validation: { loss: best.validationLoss ?? Number.NaN, accuracy: best.validationAccuracy ?? Number.NaN },
      bestEpoch: best.epoch,
      ...classes,
    }
    await saveModel(runDir, model, {
      model: 'transfer',
      base: base.name,
      weights: base.fingerprint,
      settings: JSON.stringify(settings),
      classes: JSON.stringify(classNames),
    })
    const doubt = base.isMeaningless ? ', on made-up weights: meaningless' : ''
    await writeTestFiles(runDir, {
      indices: Uint32Array.from({ length: test }, (_, i) => i),
      labels: images.test.labels,
      evaluation,
      what: `${zoo[base.name].title} features of Fashion-MNIST${doubt}`,
      epochs: this.#history,
      bestEpoch: best.epoch,
    })
    await writeReport(runDir, report)
    return report
  }
}

/**
 * The model's weights, its standardisation being that of these rows. A feature that never varies in them (within the
 * rounding of a mean) is not divided: where it does vary elsewhere, it would drown all others.
 */
async function standardized(model: Model, rows: FeatureDataset): Promise<WeightNumbers> {
  const { mean, variance } = await rows.statistics()
  const divided = variance.map((one, i) => (one > (1e-6 * (mean[i] ?? 0)) ** 2 ? one : 1))
  const shape = [rows.width]
  return new Map([
    ...(await model.weightNumbers()),
    [`${standardization}/mean`, { shape, data: mean }],
    [`${standardization}/variance`, { shape, data: divided }],
  ])
}
