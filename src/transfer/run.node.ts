/**
 * The transfer-learning job on a task's data: trains a head on the features of a frozen pretrained network; with
 * `--unfreeze` it then trains the network's last layers together with the head, at a lower rate. Prints nothing; a
 * reporter receives its events.
 *
 * Promises: options, data and weights are checked before anything is computed. Validation images decide when training
 * stops, which weights are kept, and whether fine-tuning is; the test images are used once, at the end. Same seed, adapter
 * and code: the same bits, also where a run was stopped and resumed.
 */

import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { Model } from '../nn/model.ts'
import { type JobKind, type JobOptions, prepareJob, type Run } from '../runs/job.node.ts'
import { type AnyConfig, removeFromRun, shown } from '../runs/run-folder.node.ts'
import { testAnalysis } from '../runs/test-analysis.ts'
import { writeTestFiles } from '../runs/test-files.node.ts'
import { saveModel } from '../runs/trained-model.node.ts'
import { median } from '../statistics.ts'
import type { TransferSettings } from '../tasks/recipe.ts'
import { type Task, transferDefaults } from '../tasks/task.ts'
import type { Remote, RemoteOption } from '../units/executor.node.ts'
import { imagesOf, tapsOf } from './feature-source.node.ts'
import { hooksOf, noteEnlarged, sizeOf } from './features.node.ts'
import { featureColumns, featureWidth } from './features.ts'
import { featureExecutor } from './features-unit.node.ts'
import { type FineTuning, fineTuning, headModel } from './model.ts'
import { baseNamed, openBase, type PretrainedBase } from './pretrained-base.node.ts'
import { isTransferReport, type TransferReport } from './result.ts'
import { transferSettings } from './settings.ts'
import { type StageResult, Stages, standardized, type TransferReporter } from './stages.node.ts'

export type { TransferReporter }

export interface TransferOptions extends Partial<TransferSettings>, JobOptions, RemoteOption {
  /** A pretrained network's name, or the path of a model's file; required for a new run. */
  readonly model?: string | undefined
  /** The folder of the features; weftgrad's cache by default. */
  readonly featureDir?: string | undefined
}

/** The settings with the network, as config.json holds them. */
export type NetworkSettings = TransferSettings & { readonly model: string }

type Given = Partial<TransferSettings> & { readonly model?: string | undefined }

/** The kind of job that transfer learning is. */
export function transferKind(task: Task): JobKind<NetworkSettings, Given, TransferReport> {
  const table = transferSettings(task)
  return {
    job: 'transfer',
    noun: 'transfer run',
    resolve({ model, ...given }) {
      if (model !== undefined) return { model, ...table.resolve(given, transferDefaults(task, model)) }
      const names = Object.keys(task.transfer).join(', ')
      throw new WeftgradError('argument', `A new transfer run needs a network: one of ${names}, or a model's file.`)
    },
    read({ settings }, path) {
      const model = baseNamed(String(isRecord(settings) ? settings.model : undefined))
      return { model, ...table.read(settings, path) }
    },
    contradiction: (run, given) =>
      given.model !== undefined && given.model !== run.model
        ? { flag: 'the network', run: run.model, given: given.model }
        : table.contradiction(run, given),
    written: (settings) => ({ settings }),
    isResult: isTransferReport,
  }
}

/**
 * Trains, tests and writes the run's folder, or resumes a run in its folder.
 * @throws WeftgradError 'argument', 'file', 'data', 'fetch', 'mismatch', 'format', 'no-adapter', 'device-lost',
 * 'not-finite', 'aborted'. Features computed so far are kept.
 */
export async function trainTransfer(
  task: Task,
  options: TransferOptions,
  reporter: TransferReporter = {},
): Promise<TransferReport> {
  const job = await prepareJob(transferKind(task), options)
  const done = await job.finished(reporter)
  if (done !== undefined) return done
  const { settings } = job
  const { signal, featureDir, remote } = options
  const base = await openBase(settings.model, { ...settings, signal, ...hooksOf(reporter) })
  try {
    featureColumns(base.model, tapsOf(settings))
    const tuning = settings.unfreeze === null ? undefined : fineTuning(base.model, tapsOf(settings), settings.unfreeze)
    return await job.run(reporter, (run) => transfer({ task, run, base, featureDir, remote, reporter }, tuning))
  } finally {
    base.close()
  }
}

/** The description of the weights in config.json. */
export interface BaseFacts {
  readonly weights: string
  readonly fingerprint: string
}

/** The weights' description; undefined if the configuration is not a transfer run's. */
export function baseIn({ base }: AnyConfig): BaseFacts | undefined {
  if (!isRecord(base) || typeof base.weights !== 'string' || typeof base.fingerprint !== 'string') return undefined
  const { weights, fingerprint } = base
  return { weights, fingerprint }
}

