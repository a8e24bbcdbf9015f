/** Convolutional layers, and zero padding. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import type { Activation } from '../../operators/activation.ts'
import { anActivation } from '../../operators/activation.ts'
import type { ConvOptions } from '../../operators/index.ts'
import {
  add,
  conv2d as convolve,
  depthwiseConv2d as convolveDepthwise,
  conv2dTranspose as convolveTransposed,
  pad,
  reshape,
} from '../../operators/index.ts'

import type { ExplicitPadding, Pair } from '../../operators/window.ts'
import { convGeometry, convKinds, outExtents, pairOf, transposedExtents } from '../../operators/window.ts'
import { aFlag, checkOptions, checkValue, countFrom0, countFrom1, oneOf } from '../../options.ts'
import type { InitializerOption } from '../initializers.ts'
import { glorotUniform } from '../initializers.ts'
import type { RegularizerOption } from '../regularizers.ts'
import { activated } from './activation.ts'
import type { Layer, LayerRole, RebuiltProduct } from './layer.ts'
import { channelsOf, first, imageShape, needed, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'
import { type BiasOptions, biasOf, type KernelOptions, kernelKinds, trained, weightKinds } from './weight-options.ts'

const productKinds = { ...convKinds, activation: anActivation, useBias: aFlag }

/** Options of {@link conv2d}. */
export interface ConvLayerOptions extends ConvOptions, KernelOptions {
  /** Function of the result; 'linear' (none) by default. */
  readonly activation?: Activation
  /** Whether to add a bias. True by default. A following normalisation makes it redundant. */
  readonly useBias?: boolean
}

/** What the convolution's operator takes of a layer's options. */
function operands({ strides, padding, dilationRate, activation }: ConvLayerOptions) {
  const given = { strides, padding, dilationRate, activation }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as ConvOptions & {
    readonly activation?: Activation
  }
}

/** The output shape [h', w', channels] after sliding a kernel over the only input. */
function slidOver(inputs: readonly Shape[], name: string, kernel: Pair, options: ConvOptions, channels: number): Shape {
  const window = convGeometry(name, [1, ...first(inputs, name)], [...kernel, 1, 1], options)
  return [window.outHeight, window.outWidth, channels]
}

function productRole<Options extends ConvLayerOptions>(
  kernel: string,
  name: string,
  options: Options,
  make: (name: string, options: Options) => Layer,
): Extract<LayerRole, { kind: 'product' }> {
  return {
    kind: 'product',
    kernel,
    takesScale: (options.activation ?? 'linear') === 'linear',
    takesPadding: (options.padding ?? 'valid') === 'valid',
    takesHalf: kernel !== 'depthwise_kernel',
    rebuilt: ({ name: other = name, ...changes }: RebuiltProduct) => make(other, { ...options, ...changes }),
  }
}

/** Options of {@link conv2d}. */
export interface Conv2dLayerOptions extends ConvLayerOptions {
  /** Number of equal groups of channels and filters; a filter sees only the channels of its group. 1 by default. */
  readonly groups?: number
}

/** The settings of a convolution, checked: its kernel's extents, and what the operator takes. */
function checkedConv(
  name: string,
  filters: number,
  kernelSize: number | Pair,
  options: Conv2dLayerOptions,
  further = {},
) {
  checkOptions<object>(name, options, { ...productKinds, ...kernelKinds, ...further })
  checkValue(`${name}: filters`, filters, countFrom1)
  return { kernel: pairOf(`${name}: kernelSize`, kernelSize), product: operands(options) }
}

/**
 * Keras' `Conv2D`: [h, w, c] -> [h', w', filters]. Weights `kernel` [kh, kw, c, filters] and `bias` [filters].
 * Activation, bias and a following 2x2 max-pooling run in the same kernel.
 * @throws WeftgradError 'argument' for extents that are not positive whole numbers; 'shape', in a model, if the window
 * does not fit.
 */
export function conv2d(
  ...given: Named<[filters: number, kernelSize: number | Pair, options?: Conv2dLayerOptions]>
): Layer {
  return namedLayer('conv2d', given, makeConv2d, ['filters', 'kernelSize'])
}

