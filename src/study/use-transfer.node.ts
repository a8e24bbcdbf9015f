/** Using a finished transfer run: its network and model brought together again. Prints nothing. */
import { join } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { FeatureDataset } from '../data/feature-dataset.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import { evaluate, finiteNumbers } from '../nn/evaluate.ts'
import type { Model } from '../nn/model.ts'
import { fillFromFile } from '../nn/model-file.ts'
import { softmax } from '../operators/index.ts'
import { tensor } from '../operators/tensor.ts'
import { zooNameOf } from '../weights/zoo.ts'
import type { FeatureTap } from './feature-taps.ts'
import { fillFeatures, imagesOf, tapsOf } from './features.node.ts'
import { FeatureExtractor, featureColumns, featureWidth } from './features.ts'
import { openBase, type PretrainedBase } from './pretrained-base.node.ts'
import { type AnyConfig, runFiles, shown } from './run-folder.node.ts'
import { evaluationBatchSize, type RunEvaluation, testReport } from './train-report.node.ts'
import { readModelFile } from './trained-model.node.ts'
import type { TransferConfig } from './transfer.node.ts'
import { fineTuning, headModel } from './transfer-model.ts'
import { transferSettings } from './transfer-settings.ts'

const classNames: readonly string[] = fashionMnistClasses
const classes = classNames.length

interface UsedRun {
  readonly base: PretrainedBase
  /** What the frozen part gives to the model. */
  readonly taps: readonly FeatureTap[]
  /** With the run's weights. */
  readonly model: Model
  readonly config: TransferConfig
}

export interface UseTransferOptions {
  readonly dataDir?: string | undefined
  /** Where features are kept; in weftgrad's cache unless given. */
  readonly featureDir?: string | undefined
  readonly onNote?: ((line: string) => void) | undefined
}

/** Tests a run's model again, on the run's own test images where the data are the same. Throws as `trainTransfer`. */
export async function evaluateTransferRun(
  runDir: string,
  found: AnyConfig,
  { dataDir, featureDir, onNote }: UseTransferOptions,
): Promise<RunEvaluation> {
  return await withRun(runDir, found, onNote, async ({ base, taps, model, config }) => {
    using device = await open(onNote === undefined ? {} : { log: onNote })
    const loaded = await loadFashionMnist({ dataDir, log: onNote })
    const images = imagesOf(loaded, 0, config.settings.limitTest)
    if (images.fingerprint !== config.data.fingerprint)
      onNote?.(`${loaded.folder} holds other data than ${shown(runDir)} was trained with.`)
    const { labels } = images.test
    const width = featureWidth(featureColumns(base.model, taps))
    using test = FeatureDataset.allocate(device, { width, labels, classes })
    const sinks = { test: (first: number, rows: Float32Array): void => test.write(first, rows) }
    await fillFeatures({ device, base, images, taps, featureDir }, sinks, onNote === undefined ? {} : { onNote })
    const variants = config.adapter.driver === device.facts.driver ? config.kernels : {}
    const evaluation = await evaluate(model, test, { batchSize: evaluationBatchSize, variants })
    const { driver, hardware } = device.facts
    return { adapter: driver, hardware, ...testReport(evaluation, classNames), runDir }
  })
}

/** Class probabilities [count, classes] of grey images of 28x28 bytes, by a run's model. */
export async function predictByTransferRun(
  device: Device,
  runDir: string,
  found: AnyConfig,
  images: Uint8Array,
  onNote: UseTransferOptions['onNote'],
): Promise<Float32Array> {
  return await withRun(runDir, found, onNote, async ({ base, taps, model }) => {
    const count = images.length / 28 ** 2
    const spec = { labels: new Uint8Array(count), height: 28, width: 28, channels: 1, classes }
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
  runDir: string,
  found: AnyConfig,
  onNote: UseTransferOptions['onNote'],
  use: (run: UsedRun) => Promise<T>,
): Promise<T> {
  const config = checkedConfig(runDir, found)
  const { settings } = config
  const base = await openBase(settings.model, { ...settings, onNote })
  try {
    if (base.fingerprint !== config.base.fingerprint)
      throw new WeftgradError(
        'mismatch',
        `${shown(runDir)} was trained on features by other weights than those in ${base.weights}. Put back those it was trained with (${config.base.weights}).`,
        { weights: base.weights, run: config.base },
      )
    const taps = tapsOf(settings)
    const tuning = settings.unfreeze === null ? undefined : fineTuning(base.model, taps, settings.unfreeze)
    const width = featureWidth(featureColumns(base.model, taps))
    using model = tuning?.model(base.name, classes, settings) ?? headModel(base.name, width, classes, settings)
    await loadModel(model, runDir)
    return await use({ base, taps: tuning?.frozenTaps ?? taps, model, config })
  } finally {
    base.close()
  }
}

/** Throws 'format' where the configuration is not that of a transfer run. */
function checkedConfig(runDir: string, config: AnyConfig): TransferConfig {
  const path = join(runDir, runFiles.config)
  const { settings, base } = config
  if (
    !isRecord(settings) ||
    !isRecord(base) ||
    typeof base.weights !== 'string' ||
    typeof base.fingerprint !== 'string'
  )
    throw new WeftgradError('format', `${path} is not the configuration of a transfer run. Name the folder of one.`, {
      path,
    })
  const model = zooNameOf(String(settings.model))
  const { weights, fingerprint } = base
  return {
    ...config,
    job: 'transfer',
    settings: { ...transferSettings.read(settings, path), model },
    base: { weights, fingerprint },
  }
}

async function loadModel(model: Model, runDir: string): Promise<void> {
  const { tensors } = await readModelFile(runDir)
  fillFromFile(model, tensors, join(runDir, runFiles.model))
}
