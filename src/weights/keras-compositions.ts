/**
 * Keras' layers that weftgrad builds from others: those of networks in Keras Applications, and those that only prepare the inputs
 * of training, which are left out.
 */

import type { Json } from './keras-settings.ts'

/** Adds a layer, named after the composition and this part of it, and returns its place. */
export type AddPart = (className: string, config: Json, inputs: readonly number[], part?: string) => number

/** Builds a layer of Keras from weftgrad's, and returns the place of its output. */
export type Composition = (config: Json, inputs: readonly number[], add: AddPart) => number

/** What passes its input on outside training. In training, `fit` augments the batches instead. */
const nothing: Composition = (_, inputs, add) => add('Activation', { activation: 'linear' }, inputs)

const augmentations = [
  ...['RandomFlip', 'RandomRotation', 'RandomZoom', 'RandomTranslation', 'RandomContrast', 'RandomBrightness'],
  ...['RandomSaturation', 'RandomHue', 'RandomColorJitter', 'RandomGrayscale', 'RandomShear', 'RandomSharpness'],
  ...['GaussianNoise', 'GaussianDropout', 'AlphaDropout', 'ActivityRegularization', 'Identity'],
]

/** A global pooling that keeps the axes it pools over. */
function keptAxes(className: string, axes: number): Composition {
  return ({ keepdims, ...config }, inputs, add) => {
    const pooled = add(className, config, inputs)
    if (keepdims !== true) return pooled
    return add('Reshape', { target_shape: [...new Array<number>(axes).fill(1), -1] }, [pooled], 'keepdims')
  }
}

/** By Keras' class name. */
export const compositions: Readonly<Record<string, Composition>> = {
  ...Object.fromEntries(augmentations.map((name) => [name, nothing])),
  // Of InceptionResNetV2: the first input and a share of the second.
  CustomScaleLayer: ({ scale }, [whole = -1, residual = -1], add) =>
    add('Add', {}, [whole, add('Rescaling', { scale }, [residual], 'scaled')]),
  GlobalAveragePooling1D: keptAxes('GlobalAveragePooling1D', 1),
  GlobalAveragePooling2D: keptAxes('GlobalAveragePooling2D', 2),
  GlobalMaxPooling1D: keptAxes('GlobalMaxPooling1D', 1),
  GlobalMaxPooling2D: keptAxes('GlobalMaxPooling2D', 2),
  SpatialDropout1D: ({ rate }, inputs, add) => add('Dropout', { rate, noise_shape: [null, 1, null] }, inputs),
  // Of ConvNeXt: drops whole examples.
  StochasticDepth: ({ drop_path_rate: rate }, inputs, add) =>
    add('Dropout', { rate, noise_shape: [null, 1, 1, 1] }, inputs),
  ThresholdedReLU: ({ theta }, inputs, add) => add('ReLU', { threshold: theta }, inputs),
}