function makeConv2d(name: string, filters: number, kernelSize: number | Pair, options: Conv2dLayerOptions = {}): Layer {
  const { kernel, product } = checkedConv(name, filters, kernelSize, options, { groups: countFrom1 })
  const { groups = 1 } = options
  return {
    name,
    className: 'Conv2D',
    role: {
      ...productRole('kernel', name, options, (other, changed) => makeConv2d(other, filters, kernelSize, changed)),
      ...(groups === 1 ? { convolution: { kernelSize: kernel, options } } : {}),
    },
    outputShape: (inputs) => slidOver(inputs, name, kernel, options, filters),
    weights: (inputs) => [
      trained(options, 'kernel', [...kernel, channelsInGroup(inputs, name, groups, filters), filters], glorotUniform),
      ...biasOf(options, filters),
    ],
    call: (inputs, [kernel, bias]) => convolve(first(inputs, name), needed(kernel, name), bias, { ...product, groups }),
  }
}

function channelsInGroup(inputs: readonly Shape[], name: string, groups: number, filters: number): number {
  const channels = channelsOf(inputs, name)
  if (channels % groups === 0 && filters % groups === 0) return channels / groups
  throw new WeftgradError(
    'shape',
    `${name}: ${channels} channels and ${filters} filters do not divide into ${groups} groups.`,
  )
}

/** Options of {@link conv1d}; strides and dilation are one number of steps, padding is 'valid', 'same' or 'causal'. */
export interface Conv1dLayerOptions extends KernelOptions {
  /** Distance between windows, in steps. 1 by default. */
  readonly strides?: number
  /** 'causal' pads before the first step only: an output sees no later step. 'valid' by default. */
  readonly padding?: 'valid' | 'same' | 'causal'
  /** Distance between a window's taps, in steps. 1 by default. */
  readonly dilationRate?: number
  /** Function of the result; 'linear' (none) by default. */
  readonly activation?: Activation
  /** Whether to add a bias. True by default. */
  readonly useBias?: boolean
}

/**
 * Keras' `Conv1D`: [steps, c] -> [steps', filters]. Weights `kernel` [k, c, filters] and `bias` [filters].
 * @throws WeftgradError as {@link conv2d}.
 */
export function conv1d(...given: Named<[filters: number, kernelSize: number, options?: Conv1dLayerOptions]>): Layer {
  return namedLayer('conv1d', given, makeConv1d, ['filters', 'kernelSize'])
}

function makeConv1d(name: string, filters: number, kernelSize: number, options: Conv1dLayerOptions = {}): Layer {
  checkOptions(name, options, {
    ...{ strides: countFrom1, padding: oneOf('valid', 'same', 'causal'), dilationRate: countFrom1 },
    ...{ activation: anActivation, useBias: aFlag, ...kernelKinds },
  })
  const { strides = 1, dilationRate = 1, padding = 'valid', activation = 'linear' } = options
  checkValue(`${name}: filters`, filters, countFrom1)
  checkValue(`${name}: kernelSize`, kernelSize, countFrom1)
  // An image of one row.
  const image: ConvOptions = {
    ...{ strides: [1, strides], dilationRate: [1, dilationRate] },
    padding:
      padding === 'causal'
        ? [
            [0, 0],
            [(kernelSize - 1) * dilationRate, 0],
          ]
        : padding,
  }
  return {
    name,
    className: 'Conv1D',
    outputShape(inputs) {
      const input = first(inputs, name)
      if (input.length !== 2)
        throw new WeftgradError('shape', `${name} takes sequences [steps, channels], not ${shapeText(input)}.`)
      return slidOver([[1, ...input]], name, [1, kernelSize], image, filters).slice(1)
    },
    weights: (inputs) => [
      trained(options, 'kernel', [kernelSize, channelsOf(inputs, name), filters], glorotUniform),
      ...biasOf(options, filters),
    ],
    call(inputs, [kernel, bias]) {
      const x = first(inputs, name)
      const row = needed(kernel, name)
      const [batch = 0, ...sequence] = x.shape
      const y = convolve(reshape(x, [batch, 1, ...sequence]), reshape(row, [1, ...row.shape]), bias, {
        ...image,
        activation,
      })
      return reshape(y, [batch, ...y.shape.slice(2)])
    },
  }
}

/**
 * Keras' `Conv2DTranspose`: [h, w, c] -> [h', w', filters], larger by the strides. With padding 'same', h' = h stride; with
 * 'valid', h' = h stride + max(reach - stride, 0), reach = (kh - 1) dilation + 1. Weights `kernel` [kh, kw, filters, c] and
 * `bias` [filters].
 * @throws WeftgradError as {@link conv2d}.
 */
