/**
 * The stages of transfer learning: the head, then the network's last layers with it. Each has a folder with its
 * checkpoint during the run; a finished stage gives the same result when the run is resumed.
 */
import { FeatureDataset } from '../data/feature-dataset.ts'
import { randomSplit } from '../data/split.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import { isBetterEpoch } from '../nn/best-epoch.ts'
import type { EpochResult, Evaluation, FitOptions, History, Progress, TrainingFacts } from '../nn/contract.ts'
import { evaluate } from '../nn/evaluate.ts'
import { fit } from '../nn/fit.ts'
import type { Model } from '../nn/model.ts'
import type { WeightNumbers } from '../nn/model-weights.ts'
import { adamw } from '../nn/optimizers.ts'
import { cosineRate } from '../nn/schedules.ts'
import { counted } from '../numbers.ts'
import type { JobReporter, Run, RunGround } from '../runs/job.node.ts'
import { checkpointIn, keepCheckpoint } from '../runs/resumable-fit.node.ts'
import { appendRunLine, requireSpace, runFiles, writeHistory } from '../runs/run-folder.node.ts'
import { evaluationBatchSize } from '../runs/test-report.ts'
import { compilingText, tunedForTraining } from '../runs/tuned-kernels.node.ts'
import type { FeatureTap } from '../tasks/feature-taps.ts'
import type { TransferSettings } from '../tasks/recipe.ts'
import type { FeatureImages } from './feature-source.node.ts'
import { type FeatureReporter, type FeatureSinks, fillFeatures } from './features.node.ts'
import { featureColumns, featureWidth } from './features.ts'
import type { FeatureExecutor } from './features-unit.node.ts'
import { standardization } from './model.ts'
import type { PretrainedBase } from './pretrained-base.node.ts'
import type { FeatureFacts, Stage, StageLogs } from './result.ts'

/** Receives events, features first. */
export interface TransferReporter extends FeatureReporter, Pick<JobReporter, 'onFolder'> {
  onFeaturesReady?(facts: FeatureFacts): void
  onModel?(model: Model, stage: Stage): void
  /** A stage begins; `doneEpochs` were trained by an earlier process. */
  onBegin?(facts: TrainingFacts, settings: TransferSettings, stage: Stage, doneEpochs: number): void
  onProgress?(progress: Progress): void
  onEpochEnd?(logs: StageLogs): void
  onTest?(): void
}

export interface StageGround {
  readonly run: Run<TransferSettings>
  readonly ground: RunGround
  readonly base: PretrainedBase
  readonly images: FeatureImages
  readonly classes: number
  readonly featureDir: string | undefined
  readonly executor: FeatureExecutor | undefined
}

/** A model that a stage trains. */
export interface StageModel {
  readonly model: Model
  readonly taps: readonly FeatureTap[]
  /** Returns the initial weights, given the training rows. */
  readonly weights: (rows: FeatureDataset) => Promise<WeightNumbers>
  readonly epochs: number
  readonly learningRate: number
}

/** The result of a stage. */
export interface StageResult {
  readonly features: FeatureFacts
  readonly weights: WeightNumbers
  /** The logs of the kept weights' epoch. */
  readonly best: StageLogs
  readonly test: Evaluation | undefined
}

const validationShare = 0.1

/**
 * The rows to train on and to validate with, and how a head is trained: the same split for all heads of a seed, so that their
 * validations can be compared.
 */
export function headTraining(
  { seed, weightDecay, batchSize, patience }: TransferSettings,
  count: number,
  signal?: AbortSignal,
): {
  readonly rest: Uint32Array
  readonly held: Uint32Array
  readonly options: (how: Pick<StageModel, 'epochs' | 'learningRate'>) => FitOptions
} {
  const { rest, held } = randomSplit(count, validationShare, seed)
  const options = ({ epochs, learningRate }: Pick<StageModel, 'epochs' | 'learningRate'>): FitOptions => ({
    optimizer: adamw({ learningRate: cosineRate(learningRate), weightDecay }),
    ...{ epochs, batchSize, seed, earlyStopping: { patience } },
    ...(signal === undefined ? {} : { signal }),
  })
  return { rest, held, options }
}

export class Stages {
  /** The history of all stages so far, with continuous epoch numbers. */
  readonly history: StageLogs[] = []
  /** The folder of the checkpoints. */
  readonly folder: string
  readonly #on: StageGround
  readonly #reporter: TransferReporter
  #kernels: VariantTable

  constructor(on: StageGround, reporter: TransferReporter) {
    this.#on = on
    this.#reporter = reporter
    this.folder = on.run.path('stages')
    this.#kernels = on.ground.keptKernels()
  }

  get validationCount(): number {
    const { images, run } = this.#on
    return headTraining(run.settings, images.facts.train).held.length
  }

