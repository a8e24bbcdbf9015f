/** Dense layers, and layers that only rearrange or drop numbers. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import { bytesOf } from '../../graph/plan/plan.ts'
import { elementCount } from '../../kernels/kernel.ts'
import {
  add,
  dense as denseProduct,
  dropout as dropOut,
  flatten as flattenTensor,
  mul,
  ones,
  reshape as reshapeTensor,
  slice,
} from '../../operators/index.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { aFlag, anArray, checkOptions, checkValue, countFrom1, fraction } from '../../options.ts'
import { glorotUniform } from '../initializers.ts'
import type { LayerActivation } from './activation.ts'
import { activated, aLayerActivation } from './activation.ts'
import type { CallContext, Layer } from './layer.ts'
import { channelsOf, first, imageShape, needed, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'
import { biasOf, type KernelOptions, kernelKinds, trained } from './weight-options.ts'

/** Options of {@link dense}. */
export interface DenseLayerOptions extends KernelOptions {
  /** Function of the result; 'linear' (none) by default. */
  readonly activation?: LayerActivation
  /** Whether to add a bias. True by default. */
  readonly useBias?: boolean
}

/**
 * Keras' `Dense`: activation(x kernel + bias), [..., in] -> [..., units]. Weights `kernel` [in, units] and `bias`
 * [units]. In a classifier, the last one may be 'linear' or 'softmax': the loss uses the logits of either. The name is
 * optional: `dense(8)`.
 * @throws WeftgradError 'argument' for units that are not a positive whole number, or unknown options.
 */
export function dense(...given: Named<[units: number, options?: DenseLayerOptions]>): Layer {
  return namedLayer('dense', given, makeDense, ['units'])
}

function makeDense(name: string, units: number, options: DenseLayerOptions = {}): Layer {
  const kinds = { activation: aLayerActivation, useBias: aFlag, ...kernelKinds }
  checkValue(`${name}: units`, units, countFrom1)
  const { activation = 'linear', useBias = true } = checkOptions(name, options, kinds)
  return {
    name,
    className: 'Dense',
    role: {
      kind: 'product',
      kernel: 'kernel',
      takesScale: activation === 'linear',
      takesPadding: false,
      takesHalf: true,
      rebuilt: ({ name: other = name, useBias: withBias = useBias }) =>
        makeDense(other, units, { ...options, useBias: withBias }),
    },
    outputShape: (inputs) => [...first(inputs, name).slice(0, -1), units],
    weights: (inputs) => [
      trained(options, 'kernel', [channelsOf(inputs, name), units], glorotUniform),
      ...biasOf(options, units),
    ],
    call(inputs, weights) {
      const x = first(inputs, name)
      const [kernel, bias] = [needed(weights[0], name), weights[1]]
      const blocks = rowBlocks(kernel, units)
      const y = blocks.length > 1 ? productByBlocks(x, kernel, bias, blocks) : denseProduct(x, kernel, bias)
      return activated(activation, y)
    },
  }
}

/** The most bytes of a tensor that a kernel can bind on every adapter: WebGPU's default limit. */
const portableBindingBytes = 128 * 2 ** 20

/** Splits the rows of a larger kernel into blocks: VGG16's fc1 (411 MB) has four. */
function rowBlocks(kernel: Tensor, columns: number): { readonly from: number; readonly count: number }[] {
  const rows = kernel.size / columns
  const blocks = Math.ceil(bytesOf(kernel.value.type) / portableBindingBytes)
  // Blocks have a multiple of 64 rows of f32, 128 of f16, so that each starts at a multiple of 256 bytes for any number of
  // columns.
  const step = kernel.dtype === 'f16' ? 128 : 64
  const size = Math.ceil(rows / blocks / step) * step
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({
    from: i * size,
    count: Math.min(size, rows - i * size),
  }))
}

function productByBlocks(
  x: Tensor,
  kernel: Tensor,
  bias: Tensor | undefined,
  blocks: readonly { readonly from: number; readonly count: number }[],
): Tensor {
  const before = x.shape.slice(0, -1)
  const parts = blocks.map(({ from, count }) =>
    denseProduct(
      slice(x, [...before.map(() => 0), from], [...before, count]),
      slice(kernel, [from, 0], [count, -1]),
      from === 0 ? bias : undefined,
    ),
  )
  return parts.slice(1).reduce(add, first(parts, 'dense'))
}

/** Keras' `Flatten`: merges all axes but the batch into one, row-major. */
export function flatten(...given: Named<[]>): Layer {
  return namedLayer('flatten', given, (name) => ({
    name,
    className: 'Flatten',
    outputShape: (inputs) => [elementCount(first(inputs, name))],
    weights: noWeights,
    call: (inputs) => flattenTensor(first(inputs, name)),
  }))
}

