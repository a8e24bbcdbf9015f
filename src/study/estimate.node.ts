/**
 * Estimates the time of a study from a short measurement on this adapter: a small training, a batch of each network.
 */
import { type ImageDataset, residentImages } from '../data/dataset.ts'
import type { Device } from '../gpu/device.ts'
import { fit } from '../nn/fit.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { adam } from '../nn/optimizers.ts'
import { networkParts, type StudyPart } from '../report/parts.ts'
import type { StudyPlan } from '../report/study-report.ts'
import type { LoadedImages } from '../runs/data.ts'
import { firstOf } from '../runs/images.ts'
import { epochsIn } from '../search/hyperband.ts'
import { planSearch } from '../search/search.ts'
import { searchDefaults } from '../search/settings.ts'
import type { FeatureTap } from '../tasks/feature-taps.ts'
import { buildNetwork, type PublishedTask, transferDefaults } from '../tasks/task.ts'
import { tapsOf } from '../transfer/feature-source.node.ts'
import { FeatureExtractor } from '../transfer/features.ts'
import { openBase, type PretrainedBase } from '../transfer/pretrained-base.node.ts'
import { lookUpWeights } from '../weights/find.node.ts'
import type { StudyEstimate } from './clock.ts'

export interface Speed {
  /** Time per step of the task's network with its `seed` recipe. */
  readonly millisecondsPerStep: number
  /** Rate of computing each network's features; only networks whose weights are on this computer. */
  readonly imagesPerSecond: Readonly<Partial<Record<PretrainedName, number>>>
}

const batchSize = 32
const measuredSteps = 60
/** Epochs to measure. The first one compiles, which takes as long as thousands of steps without a driver cache. */
const measuredEpochs = 3
const measuredBatch = 16
const measuredBatches = 2
/** Seconds to explore all images: 7 on two cores of a CPU, less elsewhere. */
const edaSeconds = 8
/** Factor for validation, writing and waiting. */
const overhead = 1.15
/** Relative cost of an image in the `best` recipe: flips, shifts and dropout, but larger batches. */
const bestRecipeCost = 1.1
/** Cost of training a head on a row of features, relative to training the task's network on an image. */
const headCost = 0.6

/**
 * Measures the speed for the given parts. Throws WeftgradError 'aborted', 'device-lost'; leaves out networks that
 * cannot be opened.
 */
export async function measureSpeed(
  task: PublishedTask,
  device: Device,
  images: LoadedImages,
  parts: readonly StudyPart[],
  { transfer }: StudyPlan,
  signal?: AbortSignal,
): Promise<Speed> {
  using data = residentImages(device, firstOf(images, batchSize * measuredSteps))
  const { units, seed } = task.recipes.seed.train
  using model = buildNetwork(task, { units }, seed)
  const stop = signal === undefined ? {} : { signal }
  const options = { optimizer: adam({ learningRate: 1e-3 }), epochs: measuredEpochs, batchSize, ...stop }
  const { millisecondsPerStep } = await fit(model, data, options)

  const imagesPerSecond: Partial<Record<PretrainedName, number>> = {}
  for (const name of transfer.networks.filter((one) => parts.includes(one))) {
    // Nothing is downloaded here: the part does that.
    if (transfer.weights === null && (await lookUpWeights(name)) === undefined) continue
    const settings = { ...transferDefaults(task, name), weights: transfer.weights }
    const base = await openBase(name, { ...settings, signal }).catch(() => undefined)
    if (base === undefined) continue
    try {
      imagesPerSecond[name] = await extractionRate(base, data, tapsOf(settings), signal)
    } finally {
      base.close()
    }
  }
  return { millisecondsPerStep, imagesPerSecond }
}

async function extractionRate(
  { frozen, preprocessing }: PretrainedBase,
  data: ImageDataset,
  taps: readonly FeatureTap[],
  signal: AbortSignal | undefined,
): Promise<number> {
  using network = await frozen(
    data.device,
    taps.map(({ layer }) => layer),
  )
  using extractor = await FeatureExtractor.create(network, data, taps, { preprocessing, batch: measuredBatch })
  // The first batch compiles.
  await extractor.extract(0, extractor.batch, { signal })
  const rows = Math.min(data.count, measuredBatches * extractor.batch)
  const started = performance.now()
  await extractor.extract(0, rows, { signal })
  return (1000 * rows) / (performance.now() - started)
}

/**
 * Estimated seconds by part. A network of unknown speed counts as zero: it is left out, or must be downloaded first.
 */
export function estimateStudy(
  task: PublishedTask,
  plan: StudyPlan,
  parts: readonly StudyPart[],
  { millisecondsPerStep, imagesPerSecond }: Speed,
  counts: { readonly train: number; readonly test: number },
): StudyEstimate {
  const secondsPerImage = (overhead * millisecondsPerStep) / batchSize / 1000
  const count = Math.min(plan.limit ?? counts.train, counts.train)
  const { tune, crossval, train, transfer } = plan
  const trials = planSearch(task.search.space, { ...searchDefaults(task), ...tune, seed: plan.seed })
  const searchEpochs = trials.reduce((sum, bracket) => sum + epochsIn(bracket), 0)
  const foldEpochs = crossval.epochs * (2 * crossval.folds - 1)
  const seedImages = count * (1 - task.recipes.seed.recipe.validation)
  const network = (name: PretrainedName): number => {
    const rate = imagesPerSecond[name]
    if (rate === undefined) return 0
    const trained = Math.min(transfer.limitTrain ?? counts.train, counts.train)
    const tested = Math.min(transfer.limitTest ?? counts.test, counts.test)
    const epochs = transfer.epochs ?? transferDefaults(task, name).epochs
    return (trained + tested) / rate + plan.seeds * epochs * trained * secondsPerImage * headCost
  }
  const seconds: Partial<Record<StudyPart, number>> = {
    eda: edaSeconds,
    tune: searchEpochs * seedImages * secondsPerImage,
    crossval: foldEpochs * count * (1 - 1 / crossval.folds) * secondsPerImage,
    seed: plan.seeds * train.seed * seedImages * secondsPerImage,
    best: plan.seeds * train.best * count * secondsPerImage * bestRecipeCost,
    ...Object.fromEntries(networkParts(task).map((name) => [name, network(name)])),
  }
  return Object.fromEntries(parts.map((part) => [part, seconds[part] ?? 0]))
}
