/**
 * The settings of transfer learning: what each accepts, and the best that was found for each network, with what was
 * measured. All choices were made on validation images, a part of the published training images; the test images had no
 * say. Figures beside the settings are accuracies on 4,000 validation images after training a head on 16,000 others, with
 * Keras' features, which ours equal to 2e-5 (test/features.test.ts). The standard error of a figure is 0.4 %.
 */
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { type FeaturePooling, featurePoolings } from './feature-taps.ts'
import { commonRules, SettingsTable, whole } from './settings.ts'
import { leastImages } from './train-options.ts'

export const heads = ['linear', 'mlp'] as const
/** `linear`: multinomial logistic regression; `mlp`: 256 rectified units and dropout before it. */
export type Head = (typeof heads)[number]

/** What features depend on, beside the network and the data. */
export interface FeatureSettings {
  /** Height and width of the images as the network sees them, in pixels. */
  readonly size: number
  /** The layers whose outputs are features. */
  readonly layers: readonly string[]
  readonly pool: FeaturePooling
  /** A file of weights, `hashed` for made-up ones, or null to look for the published ones. */
  readonly weights: string | null
}

export interface TransferSettings extends FeatureSettings {
  readonly head: Head
  readonly epochs: number
  readonly batchSize: number
  /** At the first step; it falls to nothing over the epochs, along a cosine. */
  readonly learningRate: number
  /** Decoupled from the gradients (AdamW). */
  readonly weightDecay: number
  /** Share of the hidden units that a step leaves out. */
  readonly dropout: number
  /** Epochs in a row without a better one, by validation, after which training stops. */
  readonly patience: number
  /** Draws initial weights, the validation images and the order of the others. */
  readonly seed: number
  /** Only the first training images, those for validation included. */
  readonly limitTrain: number | null
  readonly limitTest: number | null
  /** The first of the network's layers to be trained after the head, or null to leave it frozen. */
  readonly unfreeze: string | null
  readonly fineTuneEpochs: number
  /** At the first step of fine-tuning. */
  readonly fineTuneRate: number
}

const isName = (value: unknown): boolean => typeof value === 'string' && value.trim() !== ''
const share = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value < 1
const limit = (least: number) => (value: unknown) => value === null || whole(least, Number.MAX_SAFE_INTEGER)(value)

const featureRules = {
  size: { flag: '--size', what: 'a whole number of pixels from 1 to 1,024', accepts: whole(1, 1024) },
  layers: {
    flag: '--layers',
    what: 'names of different layers, such as block3_pool,block4_pool',
    accepts: (value: unknown) =>
      Array.isArray(value) && value.length > 0 && value.every(isName) && new Set(value).size === value.length,
  },
  pool: {
    flag: '--pool',
    what: `one of ${featurePoolings.join(', ')}`,
    accepts: (value: unknown) => featurePoolings.some((one) => one === value),
  },
  weights: {
    flag: '--weights',
    what: "a file of weights, or 'hashed'",
    accepts: (value: unknown) => value === null || isName(value),
  },
} as const

export const featureSettings = new SettingsTable<FeatureSettings>(featureRules)

export const transferSettings = new SettingsTable<TransferSettings>({
  ...featureRules,
  ...commonRules,
  head: { flag: '--head', what: heads.join(' or '), accepts: (value) => heads.some((one) => one === value) },
  weightDecay: { flag: '--weight-decay', what: 'a number from 0 and below 1', accepts: share },
  dropout: { flag: '--dropout', what: 'a number from 0 and below 1', accepts: share },
  patience: { flag: '--patience', what: 'a whole number of epochs from 1 to 10,000', accepts: whole(1, 10_000) },
  limitTrain: {
    flag: '--limit-train',
    what: `a whole number of images, at least ${leastImages}`,
    accepts: limit(leastImages),
  },
  limitTest: { flag: '--limit-test', what: 'a whole number of images, at least 1', accepts: limit(1) },
  unfreeze: { flag: '--unfreeze', what: 'the name of a layer', accepts: (value) => value === null || isName(value) },
  fineTuneEpochs: { ...commonRules.epochs, flag: '--fine-tune-epochs' },
  fineTuneRate: { ...commonRules.learningRate, flag: '--fine-tune-rate' },
})

/**
 * The same for all networks. On VGG16's block3_pool (0.931) 512 hidden units gave 0.932, four times the weight decay
 * 0.928, dropout 0.7 0.923, a third of the learning rate 0.927: no setting is worth one of its own.
 */
const shared = {
  weights: null,
  head: 'mlp',
  epochs: 30,
  batchSize: 128,
  learningRate: 1e-3,
  weightDecay: 0.05,
  dropout: 0.5,
  patience: 6,
  seed: 1,
  limitTrain: null,
  limitTest: null,
  unfreeze: null,
  fineTuneEpochs: 5,
  fineTuneRate: 1e-4,
} as const satisfies Partial<TransferSettings>

/**
 * What helped most was to tap earlier layers: the last ones tell ImageNet's classes apart, not garments of 28 pixels.
 * Next, a grid of 2x2 means instead of one mean a channel; next, the hidden layer.
 */
export const transferDefaults: { readonly [name in PretrainedName]: TransferSettings } = {
  // Means of 2x2, hidden layer: block5_pool 0.846, block4_pool 0.907, block3_pool 0.931, block2_pool 0.916, the first
  // three together 0.921, blocks 2 and 3 together 0.932. Linear on block3_pool: 0.920. All 16 means of block 3: 0.930. At 48
  // pixels blocks 2 and 3: 0.931, for twice the work. Trained on 54,000, validated on 6,000: 0.940, with block 4 as well
  // 0.937, blocks 3 to 5 0.930; by `weftgrad transfer vgg16` 0.938. Nothing beyond block 3 has to be computed.
  vgg16: { ...shared, size: 32, layers: ['block2_pool', 'block3_pool'], pool: 'avg2' },
  // Means of 2x2, hidden layer: the end of block 14 0.878, of block 12 (add_10) 0.920, block 8 (add_6) 0.927, block 4
  // (add_2) 0.936, block 3 (add_1) 0.927; add_2 with the block before 0.936, with block 2 as well 0.937; one mean a channel
  // at add_2: 0.924. 71 pixels are the fewest it takes. By `weftgrad transfer xception`, on all images: 0.946.
  xception: { ...shared, size: 71, layers: ['add_2'], pool: 'avg2' },
  // Not measured, for want of weights: the ends of stacks 2 and 3, which are as deep as what is best in the others.
  resnet152v2: { ...shared, size: 32, layers: ['conv2_block3_out', 'conv3_block8_out'], pool: 'avg2' },
}