export function conv2dTranspose(
  ...given: Named<[filters: number, kernelSize: number | Pair, options?: ConvLayerOptions]>
): Layer {
  return namedLayer('conv2d_transpose', given, makeConv2dTranspose, ['filters', 'kernelSize'])
}

function makeConv2dTranspose(
  name: string,
  filters: number,
  kernelSize: number | Pair,
  options: ConvLayerOptions = {},
): Layer {
  const { kernel, product } = checkedConv(name, filters, kernelSize, options)
  return {
    name,
    className: 'Conv2DTranspose',
    outputShape(inputs) {
      const [height, width, channels] = imageShape(inputs, name)
      const [h, w] = transposedExtents([height, width], kernel, product)
      if (h < 1 || w < 1 || channels < 1)
        throw new WeftgradError('shape', `${name}: the padding leaves no pixel of ${shapeText(first(inputs, name))}.`)
      return [h, w, filters]
    },
    weights: (inputs) => [
      trained(options, 'kernel', [...kernel, filters, channelsOf(inputs, name)], glorotUniform),
      ...biasOf(options, filters),
    ],
    call: (inputs, [kernel, bias]) => convolveTransposed(first(inputs, name), needed(kernel, name), bias, product),
  }
}

/** Options of {@link depthwiseConv2d}. */
export interface DepthwiseConvLayerOptions extends ConvOptions, BiasOptions {
  /** Number of kernels per channel. 1 by default. */
  readonly depthMultiplier?: number
  /** Function of the result; 'linear' (none) by default. */
  readonly activation?: Activation
  /** Whether to add a bias. True by default. A following normalisation makes it redundant. */
  readonly useBias?: boolean
  /** Initial kernel; 'glorot_uniform' by default. */
  readonly depthwiseInitializer?: InitializerOption
  /** Penalty of the kernel; none by default. */
  readonly depthwiseRegularizer?: RegularizerOption
}

/**
 * Keras' `DepthwiseConv2D`: convolves each channel with its own `depthMultiplier` kernels, [h, w, c] -> [h', w', c *
 * depthMultiplier]. Weights `depthwise_kernel` [kh, kw, c, depthMultiplier] and `bias`.
 * @throws WeftgradError as {@link conv2d}.
 */
export function depthwiseConv2d(
  ...given: Named<[kernelSize: number | Pair, options?: DepthwiseConvLayerOptions]>
): Layer {
  return namedLayer('depthwise_conv2d', given, makeDepthwiseConv2d, ['kernelSize'])
}

const depthwiseKinds = { depthMultiplier: countFrom1, .../* @__PURE__ */ weightKinds('depthwise', 'bias') }

function makeDepthwiseConv2d(name: string, kernelSize: number | Pair, options: DepthwiseConvLayerOptions = {}): Layer {
  checkOptions(name, options, { ...productKinds, ...depthwiseKinds })
  const { depthMultiplier = 1 } = options
  const { activation = 'linear', ...moves } = operands(options)
  const kernel = pairOf(`${name}: kernelSize`, kernelSize)
  return {
    name,
    className: 'DepthwiseConv2D',
    role: productRole('depthwise_kernel', name, options, (other, changed) =>
      makeDepthwiseConv2d(other, kernelSize, changed),
    ),
    outputShape: (inputs) => slidOver(inputs, name, kernel, options, channelsOf(inputs, name) * depthMultiplier),
    weights(inputs) {
      const channels = channelsOf(inputs, name)
      return [
        trained(options, 'depthwise', [...kernel, channels, depthMultiplier], glorotUniform, 'depthwise_kernel'),
        ...biasOf(options, channels * depthMultiplier),
      ]
    },
    call(inputs, [kernel, bias]) {
      const y = convolveDepthwise(first(inputs, name), needed(kernel, name), moves)
      return activated(activation, bias === undefined ? y : add(y, bias))
    },
  }
}

/** Options of {@link separableConv2d}. */
export interface SeparableConvLayerOptions extends DepthwiseConvLayerOptions {
  /** Initial kernel of the 1x1 convolution; 'glorot_uniform' by default. */
  readonly pointwiseInitializer?: InitializerOption
  /** Penalty of that kernel; none by default. */
  readonly pointwiseRegularizer?: RegularizerOption
}

