/** Layers by their description: Keras' class name and config. Files of models use it. */

import { WeftgradError } from '../../errors.ts'
import { nameHint } from '../../near-names.ts'
import { gelu } from '../../operators/activation.ts'
import {
  elu as exponentialLinear,
  hardSigmoid,
  hardSilu,
  leakyRelu,
  mish,
  relu6,
  selu,
  silu,
  softplus,
} from '../../operators/composed-activations.ts'
import { abs, clip, div, exp, mul, add as sum } from '../../operators/elementwise.ts'
import { logSoftmax } from '../../operators/softmax.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { activation, elu, leakyReLU, pReLU, reLU, softmax } from './activation.ts'
import { multiHeadAttention } from './attention.ts'
import { conv1d, conv2d, conv2dTranspose, depthwiseConv2d, separableConv2d, zeroPadding2d } from './convolution.ts'
import { dense, dropout, flatten, reshape, spatialDropout2d } from './core.ts'
import type { Layer } from './layer.ts'
import { add, average, concatenate, maximum, minimum, multiply, subtract } from './merging.ts'
import { batchNormalization, groupNormalization, layerNormalization } from './normalization.ts'
import { operation } from './operation.ts'
import {
  averagePooling2d,
  globalAveragePooling1d,
  globalAveragePooling2d,
  globalMaxPooling1d,
  globalMaxPooling2d,
  maxPooling2d,
} from './pooling.ts'
import { cropping2d, upSampling2d } from './resampling.ts'
import { layerScale, normalization, rescaling } from './standardization.ts'

/** A layer's settings by Keras' names in camel case, as in {@link Layer.config}. */
export type LayerConfig = Readonly<Record<string, unknown>>

/** Builds a layer from its name and config. */
export type LayerMaker = (name: string, config: LayerConfig) => Layer

/** What a file says about a layer. */
export interface LayerDescription {
  /** Keras' class name. */
  readonly className: string
  /** The layer's name in its model. */
  readonly name: string
  /** JSON, by Keras' names: `{ "kernel_size": [3, 3] }`. */
  readonly config: Readonly<Record<string, unknown>>
}

/** Keras 2's, also TensorFlow.js': another slope than Keras 3's. */
const hardSigmoid2 = (x: Tensor): Tensor => clip(sum(mul(x, 0.2), 0.5), 0, 1)
const softsign = (x: Tensor): Tensor => div(x, sum(abs(x), 1))
const hardTanh = (x: Tensor): Tensor => clip(x, -1, 1)

/** Activation functions that are not options by name, by their names in files. */
const functions: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  ...{ gelu, mish, relu6, selu, silu, softplus },
  ...{ elu: exponentialLinear, leaky_relu: leakyRelu, exponential: exp, softsign, hard_tanh: hardTanh },
  ...{ log_softmax: logSoftmax, hard_sigmoid_keras_2: hardSigmoid2 },
  ...{ swish: silu, hard_sigmoid: hardSigmoid, hard_silu: hardSilu, hard_swish: hardSilu },
}

// Layers check their settings themselves, so the casts promise nothing.
const makers: Readonly<Record<string, LayerMaker>> = {
  Activation: (name, config) => activation(name, config.activation as 'linear'),
  Add: (name) => add(name),
  Average: (name) => average(name),
  AveragePooling2D: (name, config) => averagePooling2d(name, config),
  BatchNormalization: (name, config) => batchNormalization(name, config),
  Concatenate: (name, config) => concatenate(name, config),
  Conv1D: (name, { filters, kernelSize, ...options }) => conv1d(name, filters as number, kernelSize as number, options),
  Conv2D: (name, { filters, kernelSize, ...options }) => conv2d(name, filters as number, kernelSize as number, options),
  Conv2DTranspose: (name, { filters, kernelSize, ...options }) =>
    conv2dTranspose(name, filters as number, kernelSize as number, options),
  Cropping2D: (name, { cropping }) => cropping2d(name, cropping as number),
  Dense: (name, { units, ...options }) => dense(name, units as number, options),
  DepthwiseConv2D: (name, { kernelSize, ...options }) => depthwiseConv2d(name, kernelSize as number, options),
  Dropout: (name, { rate, ...options }) => dropout(name, rate as number, options),
  ELU: (name, config) => elu(name, config),
  Flatten: (name) => flatten(name),
  GlobalAveragePooling1D: (name) => globalAveragePooling1d(name),
  GlobalAveragePooling2D: (name) => globalAveragePooling2d(name),
  GlobalMaxPooling1D: (name) => globalMaxPooling1d(name),
  GlobalMaxPooling2D: (name) => globalMaxPooling2d(name),
  GroupNormalization: (name, config) => groupNormalization(name, config),
  LayerNormalization: (name, config) => layerNormalization(name, config),
  LayerScale: (name, { initValues }) => layerScale(name, initValues as number),
  LeakyReLU: (name, config) => leakyReLU(name, config),
  MaxPooling2D: (name, config) => maxPooling2d(name, config),
  Maximum: (name) => maximum(name),
  Minimum: (name) => minimum(name),
  MultiHeadAttention: (name, { numHeads, keyDim, ...options }) =>
    multiHeadAttention(name, numHeads as number, keyDim as number, options),
  Multiply: (name) => multiply(name),
  Normalization: (name, config) => normalization(name, config),
  Operation: (name, { operator, ...options }) => operation(name, { operator: operator as string, ...options }),
  PReLU: (name, config) => pReLU(name, config),
  ReLU: (name, config) => reLU(name, config),
  Rescaling: (name, { scale, ...options }) => rescaling(name, scale as number, options),
  Reshape: (name, { targetShape }) => reshape(name, targetShape as number[]),
  SeparableConv2D: (name, { filters, kernelSize, ...options }) =>
    separableConv2d(name, filters as number, kernelSize as number, options),
  Softmax: (name) => softmax(name),
  SpatialDropout2D: (name, { rate }) => spatialDropout2d(name, rate as number),
  Subtract: (name) => subtract(name),
  UpSampling2D: (name, config) => upSampling2d(name, config),
  ZeroPadding2D: (name, { padding }) => zeroPadding2d(name, padding as number),
}

