/**
 * Layers: Keras' names, options and defaults. A layer is a description; the weights it asks for belong to the model.
 * Shapes here are without the batch.
 */

import type { ConvOptions, Padding, PoolOptions } from '../autograd/ops.ts'
import {
  add,
  averagePool,
  batchNormalizationTraining,
  conv2d as convolve,
  depthwiseConv2d as convolveDepthwise,
  dense as denseProduct,
  dropout as dropOut,
  flatten as flattenTensor,
  globalAveragePool,
  maxPool,
  mul,
  batchNormalization as normalize,
  relu,
  sigmoid,
  softmax,
  tanh,
} from '../autograd/ops.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { convWindow, pairOf } from '../autograd/window.ts'
import { WeftgradError } from '../errors.ts'
import type { Activation, Pair, Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { Initializer } from './initializers.ts'
import { glorotUniform, onesInitializer, zerosInitializer } from './initializers.ts'

export interface WeightSpec {
  /** Within the layer: `kernel`, `bias`, `gamma` ... */
  readonly name: string
  readonly shape: Shape
  readonly initializer: Initializer
  /** False for numbers that no gradient updates: moving statistics. */
  readonly trainable: boolean
}

export interface CallContext {
  readonly training: boolean
  /** Seeds dropout. */
  readonly seed: number
  /** A u32 tensor whose first element counts steps: the random numbers of a step depend on it. */
  readonly counter: Tensor | undefined
  /** Notes that a weight that is not trainable gets a new value at the end of the step. */
  update(weight: Tensor, value: Tensor): void
}

export interface Layer {
  readonly name: string
  /** Keras' class. */
  readonly className: string
  /** Throws 'shape' for inputs it cannot take. */
  outputShape(inputs: readonly Shape[]): Shape
  weights(inputs: readonly Shape[]): readonly WeightSpec[]
  /** `weights` come in the order the layer asked for them; `inputs` with the batch. */
  call(inputs: readonly Tensor[], weights: readonly Tensor[], context: CallContext): Tensor
}

function first<T>(items: readonly T[], name: string): T {
  const [item] = items
  if (item === undefined) throw new WeftgradError('shape', `${name}: the layer needs an input.`)
  return item
}

const nothing = (): readonly WeightSpec[] => []

const activations: { readonly [K in Activation]: (x: Tensor) => Tensor } = { linear: (x) => x, relu, sigmoid, tanh }

export interface ConvLayerOptions extends ConvOptions {
  readonly activation?: Activation
  readonly useBias?: boolean
  readonly kernelInitializer?: Initializer
}

/** [h, w, c] -> [h', w', filters]. */
export function conv2d(
  name: string,
  filters: number,
  kernelSize: number | Pair,
  options: ConvLayerOptions = {},
): Layer {
  const { activation = 'linear', useBias = true, kernelInitializer = glorotUniform } = options
  const [kernelHeight, kernelWidth] = pairOf(name, kernelSize)
  const kernelShape = (inputs: readonly Shape[]): Shape => [
    kernelHeight,
    kernelWidth,
    first(inputs, name).at(-1) ?? 0,
    filters,
  ]
  return {
    name,
    className: 'Conv2D',
    outputShape(inputs) {
      const { outHeight, outWidth } = convWindow(name, [1, ...first(inputs, name)], kernelShape(inputs), options)
      return [outHeight, outWidth, filters]
    },
    weights: (inputs) => [
      { name: 'kernel', shape: kernelShape(inputs), initializer: kernelInitializer, trainable: true },
      ...(useBias ? [{ name: 'bias', shape: [filters], initializer: zerosInitializer, trainable: true }] : []),
    ],
    call: (inputs, [kernel, bias]) =>
      convolve(first(inputs, name), needed(kernel, name), bias, { ...options, activation }),
  }
}

/** Each channel with `depthMultiplier` kernels of its own: [h, w, c] -> [h', w', c * depthMultiplier]. */
export function depthwiseConv2d(
  name: string,
  kernelSize: number | Pair,
  options: Omit<ConvLayerOptions, 'kernelInitializer'> & { readonly depthMultiplier?: number } = {},
): Layer {
  const { activation = 'linear', useBias = true, depthMultiplier = 1 } = options
  const [kernelHeight, kernelWidth] = pairOf(name, kernelSize)
  const channelsOf = (inputs: readonly Shape[]): number => first(inputs, name).at(-1) ?? 0
  const kernelShape = (inputs: readonly Shape[]): Shape => [
    kernelHeight,
    kernelWidth,
    channelsOf(inputs),
    depthMultiplier,
  ]
  return {
    name,
    className: 'DepthwiseConv2D',
    outputShape(inputs) {
      const { outHeight, outWidth } = convWindow(name, [1, ...first(inputs, name)], kernelShape(inputs), options)
      return [outHeight, outWidth, channelsOf(inputs) * depthMultiplier]
    },
    weights(inputs) {
      const channels = channelsOf(inputs) * depthMultiplier
      return [
        { name: 'depthwise_kernel', shape: kernelShape(inputs), initializer: glorotUniform, trainable: true },
        ...(useBias ? [{ name: 'bias', shape: [channels], initializer: zerosInitializer, trainable: true }] : []),
      ]
    },
    call(inputs, [kernel, bias]) {
      const y = convolveDepthwise(first(inputs, name), needed(kernel, name), options)
      return activations[activation](bias === undefined ? y : add(y, bias))
    },
  }
}

export type PoolLayerOptions = Partial<PoolOptions>

function pooling(
  name: string,
  className: string,
  { poolSize = 2, strides = poolSize, padding = 'valid' }: PoolLayerOptions,
  pool: (x: Tensor, options: PoolOptions) => Tensor,
): Layer {
  const options: PoolOptions & { padding: Padding } = { poolSize, strides, padding }
  return {
    name,
    className,
    outputShape(inputs) {
      const input = first(inputs, name)
      const { outHeight, outWidth } = convWindow(name, [1, ...input], [...pairOf(name, poolSize), 1, 1], {
        strides,
        padding,
      })
      return [outHeight, outWidth, input.at(-1) ?? 0]
    },
    weights: nothing,
    call: (inputs) => pool(first(inputs, name), options),
  }
}

export const maxPooling2d = (name: string, options: PoolLayerOptions = {}): Layer =>
  pooling(name, 'MaxPooling2D', options, maxPool)

export const averagePooling2d = (name: string, options: PoolLayerOptions = {}): Layer =>
  pooling(name, 'AveragePooling2D', options, averagePool)

/** [h, w, c] -> [c]. */
export function globalAveragePooling2d(name: string): Layer {
  return {
    name,
    className: 'GlobalAveragePooling2D',
    outputShape: (inputs) => [first(inputs, name).at(-1) ?? 0],
    weights: nothing,
    call: (inputs) => globalAveragePool(first(inputs, name)),
  }
}

export function flatten(name: string): Layer {
  return {
    name,
    className: 'Flatten',
    outputShape: (inputs) => [elementCount(first(inputs, name))],
    weights: nothing,
    call: (inputs) => flattenTensor(first(inputs, name)),
  }
}

export interface DenseLayerOptions {
  readonly activation?: Activation
  readonly useBias?: boolean
  readonly kernelInitializer?: Initializer
}

/** [..., in] -> [..., units]. */
export function dense(name: string, units: number, options: DenseLayerOptions = {}): Layer {
  const { activation = 'linear', useBias = true, kernelInitializer = glorotUniform } = options
  if (!Number.isInteger(units) || units < 1)
    throw new WeftgradError('argument', `${name}: units must be a whole number from 1, not ${units}.`)
  return {
    name,
    className: 'Dense',
    outputShape: (inputs) => [...first(inputs, name).slice(0, -1), units],
    weights: (inputs) => [
      {
        name: 'kernel',
        shape: [first(inputs, name).at(-1) ?? 0, units],
        initializer: kernelInitializer,
        trainable: true,
      },
      ...(useBias ? [{ name: 'bias', shape: [units], initializer: zerosInitializer, trainable: true }] : []),
    ],
    call: (inputs, [kernel, bias]) => denseProduct(first(inputs, name), needed(kernel, name), bias, { activation }),
  }
}

export interface BatchNormalizationOptions {
  /** How much of the moving statistics is kept at each step. */
  readonly momentum?: number
  readonly epsilon?: number
  readonly center?: boolean
  readonly scale?: boolean
}

/** Over the last axis' channels; moving statistics are updated in training and used otherwise. */
export function batchNormalization(name: string, options: BatchNormalizationOptions = {}): Layer {
  const { momentum = 0.99, epsilon = 1e-3, center = true, scale = true } = options
  return {
    name,
    className: 'BatchNormalization',
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const shape = [first(inputs, name).at(-1) ?? 0]
      return [
        ...(scale ? [{ name: 'gamma', shape, initializer: onesInitializer, trainable: true }] : []),
        ...(center ? [{ name: 'beta', shape, initializer: zerosInitializer, trainable: true }] : []),
        { name: 'moving_mean', shape, initializer: zerosInitializer, trainable: false },
        { name: 'moving_variance', shape, initializer: onesInitializer, trainable: false },
      ]
    },
    call(inputs, weights, context) {
      const rest = [...weights]
      const gamma = scale ? rest.shift() : undefined
      const beta = center ? rest.shift() : undefined
      const [movingMean, movingVariance] = [needed(rest[0], name), needed(rest[1], name)]
      const x = first(inputs, name)
      if (!context.training) return normalize(x, { gamma, beta, mean: movingMean, variance: movingVariance, epsilon })
      const { y, mean, variance } = batchNormalizationTraining(x, { gamma, beta, epsilon })
      context.update(movingMean, add(mul(movingMean, momentum), mul(mean, 1 - momentum)))
      context.update(movingVariance, add(mul(movingVariance, momentum), mul(variance, 1 - momentum)))
      return y
    },
  }
}

