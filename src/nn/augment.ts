/**
 * Random changes of training images on the device, as a value to give to `fit`. Meanings and names are those of
 * Keras' preprocessing layers, where it has such a layer; sizes are in pixels and angles in degrees.
 */

import type { Batch } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import { shapeText } from '../graph/node.ts'
import type { AugmentDrawsKey } from '../kernels/training/augment.ts'
import { affineTransform, augmentDraws, augmentPixels } from '../operators/augment.ts'
import { reshape, toF32 } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { aNumber, checkOptions, countFrom1, fraction, type Kind, oneOf, required } from '../options.ts'
import type { AugmentationCall, BatchAugmentation } from './gather-inputs.ts'
import { oneHot } from './losses.ts'

/** Options of {@link augment}. What is absent is not done. */
export interface AugmentOptions {
  /**
   * Mirrors a random half of the images left to right ('horizontal', or 'random'), top to bottom ('vertical'), or each way
   * by itself ('both'); 'always' mirrors all left to right. Keras' `RandomFlip`.
   */
  readonly flip?: 'horizontal' | 'vertical' | 'both' | 'random' | 'always'
  /**
   * Shifts by up to this many whole pixels, from 0 to 1000, in both directions. Keras' `RandomTranslation`, in pixels: also
   * its `RandomCrop` of an image with so much padding.
   */
  readonly shift?: number
  /** Turns by up to this angle in degrees, from 0 to 180, both ways, around the centre. Keras' `RandomRotation`, in degrees. */
  readonly rotation?: number
  /** Makes images smaller or larger by up to this share, in [0, 1), with the same ratio of the sides. Keras' `RandomZoom`. */
  readonly zoom?: number
  /**
   * Takes a window of the model's size from images of this size, in pixels. Smaller ones are padded to it, by data sets
   * that pad. Validation images must have the model's size. Keras' `RandomCrop`.
   */
  readonly crop?: {
    /** Not below the model's. */
    readonly height: number
    /** Not below the model's. */
    readonly width: number
  }
  /** The value of pixels outside the image, and of erased ones. 0 by default. */
  readonly fillValue?: number
  /**
   * Multiplies the distance to the channel's mean over the image by a factor from 1 - c to 1 + c, for c in [0, 1], and
   * clips to [0, 1]. Keras' `RandomContrast`.
   */
  readonly contrast?: number
  /** Adds a number from -b to b, for b in [0, 1], and clips to [0, 1]. Keras' `RandomBrightness`. */
  readonly brightness?: number
  /**
   * Erases a square with sides of this many pixels, from 0 to 1000, around a random pixel; what lies outside is cut off
   * (T. DeVries, G. W. Taylor: Improved regularization of convolutional neural networks with cutout. 2017). Keras'
   * `RandomErasing` erases rectangles.
   */
  readonly cutout?: number
  /**
   * Mixes each image, and its target, with another one of the batch; their shares are drawn from a beta distribution with
   * both parameters equal to this number, in (0, 1] (H. Zhang et al.: mixup: beyond empirical risk minimization. ICLR 2018).
   * Keras' `MixUp`, which recommends 0.2. Class numbers become probabilities, for `categoricalCrossentropy`.
   */
  readonly mixup?: number
}

/** Probabilities of mirroring left to right, and top to bottom. */
const flips = {
  ...{ horizontal: [0.5, 0], vertical: [0, 0.5], both: [0.5, 0.5], random: [0.5, 0], always: [1, 0] },
  none: [0, 0],
}

const upTo = (most: number, words: string, isWhole = false): Kind => [
  `${words} from 0 to ${most}`,
  (value) => aNumber[1](value) && Number(value) >= 0 && Number(value) <= most && !(isWhole && Number(value) % 1 !== 0),
]
/** The random words hold 16 bits for a place. */
const pixels = upTo(1000, 'a whole number of pixels', true)
const largestCrop = 2 ** 15

/**
 * Random changes of training images, for `fit`'s `augmentation`. They are done on the device, in this order: one affine map
 * with bilinear sampling (crop, shift, flip, zoom and rotation), contrast, brightness, cutout, mixup. The random numbers
 * depend on `fit`'s seed, the step and the row in the batch, so that a resumed training repeats them. Of targets, only
 * mixup changes any. Flips and shifts alone are cheaper as a plain object, while images are gathered.
 *
 * ```ts
 * const augmentation = nn.augment({ flip: 'horizontal', shift: 2, rotation: 10, zoom: 0.1, cutout: 8 })
 * await nn.fit(model, train, { optimizer: nn.adam(), epochs: 15, batchSize: 32, augmentation })
 * ```
 * @throws WeftgradError 'argument' for options out of range; training throws it for examples that are no images, and for
 * mixup with a loss that compares with class numbers, and 'shape' for a crop that is smaller than the model's input.
 */