/**
 * Keras' `SeparableConv2D` (Chollet, "Xception", 2017): a depthwise convolution, then a 1x1 convolution that mixes the
 * channels, [h, w, c] -> [h', w', filters]. Strides, padding and dilation apply to the depthwise part. Weights
 * `depthwise_kernel`, `pointwise_kernel` [1, 1, c * depthMultiplier, filters] and `bias`.
 * @throws WeftgradError as {@link conv2d}.
 */
export function separableConv2d(
  ...given: Named<[filters: number, kernelSize: number | Pair, options?: SeparableConvLayerOptions]>
): Layer {
  return namedLayer('separable_conv2d', given, makeSeparableConv2d, ['filters', 'kernelSize'])
}

function makeSeparableConv2d(
  name: string,
  filters: number,
  kernelSize: number | Pair,
  options: SeparableConvLayerOptions = {},
): Layer {
  checkOptions(name, options, { ...productKinds, ...depthwiseKinds, ...weightKinds('pointwise') })
  const { depthMultiplier = 1 } = options
  const { activation = 'linear', ...moves } = operands(options)
  checkValue(`${name}: filters`, filters, countFrom1)
  const kernel = pairOf(`${name}: kernelSize`, kernelSize)
  return {
    name,
    className: 'SeparableConv2D',
    role: productRole('pointwise_kernel', name, options, (other, changed) =>
      makeSeparableConv2d(other, filters, kernelSize, changed),
    ),
    outputShape: (inputs) => slidOver(inputs, name, kernel, options, filters),
    weights(inputs) {
      const channels = channelsOf(inputs, name)
      return [
        trained(options, 'depthwise', [...kernel, channels, depthMultiplier], glorotUniform, 'depthwise_kernel'),
        trained(options, 'pointwise', [1, 1, channels * depthMultiplier, filters], glorotUniform, 'pointwise_kernel'),
        ...biasOf(options, filters),
      ]
    },
    call(inputs, [depthwise, pointwise, bias]) {
      const mixed = convolveDepthwise(first(inputs, name), needed(depthwise, name), moves)
      return convolve(mixed, needed(pointwise, name), bias, { activation })
    },
  }
}

/**
 * Keras' `ZeroPadding2D`: adds zeros around an image. The padding is one number of pixels for every side, [vertical,
 * horizontal], or [[top, bottom], [left, right]].
 * @throws WeftgradError 'argument' for anything but non-negative whole numbers; 'shape', in a model, for inputs that
 * are not images.
 */
export function zeroPadding2d(...given: Named<[padding?: number | Pair | ExplicitPadding]>): Layer {
  return namedLayer('zero_padding2d', given, makeZeroPadding2d, ['padding'])
}

function makeZeroPadding2d(name: string, padding: number | Pair | ExplicitPadding = 1): Layer {
  const explicit = explicitPadding(name, padding)
  const [vertical, horizontal] = explicit
  return {
    name,
    className: 'ZeroPadding2D',
    role: { kind: 'zeroPadding', padding: explicit },
    outputShape(inputs) {
      const [height, width, channels] = imageShape(inputs, name)
      const padded = (extent: number, sides: Pair): number => outExtents(extent, 1, 1, 1, sides).out
      return [padded(height, vertical), padded(width, horizontal), channels]
    },
    weights: noWeights,
    call: (inputs) => pad(first(inputs, name), [[0, 0], vertical, horizontal, [0, 0]]),
  }
}

/** The pixels on each side. Throws WeftgradError 'argument' for anything but non-negative whole numbers. */
export function explicitPadding(name: string, padding: number | Pair | ExplicitPadding): ExplicitPadding {
  checkValue(`${name}: padding`, padding, [
    'non-negative whole numbers',
    (value) => countFrom0[1](value) || Array.isArray(value),
  ])
  const sides: readonly (number | Pair)[] = typeof padding === 'object' ? padding : [padding, padding]
  const [vertical, horizontal] = sides.map((side): Pair => (typeof side === 'number' ? [side, side] : side))
  const numbers = [...(vertical ?? []), ...(horizontal ?? [])]
  const isWhole = numbers.length === 4 && numbers.every((n) => Number.isInteger(n) && n >= 0)
  if (vertical === undefined || horizontal === undefined || sides.length !== 2 || !isWhole)
    throw new WeftgradError(
      'argument',
      `${name}: padding ${JSON.stringify(padding)} must be non-negative whole numbers.`,
    )
  return [vertical, horizontal]
}