/** Throws WeftgradError 'mismatch', naming the run, if the weights differ from those it was trained with. */
export function refuseOtherWeights(
  run: string,
  { weights, fingerprint }: PretrainedBase,
  trainedWith: BaseFacts,
): void {
  if (fingerprint === trainedWith.fingerprint) return
  throw new WeftgradError(
    'mismatch',
    `${run} was trained on features from other weights than those in ${weights}. Restore the original ones (${trainedWith.weights}).`,
    { weights, run: trainedWith },
  )
}

interface Work {
  readonly task: Task
  readonly run: Run<NetworkSettings>
  readonly base: PretrainedBase
  readonly featureDir: string | undefined
  readonly remote: Remote | undefined
  readonly reporter: TransferReporter
}

async function transfer(work: Work, tuning: FineTuning | undefined): Promise<TransferReport> {
  const { task, run, base, featureDir, remote, reporter } = work
  const { settings, runDir, earlier } = run
  const before = earlier === undefined ? undefined : baseIn(earlier)
  if (before !== undefined) refuseOtherWeights(shown(runDir), base, before)
  using ground = await run.open(task)
  reporter.onBase?.(base)
  noteEnlarged(task, base, reporter)
  const images = imagesOf(ground.data, settings.limitTrain, settings.limitTest)
  ground.choose(images.facts)
  const taps = tapsOf(settings)
  const { classNames } = task.data
  const classes = classNames.length
  const executor = featureExecutor(remote, { task, images, device: ground.device })
  const stages = new Stages({ run, ground, base, images, classes, featureDir, executor }, reporter)

  using head = headModel(`${base.name}-head`, featureWidth(featureColumns(base.model, taps)), classes, settings)
  const { epochs, learningRate } = settings
  const first = await stages.train(
    'head',
    { model: head, taps, weights: (rows) => standardized(head, rows), epochs, learningRate },
    tuning === undefined,
  )
  const finish = async (model: Model, result: StageResult, more: Partial<TransferReport>): Promise<TransferReport> => {
    const { best, test: evaluation } = result
    if (evaluation === undefined) throw new RangeError('the last stage tests its model')
    const { train, test } = images.facts
    const { history } = stages
    const validationCount = stages.validationCount
    const { test: figures, errors, calibration, ...classFigures } = testAnalysis(evaluation, images.test, classNames)
    const report: TransferReport = {
      model: settings.model,
      size: sizeOf(base),
      head: settings.head,
      features: first.features,
      test: figures,
      history,
      runDir,
      adapter: ground.device.facts.driver,
      hardware: ground.device.facts.hardware,
      weights: base.weights,
      meaningless: base.isMeaningless,
      layers: settings.layers,
      pool: settings.pool,
      ...more,
      parameters: model.parameterCount,
      epochs: history.length,
      batchSize: settings.batchSize,
      secondsPerEpoch: median(history.map(({ seconds }) => seconds)),
      images: { train: train - validationCount, validation: validationCount, test },
      validation: { loss: best.validationLoss ?? Number.NaN, accuracy: best.validationAccuracy ?? Number.NaN },
      bestEpoch: best.epoch,
      errors,
      calibration,
      ...classFigures,
    }
    const { model: _, ...own } = settings
    await saveModel(runDir, model, {
      classNames,
      // A part of a network has layers of its own; `fineTuning` builds it again.
      architecture: model === head,
      description: { base: base.name, weights: base.fingerprint, settings: JSON.stringify(own) },
    })
    const doubt = base.isMeaningless ? ', on made-up weights: meaningless' : ''
    await writeTestFiles(runDir, {
      indices: Uint32Array.from({ length: test }, (_, i) => i),
      ...{ test: images.test, classNames, errors },
      evaluation,
      what: `${base.title} features of ${task.data.title}${doubt}`,
      epochs: history,
      bestEpoch: best.epoch,
    })
    // The checkpoints are no longer needed.
    await removeFromRun(stages.folder)
    return report
  }
  if (tuning === undefined) return await finish(head, first, {})

  const { frozenTaps, layers } = tuning
  using tuned = tuning.model(`${base.name}-from-${settings.unfreeze}`, classes, settings)
  const numbers = new Map(first.weights)
  for (const weight of base.model.layers.filter(({ layer }) => layers.includes(layer.name)).flatMap((l) => l.weights))
    numbers.set(weight.name, { shape: weight.shape, data: await base.read(weight) })
  const second = await stages.train(
    'fine-tuning',
    {
      model: tuned,
      taps: frozenTaps,
      weights: async () => numbers,
      epochs: settings.fineTuneEpochs,
      learningRate: settings.fineTuneRate,
    },
    true,
    first.best,
  )
  const fineTuned = {
    from: settings.unfreeze ?? '',
    layers,
    features: second.features,
    kept: second.best.stage === 'fine-tuning',
  }
  return await finish(tuned, second, { fineTuning: fineTuned })
}