/**
 * Keras' `Reshape`: the same numbers in another shape, not counting the batch; one extent may be -1.
 * @throws WeftgradError 'shape', in a model, if the numbers of elements differ.
 */
export function reshape(...given: Named<[targetShape: Shape]>): Layer {
  return namedLayer('reshape', given, makeReshape, ['targetShape'])
}

function makeReshape(name: string, targetShape: Shape): Layer {
  checkValue(`${name}: targetShape`, targetShape, anArray)
  return {
    name,
    className: 'Reshape',
    outputShape(inputs) {
      const input = first(inputs, name)
      const known = elementCount(targetShape.filter((extent) => extent !== -1))
      const shape = targetShape.map((extent) => (extent === -1 ? elementCount(input) / known : extent))
      const isShape = shape.every((extent) => Number.isInteger(extent) && extent >= 1)
      if (!isShape || elementCount(shape) !== elementCount(input))
        throw new WeftgradError('shape', `${name} cannot reshape ${shapeText(input)} to ${shapeText(targetShape)}.`)
      return shape
    },
    weights: noWeights,
    call(inputs) {
      const x = first(inputs, name)
      return reshapeTensor(x, [...x.shape.slice(0, 1), ...targetShape])
    },
  }
}

/**
 * Keras' `Dropout`: in training, sets a random share `rate` in [0, 1) of the inputs to zero at each step and scales the
 * rest by 1 / (1 - rate). The same seed gives the same masks. Does nothing outside training.
 * @throws WeftgradError 'argument' for a rate outside [0, 1).
 */
export function dropout(...given: Named<[rate: number, options?: DropoutLayerOptions]>): Layer {
  return namedLayer('dropout', given, makeDropout, ['rate'])
}

/** Options of the layer {@link dropout}. */
export interface DropoutLayerOptions {
  /**
   * The shape of the mask, batch included; null for an extent of the input, 1 for numbers that are kept or dropped together.
   * `[null, 1, 1, 1]` drops whole examples: stochastic depth (Huang et al. 2016). A mask for each number by default.
   */
  readonly noiseShape?: readonly (number | null)[]
}

function makeDropout(name: string, rate: number, options: DropoutLayerOptions = {}): Layer {
  checkValue(`${name}: rate`, rate, fraction)
  const { noiseShape } = checkOptions(name, options, { noiseShape: anArray })
  return {
    name,
    className: 'Dropout',
    outputShape: (inputs) => first(inputs, name),
    weights: noWeights,
    call(inputs, _, context) {
      const x = first(inputs, name)
      if (noiseShape === undefined || !context.training) return dropped(x, rate, name, context)
      const mask = ones(noiseShape.map((extent, axis) => extent ?? x.shape[axis] ?? 1))
      return mul(x, dropped(mask, rate, name, context))
    },
  }
}

/**
 * Keras' `SpatialDropout2D` (Tompson et al. 2015): drops whole channels of images, [h, w, c], as {@link dropout} drops numbers.
 * @throws WeftgradError 'argument' for a rate outside [0, 1); 'shape', in a model, for inputs that are not images.
 */
export function spatialDropout2d(...given: Named<[rate: number]>): Layer {
  return namedLayer('spatial_dropout2d', given, makeSpatialDropout2d, ['rate'])
}

function makeSpatialDropout2d(name: string, rate: number): Layer {
  checkValue(`${name}: rate`, rate, fraction)
  return {
    name,
    className: 'SpatialDropout2D',
    outputShape: (inputs) => imageShape(inputs, name),
    weights: noWeights,
    call(inputs, _, context) {
      const x = first(inputs, name)
      if (!context.training) return x
      const [batch = 0, , , channels = 0] = x.shape
      return mul(x, dropped(ones([batch, 1, 1, channels]), rate, name, context))
    },
  }
}

/** x with a random share `rate` set to zero by the layer `own`; x itself outside training. */
export function dropped(x: Tensor, rate: number, own: string, context: CallContext): Tensor {
  const { training, seed, counter, name = own } = context
  if (!training || rate === 0) return x
  return dropOut(x, { rate, seed, stream: streamOf(name), ...(counter === undefined ? {} : { counter }) })
}

/** 31 bits derived from a layer's name, so that two dropouts of a network draw different masks. */
function streamOf(name: string): number {
  let h = 0
  for (let i = 0; i < name.length; i++) h = (Math.imul(h, 31) + name.charCodeAt(i)) & 0x7fffffff
  return h
}