export function augment(options: AugmentOptions): BatchAugmentation {
  const side: Kind = [
    `a whole number of pixels from 1 to ${largestCrop}`,
    (value) => countFrom1[1](value) && Number(value) <= largestCrop,
  ]
  checkOptions('augment', options, {
    ...{
      flip: oneOf(...Object.keys(flips).slice(0, -1)),
      shift: pixels,
      rotation: upTo(180, 'degrees'),
      zoom: fraction,
    },
    ...{ crop: { height: required(side), width: required(side) }, fillValue: aNumber, cutout: pixels },
    ...{ contrast: upTo(1, 'a number'), brightness: upTo(1, 'a number') },
    mixup: ['a number above 0 and up to 1', (value) => value !== 0 && upTo(1, '')[1](value)],
  })
  const { flip = 'none', shift = 0, rotation = 0, zoom = 0, crop, fillValue = 0 } = options
  const { contrast = 0, brightness = 0, cutout = 0, mixup = 0 } = options
  const [flipHorizontal = 0, flipVertical = 0] = flips[flip]
  const factors = { flipHorizontal, flipVertical, shift, rotation, zoom, contrast, brightness, cutout, mixup }
  return {
    settings: `augment ${JSON.stringify({ ...factors, height: crop?.height, width: crop?.width, fillValue })}`,
    mixesTargets: mixup > 0,
    examples(inputShape) {
      const [height = 0, width = 0, ...channels] = inputShape
      if (crop === undefined) return inputShape
      if (crop.height < height || crop.width < width)
        throw new WeftgradError(
          'shape',
          `augment: crop must be at least the model's input of ${shapeText(inputShape)}, not ${crop.height}x${crop.width}.`,
          { crop, inputShape },
        )
      return [crop.height, crop.width, ...channels]
    },
    apply: (batch, call) => changed(batch, call, factors, fillValue),
  }
}

type Factors = Omit<AugmentDrawsKey, 'batch' | 'outHeight' | 'outWidth' | 'spareHeight' | 'spareWidth' | 'seed'>

function changed(examples: Batch, call: AugmentationCall, factors: Factors, fillValue: number): Batch {
  const { x } = examples
  const [batch, height, width, channels] = x.shape
  const [outHeight = 1, outWidth = 1] = call.inputShape
  if (
    batch === undefined ||
    height === undefined ||
    width === undefined ||
    channels === undefined ||
    x.shape.length !== 4
  )
    throw new WeftgradError(
      'argument',
      `augment changes images [batch, height, width, channels]; the data set gives ${x}.`,
    )
  const draws = augmentDraws(call.counter, {
    ...{ batch, outHeight, outWidth, spareHeight: height - outHeight, spareWidth: width - outWidth },
    ...{ ...factors, seed: call.seed },
  })
  const { flipHorizontal, flipVertical, shift, rotation, zoom, contrast, brightness, cutout, mixup } = factors
  const isMoved = height > outHeight || width > outWidth || flipHorizontal + flipVertical + shift + rotation + zoom > 0
  let images = isMoved ? affineTransform(x, draws, { outHeight, outWidth, fillValue }) : x
  if (contrast + brightness + cutout + mixup > 0) {
    const wanted = { contrast: contrast > 0, brightness: brightness > 0, mixup: mixup > 0, cutout, fillValue }
    images = augmentPixels(images, draws, wanted)
  }
  if (mixup === 0) return { ...examples, x: images }
  const mixed = (numbers: Tensor): Tensor => {
    const onlyMixed = { contrast: false, brightness: false, mixup: true, cutout: 0, fillValue: 0 }
    return reshape(augmentPixels(reshape(numbers, [batch, 1, 1, -1]), draws, onlyMixed), numbers.shape)
  }
  const { target, sampleWeight } = examples
  return {
    x: images,
    target: mixed(asNumbers(target, call)),
    ...(sampleWeight && { sampleWeight: mixed(sampleWeight) }),
  }
}

/** Targets that can be mixed: class numbers as probabilities of the output's classes. */
function asNumbers(target: Tensor, { outputShape }: AugmentationCall): Tensor {
  if (target.dtype === 'f32') return target
  const [batch = 1] = target.shape
  const isNumber = target.size === batch * outputShape.reduce((product, extent) => product * extent, 1)
  return isNumber ? toF32(target) : oneHot(target, outputShape.at(-1) ?? 1)
}