/** Zeros a share of the inputs in training; a different one at each step, the same for the same seed. */
export function dropout(name: string, rate: number): Layer {
  return {
    name,
    className: 'Dropout',
    outputShape: (inputs) => first(inputs, name),
    weights: nothing,
    call(inputs, _, { training, seed, counter }) {
      const x = first(inputs, name)
      if (!training || rate === 0) return x
      return dropOut(x, { rate, seed, stream: streamOf(name), ...(counter === undefined ? {} : { counter }) })
    },
  }
}

/** 31 bits of a layer's name, so that two dropouts of a network draw different masks. */
function streamOf(name: string): number {
  let h = 0
  for (let i = 0; i < name.length; i++) h = (Math.imul(h, 31) + name.charCodeAt(i)) & 0x7fffffff
  return h
}

export function activation(name: string, kind: Activation | 'softmax'): Layer {
  return {
    name,
    className: 'Activation',
    outputShape: (inputs) => first(inputs, name),
    weights: nothing,
    call: (inputs) => (kind === 'softmax' ? softmax : activations[kind])(first(inputs, name)),
  }
}

function needed(weight: Tensor | undefined, name: string): Tensor {
  if (weight === undefined) throw new WeftgradError('argument', `${name}: a weight is missing.`)
  return weight
}

/** For summaries: `(None, 28, 28, 6)` as Keras prints it. */
export function batchedShapeText(shape: Shape): string {
  return shapeText(shape).replace('[', shape.length > 0 ? '[batch, ' : '[batch')
}
