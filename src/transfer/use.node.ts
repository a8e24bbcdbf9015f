/** Uses a finished transfer run: reunites its network and model. Prints nothing. */
import { join } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { FeatureDataset } from '../data/feature-dataset.ts'
import { WeftgradError } from '../errors.ts'
import { readSafetensors } from '../format/safetensors.ts'
import type { Device } from '../gpu/device.ts'
import { evaluate } from '../nn/evaluate.ts'
import type { Model } from '../nn/model.ts'
import { fillFromFile } from '../nn/model-file.ts'
import { finiteNumbers } from '../nn/predict.ts'
import { softmax } from '../operators/index.ts'
import { tensor } from '../operators/tensor.ts'
import { openForCommand } from '../runs/device.node.ts'
import { type AnyConfig, runFiles, shown } from '../runs/run-folder.node.ts'
import { evaluationBatchSize, type RunEvaluation, testReport } from '../runs/test-report.ts'
import { readModelBytes } from '../runs/trained-model.node.ts'
import type { FeatureTap } from '../tasks/feature-taps.ts'
import type { Task } from '../tasks/task.ts'
import { imagesOf, tapsOf } from './feature-source.node.ts'
import { fillFeatures } from './features.node.ts'
import { FeatureExtractor, featureColumns, featureWidth } from './features.ts'
import { fineTuning, headModel } from './model.ts'
import { openBase, type PretrainedBase } from './pretrained-base.node.ts'
import { baseIn, type NetworkSettings, refuseOtherWeights, transferKind } from './run.node.ts'

interface UsedRun {
  readonly base: PretrainedBase
  /** The outputs of the frozen part that the model takes. */
  readonly taps: readonly FeatureTap[]
  /** The model with the run's weights. */
  readonly model: Model
  readonly config: AnyConfig
  readonly settings: NetworkSettings
}

export interface UseTransferOptions {
  readonly dataDir?: string | undefined
  /** The folder of the features; weftgrad's cache by default. */
  readonly featureDir?: string | undefined
  readonly onNote?: ((line: string) => void) | undefined
}

/** Evaluates a run's model, on the run's own test images if the data are the same. Throws as `trainTransfer`. */
export async function evaluateTransferRun(
  task: Task,
  runDir: string,
  found: AnyConfig,
  { dataDir, featureDir, onNote }: UseTransferOptions,
): Promise<RunEvaluation> {
  return await withRun(task, runDir, found, onNote, async ({ base, taps, model, config, settings }) => {
    using device = await openForCommand(onNote)
    const loaded = await task.data.load({ dataDir, log: onNote })
    const images = imagesOf(loaded, 0, settings.limitTest)
    if (images.fingerprint !== config.data.fingerprint)
      onNote?.(`${loaded.folder} holds other data than ${shown(runDir)} was trained with.`)
    const { labels } = images.test
    const width = featureWidth(featureColumns(base.model, taps))
    using test = FeatureDataset.allocate(device, { width, labels, classes: task.data.classNames.length })
    const sinks = { test: (first: number, rows: Float32Array): void => test.write(first, rows) }
    await fillFeatures({ device, base, images, taps, featureDir }, sinks, onNote === undefined ? {} : { onNote })
    const variants = config.adapter.driver === device.facts.driver ? config.kernels : {}
    const evaluation = await evaluate(model, test, { batchSize: evaluationBatchSize, variants })
    const { driver, hardware } = device.facts
    return { adapter: driver, hardware, ...testReport(evaluation, task.data.classNames), runDir }
  })
}

/** Class probabilities [count, classes] of images in the task's format, by a run's model. */
export async function predictByTransferRun(
  task: Task,
  device: Device,
  runDir: string,
  found: AnyConfig,
  images: Uint8Array,
  onNote: UseTransferOptions['onNote'],
): Promise<Float32Array> {
  return await withRun(task, runDir, found, onNote, async ({ base, taps, model }) => {
    const { image, classNames } = task.data
    const count = images.length / (image.height * image.width * image.channels)
    const spec = { ...image, labels: new Uint8Array(count), classes: classNames.length }
    using data = residentImages(device, { ...spec, images })
    using network = await base.frozen(
      device,
      taps.map(({ layer }) => layer),
    )
    using extractor = await FeatureExtractor.create(network, data, taps, { preprocessing: base.preprocessing })
    const rows = tensor(await extractor.extract(0, count), [count, extractor.width])
    return finiteNumbers(await softmax(model.to(device).logits(rows)).data(), model.name)
  })
}

async function withRun<T>(
  task: Task,
  runDir: string,
  config: AnyConfig,
  onNote: UseTransferOptions['onNote'],
  use: (run: UsedRun) => Promise<T>,
): Promise<T> {
  const path = join(runDir, runFiles.config)
  const trainedWith = baseIn(config)
  if (trainedWith === undefined)
    throw new WeftgradError(
      'format',
      `${path} is not the configuration of a transfer run. Name the folder of such a run.`,
      {
        path,
      },
    )
  const settings = transferKind(task).read(config, path, {})
  const classes = task.data.classNames.length
  const base = await openBase(settings.model, { ...settings, onNote })
  try {
    refuseOtherWeights(shown(runDir), base, trainedWith)
    const taps = tapsOf(settings)
    const tuning = settings.unfreeze === null ? undefined : fineTuning(base.model, taps, settings.unfreeze)
    const width = featureWidth(featureColumns(base.model, taps))
    using model = tuning?.model(base.name, classes, settings) ?? headModel(base.name, width, classes, settings)
    const file = await readModelBytes(runDir)
    fillFromFile(model, readSafetensors(file.bytes, file.path).tensors, file.path)
    return await use({ base, taps: tuning?.frozenTaps ?? taps, model, config, settings })
  } finally {
    base.close()
  }
}
