/** What a study will take, from a short measurement of this adapter: a small training of LeNet-5, a batch of each network. */
import { type ImageDataset, residentImages } from '../data/dataset.ts'
import { fashionMnistClasses, type LabelledImages } from '../data/fashion-mnist.ts'
import type { Device } from '../gpu/device.ts'
import { fit } from '../nn/fit.ts'
import { lenet5 } from '../nn/models/lenet5.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { adam } from '../nn/optimizers.ts'
import { lookUpWeights } from '../weights/find.node.ts'
import type { FeatureTap } from './feature-taps.ts'
import { tapsOf } from './features.node.ts'
import { FeatureExtractor } from './features.ts'
import { epochsIn } from './hyperband.ts'
import { openBase, type PretrainedBase } from './pretrained-base.node.ts'
import { recipes } from './recipes.ts'
import { planSearch } from './search.ts'
import { lenetSpace, searchDefaults } from './search-settings.ts'
import type { StudyEstimate } from './study-clock.ts'
import type { StudyPart, StudyPlan } from './study-plan.ts'
import { transferDefaults } from './transfer-settings.ts'

export interface Speed {
  /** Of a LeNet-5 that is trained by the notebook's recipe. */
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
/** A look at all images: 7 s on two cores of a CPU, less elsewhere. */
const edaSeconds = 8
/** Validation, writing and waiting, beside the steps. */
const overhead = 1.15
/** An image of the best recipe against one of the notebook's: mirrored, shifted, dropped out, but in larger steps. */
const bestRecipeCost = 1.1
/** A row of features that trains a head against an image that trains LeNet-5. */
const headCost = 0.6

/** Only for the parts given. Throws WeftgradError 'aborted', 'device-lost'; a network that cannot be opened is left out. */
export async function measureSpeed(
  device: Device,
  images: LabelledImages,
  parts: readonly StudyPart[],
  { transfer }: StudyPlan,
  signal?: AbortSignal,
): Promise<Speed> {
  const count = Math.min(images.count, batchSize * measuredSteps)
  const bytes = images.height * images.width
  const few = { ...images, images: images.images.subarray(0, count * bytes), labels: images.labels.subarray(0, count) }
  using data = residentImages(device, few)
  using model = lenet5({ classes: fashionMnistClasses.length })
  const stop = signal === undefined ? {} : { signal }
  const options = { optimizer: adam({ learningRate: 1e-3 }), epochs: measuredEpochs, batchSize, ...stop }
  const { millisecondsPerStep } = await fit(model, data, options)

  const imagesPerSecond: Partial<Record<PretrainedName, number>> = {}
  for (const name of transfer.networks.filter((one) => parts.includes(one))) {
    // Here nothing is fetched: that is the part's business.
    if (transfer.weights === null && (await lookUpWeights(name)) === undefined) continue
    const settings = { ...transferDefaults[name], weights: transfer.weights }
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
  plan: StudyPlan,
  parts: readonly StudyPart[],
  { millisecondsPerStep, imagesPerSecond }: Speed,
  counts: { readonly train: number; readonly test: number },
): StudyEstimate {
  const secondsPerImage = (overhead * millisecondsPerStep) / batchSize / 1000
  const count = Math.min(plan.limit ?? counts.train, counts.train)
  const { tune, crossval, lenet, transfer } = plan
  const trials = planSearch(lenetSpace, { ...searchDefaults, ...tune, seed: plan.seed })
  const searchEpochs = trials.reduce((sum, bracket) => sum + epochsIn(bracket), 0)
  const foldEpochs = crossval.epochs * (2 * crossval.folds - 1)
  const seedImages = count * (1 - recipes.seed.recipe.validation)
  const network = (name: PretrainedName): number => {
    const rate = imagesPerSecond[name]
    if (rate === undefined) return 0
    const train = Math.min(transfer.limitTrain ?? counts.train, counts.train)
    const test = Math.min(transfer.limitTest ?? counts.test, counts.test)
    return (train + test) / rate + transfer.epochs * train * secondsPerImage * headCost
  }
  const seconds: Record<StudyPart, number> = {
    eda: edaSeconds,
    tune: searchEpochs * seedImages * secondsPerImage,
    crossval: foldEpochs * count * (1 - 1 / crossval.folds) * secondsPerImage,
    'lenet-seed': lenet.seed * seedImages * secondsPerImage,
    'lenet-best': lenet.best * count * secondsPerImage * bestRecipeCost,
    vgg16: network('vgg16'),
    xception: network('xception'),
    resnet152v2: network('resnet152v2'),
  }
  return Object.fromEntries(parts.map((part) => [part, seconds[part]]))
}
