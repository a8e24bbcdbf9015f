/** The settings of a task's recipes: of a training, and of a head on pretrained features. */
import type { PreprocessingMode } from '../nn/preprocessing.ts'
import type { ImageSettings } from '../runs/images.ts'
import type { FeaturePooling } from './feature-taps.ts'

/** Settings of a training of the task's network. */
export interface TrainSettings extends ImageSettings {
  readonly epochs: number
  readonly batchSize: number
  readonly learningRate: number
  /** Sizes of the hidden dense layers. */
  readonly units: readonly number[]
  /** Random seed of initial weights, splits and the order of the images. */
  readonly seed: number
  /** Whether the weights of the best validation epoch are kept, or those of the last. */
  readonly restoreBest: boolean
}

export const recipeNames = ['seed', 'best'] as const
/** `seed`: the recipe of the published study; `best`: the best one found for the task. */
export type RecipeName = (typeof recipeNames)[number]

/** Random changes of training images that no recipe makes by itself; their names are those of `nn.augment`. */
export interface AugmentationSettings {
  /** Whether images are flipped top to bottom. */
  readonly verticalFlips: boolean
  /** The largest angle in degrees. */
  readonly rotation: number
  readonly zoom: number
  readonly contrast: number
  readonly brightness: number
  /** The side of the erased square in pixels. */
  readonly cutout: number
}

export const noAugmentation: AugmentationSettings = {
  ...{ verticalFlips: false, rotation: 0, zoom: 0, contrast: 0, brightness: 0, cutout: 0 },
}

/** Settings of a recipe besides those of every training. */
export interface RecipeSettings extends AugmentationSettings {
  readonly recipe: RecipeName
  /** Share of the training images used for validation; 0 trains on all of them. */
  readonly validation: number
  /** Whether training images are flipped, left to right, at random. */
  readonly flips: boolean
  /** The most pixels by which training images are shifted. */
  readonly shift: number
  /** Dropout rate of the first dense layer's units. */
  readonly dropout: number
  /** Weight decay, decoupled from the gradients (AdamW); 0 is Adam. */
  readonly weightDecay: number
  /** `cosine`: the learning rate rises over the first epochs and then falls to zero. */
  readonly schedule: 'constant' | 'cosine'
  /** Epochs over which the learning rate of a cosine schedule rises. */
  readonly warmupEpochs: number
  /** Whether tests average the probabilities of an image and its mirror image. */
  readonly flipAverage: boolean
}

export interface Recipe {
  readonly train: TrainSettings
  readonly recipe: RecipeSettings
}

export const heads = ['linear', 'mlp'] as const
/** `linear`: multinomial logistic regression; `mlp`: 256 rectified units and dropout before it. */
export type Head = (typeof heads)[number]

/** Settings that features depend on, besides the network and the data. */
export interface FeatureSettings {
  /** Height and width of the images as the network sees them, in pixels; null for those that a model's file states. */
  readonly size: number | null
  /** The layers whose outputs are features. */
  readonly layers: readonly string[]
  readonly pool: FeaturePooling
  /** How images are prepared; null for what the network was trained with, and nothing for the model in a file. */
  readonly preprocessing: PreprocessingMode | null
  /** A file of weights, `hashed` for made-up ones, or null to look for the published ones. */
  readonly weights: string | null
}

export interface TransferSettings extends FeatureSettings {
  readonly head: Head
  readonly epochs: number
  readonly batchSize: number
  /** Initial learning rate; it falls to zero over the epochs, along a cosine. */
  readonly learningRate: number
  /** Weight decay, decoupled from the gradients (AdamW). */
  readonly weightDecay: number
  /** Dropout rate of the hidden units. */
  readonly dropout: number
  /** Epochs without validation improvement after which training stops. */
  readonly patience: number
  /** Random seed of initial weights, validation images and the order of the others. */
  readonly seed: number
  /** Limit to the first training images, validation included. */
  readonly limitTrain: number | null
  readonly limitTest: number | null
  /** The first of the network's layers to be trained after the head, or null to leave it frozen. */
  readonly unfreeze: string | null
  readonly fineTuneEpochs: number
  /** Initial learning rate of fine-tuning. */
  readonly fineTuneRate: number
}