  /** Trains a model from its initial weights; restores them if training does not improve on `before`. */
  async train(
    stage: Stage,
    { model, taps, ...how }: StageModel,
    isLast: boolean,
    before?: StageLogs,
  ): Promise<StageResult> {
    const { run, ground, base, images, classes, featureDir, executor } = this.#on
    const { device } = ground
    const { settings, runDir, signal } = run
    const spec = { width: featureWidth(featureColumns(base.model, taps)), classes }
    using all = FeatureDataset.allocate(device, { ...spec, labels: images.train.labels })
    using test = FeatureDataset.allocate(device, { ...spec, labels: images.test.labels })
    const sinks: FeatureSinks = {
      train: (first, rows) => all.write(first, rows),
      test: (first, rows) => test.write(first, rows),
    }
    const work = { device, base, images, taps, featureDir, signal, executor }
    const features = await fillFeatures(work, sinks, this.#reporter)
    this.#reporter.onFeaturesReady?.(features)
    const { rest, held, options } = headTraining(settings, all.count, signal)
    const rows = all.subset(rest)
    const weights = await how.weights(rows)
    model.setWeights(weights)
    this.#reporter.onModel?.(model, stage)
    run.stopIfAsked()
    // Two checkpoints (weights, two moments, best weights), since a new one is written beside the old; the model.
    await requireSpace(runDir, model.parameterCount * 4 * 9 + 4e6)

    const training = { ...options(how), validation: all.subset(held) }
    const history = await this.#fit(stage, model, rows, training)
    const best = this.history.at(history.bestEpoch - 1 - history.epochs.length)
    if (best === undefined) throw new RangeError('training has at least one epoch')
    const isBetter = before === undefined || isBetterEpoch(best, before)
    if (!isBetter) model.setWeights(weights)
    if (isLast) this.#reporter.onTest?.()
    return {
      features,
      weights: await model.weightNumbers(),
      best: isBetter ? best : before,
      test: isLast
        ? await evaluate(model, test, { batchSize: evaluationBatchSize, variants: this.#kernels, probabilities: true })
        : undefined,
    }
  }

  /** Trains, from the stage's checkpoint if there is one. */
  async #fit(stage: Stage, model: Model, rows: FeatureDataset, training: FitOptions): Promise<History> {
    const { run } = this.#on
    const folder = run.path('stages', stage)
    const resume = await checkpointIn(folder)
    if (resume === undefined) await this.#tune(model, rows, training)
    else await this.#writeConfig({})
    const earlier = this.history.length
    const countedOn = (logs: EpochResult): StageLogs => ({ ...logs, epoch: earlier + logs.epoch, stage })
    this.history.push(...(resume?.history ?? []).map(countedOn))
    // A crash may have left a line beyond the checkpoint.
    await writeHistory(run.runDir, this.history)
    const reach = (epoch: number): void => {
      run.reached = ` after ${epoch} of ${counted(training.epochs, 'epoch')} (${stage})`
      run.markResumable()
    }
    if (resume !== undefined) reach(resume.epoch)
    let config: Promise<void> = Promise.resolve()
    const history = await fit(model, rows, {
      ...training,
      variants: this.#kernels,
      ...(resume === undefined ? {} : { resume }),
      callbacks: {
        onBegin: (facts) => {
          config = this.#writeConfig(facts.variants)
          config.catch(() => undefined) // awaited before the first checkpoint and at the end
          this.#reporter.onBegin?.(facts, run.settings, stage, resume?.epoch ?? 0)
          run.wait(compilingText(facts))
        },
        onProgress: (progress) => this.#reporter.onProgress?.(progress),
        onEpochEnd: async (logs) => {
          const next = countedOn(logs)
          this.history.push(next)
          await appendRunLine(run.path(runFiles.history), JSON.stringify(next))
          this.#reporter.onEpochEnd?.(next)
        },
        onCheckpoint: async (next) => {
          await config
          await keepCheckpoint(folder, next)
          reach(next.epoch)
        },
      },
    })
    await config
    return history
  }

  async #tune(model: Model, rows: FeatureDataset, training: FitOptions): Promise<void> {
    await this.#writeConfig(await tunedForTraining(model, rows, training, this.#on.run))
  }

  async #writeConfig(kernels: VariantTable): Promise<void> {
    const { ground, base } = this.#on
    this.#kernels = { ...this.#kernels, ...kernels }
    await ground.writeConfig(this.#kernels, { base: { weights: base.weights, fingerprint: base.fingerprint } })
  }
}

/**
 * The model's weights, with standardisation computed from these rows. A feature that is constant in them (within the
 * rounding of a mean) is not divided: where it varies elsewhere, it would otherwise outweigh all others.
 */
export async function standardized(model: Model, rows: FeatureDataset): Promise<WeightNumbers> {
  const { mean, variance } = await rows.statistics()
  const divided = variance.map((one, i) => (one > (1e-6 * (mean[i] ?? 0)) ** 2 ? one : 1))
  const shape = [rows.width]
  return new Map([
    ...(await model.weightNumbers()),
    [`${standardization}/mean`, { shape, data: mean }],
    [`${standardization}/variance`, { shape, data: divided }],
  ])
}