/**
 * Describes a layer for a file. An initializer of one's own is left out: the file holds the weights.
 * @throws WeftgradError 'argument' for a layer without a config, or with a function that has no name in files.
 */
export function describeLayer({ className, name, config }: Layer): LayerDescription {
  if (config === undefined)
    throw new WeftgradError(
      'argument',
      `No file can describe the layer ${name} (${className}): it has no config. Give it one, or write weights only (architecture: false).`,
      { name, className },
    )
  const settings = Object.entries(config).filter(
    ([key, value]) => value !== undefined && !(key.endsWith('Initializer') && isNameless(value)),
  )
  return {
    className,
    name,
    config: Object.fromEntries(settings.map(([key, value]) => [snakeCase(key), namedValue(name, key, value)])),
  }
}

const isNameless = (value: unknown): boolean => typeof value === 'function' && !('className' in value)

function namedValue(name: string, key: string, value: unknown): unknown {
  if (typeof value !== 'function') return value
  if ('className' in value && 'config' in value) return { className: value.className, config: value.config }
  const found = Object.entries(functions).find(([, own]) => own === value)
  if (found !== undefined) return found[0]
  throw new WeftgradError(
    'argument',
    `No file can describe the layer ${name}: its ${key} is a function without a name there. Write weights only (architecture: false).`,
    { name, key },
  )
}

/** The classes of weftgrad's own layers. @internal */
export const layerClasses: readonly string[] = /* @__PURE__ */ Object.keys(makers)

/** Whether there is a layer class of this name, weftgrad's own or a custom one. */
export function isLayerClass(className: string, custom: Readonly<Record<string, LayerMaker>> = {}): boolean {
  return Object.hasOwn(custom, className) || Object.hasOwn(makers, className)
}

/**
 * Builds the layer of a description.
 * @param custom further layers, by class name; they win over weftgrad's own.
 * @throws WeftgradError 'argument' for an unknown class, with similar names, or settings that the layer refuses.
 */
export function layerOf(
  { className, name, config }: LayerDescription,
  custom: Readonly<Record<string, LayerMaker>> = {},
): Layer {
  const own = (table: Readonly<Record<string, LayerMaker>>): LayerMaker | undefined =>
    Object.hasOwn(table, className) ? table[className] : undefined
  const make = own(custom) ?? own(makers)
  if (make === undefined) {
    const hint = nameHint(className, [...Object.keys(makers), ...Object.keys(custom)], 'Give it in customLayers.')
    throw new WeftgradError('argument', `There is no layer class ${className}, which ${name} is of${hint}`, {
      className,
      name,
    })
  }
  const settings = Object.entries(config).map(([key, value]) => [camelCase(key), value] as const)
  return make(name, Object.fromEntries(settings.map(([key, value]) => [key, functionNamed(key, value)])))
}

function functionNamed(key: string, value: unknown): unknown {
  const isName =
    key.toLowerCase().endsWith('activation') && typeof value === 'string' && Object.hasOwn(functions, value)
  return isName ? functions[value] : value
}

const snakeCase = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
/** The name of a setting in camel case: `kernel_size` is `kernelSize`. */
export const camelCase = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
