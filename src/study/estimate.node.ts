/** What a study will take, from a short measurement of this adapter: a small training, a batch of each network. */
import { type ImageDataset, residentImages } from '../data/dataset.ts'
import type { Device } from '../gpu/device.ts'
import { fit } from '../nn/fit.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { adam } from '../nn/optimizers.ts'
import type { StudyPart } from '../report/parts.ts'
import type { StudyPlan } from '../report/study-report.ts'
import type { LoadedImages } from '../runs/data.ts'
import { firstOf } from '../runs/images.ts'
import { epochsIn } from '../search/hyperband.ts'
import { planSearch } from '../search/search.ts'
import { searchDefaults } from '../search/settings.ts'
import type { FeatureTap } from '../tasks/feature-taps.ts'
import { buildNetwork, type Task } from '../tasks/task.ts'
import { tapsOf } from '../transfer/features.node.ts'
import { FeatureExtractor } from '../transfer/features.ts'
import { openBase, type PretrainedBase } from '../transfer/pretrained-base.node.ts'
import { lookUpWeights } from '../weights/find.node.ts'
import type { StudyEstimate } from './clock.ts'

export interface Speed {
  /** Of the task's network, trained by its `seed` recipe. */
  readonly millisecondsPerStep: number
  /** Features of a network; only of those whose weights are on this computer. */
  readonly imagesPerSecond: Readonly<Partial<Record<PretrainedName, number>>>
}

const batchSize = 32
const measuredSteps = 60
/** The first of these epochs compiles, which takes as long as thousands of steps where no driver has kept the result. */
const measuredEpochs = 3
const measuredBatch = 16
const measuredBatches = 2
/** Exploring all images: 7 s on two cores of a CPU, less elsewhere. */
const edaSeconds = 8
/** Validation, writing and waiting, beside the steps. */
const overhead = 1.15
/** An image of the best recipe against one of the `seed` recipe: mirrored, shifted, dropped out, but in larger steps. */
const bestRecipeCost = 1.1
/** A row of features that trains a head against an image that trains the task's network. */
const headCost = 0.6

/** Only for the parts given. Throws WeftgradError 'aborted', 'device-lost'; a network that cannot be opened is left out. */
export async function measureSpeed(
  task: Task,
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
    // Here nothing is fetched: that is the part's business.
    if (transfer.weights === null && (await lookUpWeights(name)) === undefined) continue
    const settings = { ...task.transfer[name], weights: transfer.weights }
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

/** Seconds by part. A network whose speed is not known takes none: it will be left out, or has to be fetched first. */
export function estimateStudy(
  task: Task,
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
    return (trained + tested) / rate + transfer.epochs * trained * secondsPerImage * headCost
  }
  const seconds: Record<StudyPart, number> = {
    eda: edaSeconds,
    tune: searchEpochs * seedImages * secondsPerImage,
    crossval: foldEpochs * count * (1 - 1 / crossval.folds) * secondsPerImage,
    seed: train.seed * seedImages * secondsPerImage,
    best: train.best * count * secondsPerImage * bestRecipeCost,
    vgg16: network('vgg16'),
    xception: network('xception'),
    resnet152v2: network('resnet152v2'),
  }
  return Object.fromEntries(parts.map((part) => [part, seconds[part]]))
}
