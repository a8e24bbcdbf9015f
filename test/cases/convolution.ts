/** Convolutions, plain and depthwise: strides, paddings, dilations, channel counts, kernels larger than the image. */
import type { Tensor4D, Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import { add, conv2d, depthwiseConv2d, maxPool, relu } from '../../src/index.ts'
import { add as referenceAdd, relu as referenceRelu } from '../reference/elementwise.ts'
import type { ConvOptions } from '../reference/window.ts'
import * as reference from '../reference/window.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'
import { activationOf } from './matmul.ts'
import {
  lenetConv1Forward,
  lenetConv2Forward,
  lenetGradients,
  squareConvolutions,
  xceptionDepthwise,
} from './window-benchmarks.ts'

export type Pair = [number, number]

/** The options as the engine takes them; the reference takes the same. */
interface Options extends ConvOptions {
  readonly strides?: number | Pair
  readonly dilationRate?: number | Pair
  readonly padding?: 'same' | 'valid' | [Pair, Pair]
}

const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value)

/** TensorFlow.js expects paddings for all four axes. */
export function tensorFlowPadding(padding: 'same' | 'valid' | [Pair, Pair] = 'valid') {
  const none: Pair = [0, 0]
  const all: [Pair, Pair, Pair, Pair] =
    typeof padding === 'string' ? [none, none, none, none] : [none, ...padding, none]
  return typeof padding === 'string' ? padding : all
}

const dilated = 'TensorFlow.js has no gradients of dilated convolutions'

/** Whether TensorFlow.js computes the case, and its gradient. */
function support(options: Options): { readonly forward: true | string; readonly gradient: true | string } {
  const isDilated = pair(options.dilationRate ?? 1).some((rate) => rate > 1)
  const isStrided = pair(options.strides ?? 1).some((stride) => stride > 1)
  return {
    forward: isDilated && isStrided ? 'TensorFlow.js refuses stride and dilation together' : true,
    gradient: isDilated ? dilated : true,
  }
}

export function convolution(
  what: string,
  image: readonly number[],
  kernel: readonly number[],
  options: Options & { readonly bias?: boolean } = {},
  overrides: Partial<Case> = {},
): Case {
  const { bias = false, ...attributes } = options
  const { activation = 'linear' } = attributes
  const scale = Math.min(1, 2 / Math.sqrt((kernel[0] ?? 1) * (kernel[1] ?? 1) * (kernel[2] ?? 1)))
  const inputs: InputSpec[] = [
    { shape: image, uniform: [-1, 1] },
    { shape: kernel, uniform: [-scale, scale] },
  ]
  if (bias) inputs.push({ shape: [kernel[3] ?? 1], uniform: [-0.5, 0.5] })
  const { forward, gradient } = support(attributes)
  const tfjs = (tf: TensorFlow, x: TensorFlowTensor, w: TensorFlowTensor, b?: TensorFlowTensor): TensorFlowTensor => {
    const y = tf.conv2d(
      x as Tensor4D,
      w as Tensor4D,
      pair(attributes.strides ?? 1),
      tensorFlowPadding(attributes.padding),
      'NHWC',
      pair(attributes.dilationRate ?? 1),
    )
    return activationOf(tf, activation)(b === undefined ? y : tf.add(y, b))
  }
  return {
    name: `conv2d: ${what}`,
    operator: 'conv2d',
    inputs,
    run: (x, w, b) => conv2d(x, w, b, attributes),
    reference: (x, w, b) => reference.conv2d(x, w, b, attributes),
    tfjs: forward === true ? tfjs : forward,
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: gradient,
    ...overrides,
  }
}

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

const channelCounts = [1, 3, 5, 17]
const extents: readonly (readonly [number, number])[] = [
  [7, 5],
  [8, 6],
  [7, 6],
  [8, 5],
]

export const convolutionCases: readonly Case[] = [
  convolution("3x3 'valid'", [2, 6, 7, 3], [3, 3, 3, 4], {}, { bench: lenetGradients }),
  convolution("3x3 'same'", [2, 6, 7, 3], [3, 3, 3, 4], { padding: 'same' }),
  ...channelCounts.map((channels) =>
    convolution(`${channels} input channels`, [2, 5, 6, channels], [3, 3, channels, 5], { padding: 'same' }),
  ),
  ...channelCounts.map((filters) =>
    convolution(`${filters} filters`, [2, 5, 6, 3], [3, 3, 3, filters], { padding: 'same', bias: true }),
  ),
  convolution('17 channels to 17 filters', [1, 6, 5, 17], [3, 3, 17, 17], { padding: 'same' }),
  ...extents.map(([height, width]) =>
    convolution(`3x3 'same' with stride 2 on ${height}x${width}`, [2, height, width, 3], [3, 3, 3, 4], {
      padding: 'same',
      strides: 2,
    }),
  ),
  ...extents.map(([height, width]) =>
    convolution(`3x3 'valid' with stride 2 on ${height}x${width}`, [2, height, width, 3], [3, 3, 3, 4], { strides: 2 }),
  ),
  convolution('1x1', [2, 5, 4, 5], [1, 1, 5, 7]),
  convolution('1x1 with stride 2', [2, 5, 4, 5], [1, 1, 5, 7], { strides: 2, padding: 'same' }),
  convolution('1x1 on a 1x1 image', [3, 1, 1, 5], [1, 1, 5, 2]),
  convolution('1x1 from one channel to one filter', [2, 3, 3, 1], [1, 1, 1, 1], { bias: true }),
  convolution('1x1 with bias and relu', [2, 4, 4, 17], [1, 1, 17, 5], { bias: true, activation: 'relu' }),
  convolution('2x2, an even kernel', [2, 5, 5, 2], [2, 2, 2, 3], { padding: 'same' }),
  convolution('4x4, an even kernel, with stride 2', [2, 7, 8, 2], [4, 4, 2, 3], { padding: 'same', strides: 2 }),
  convolution("5x5 'same'", [2, 7, 6, 3], [5, 5, 3, 4], { padding: 'same' }),
  convolution("5x5 'same' with stride 2 and bias", [2, 9, 8, 3], [5, 5, 3, 4], {
    padding: 'same',
    strides: 2,
    bias: true,
  }),
  convolution('7x7 with stride 2', [1, 15, 14, 3], [7, 7, 3, 5], { padding: 'same', strides: 2 }),
  convolution('a kernel larger than the image', [2, 3, 3, 2], [5, 5, 2, 3], { padding: 'same' }),
  convolution('a kernel much larger than the image', [1, 2, 1, 2], [7, 7, 2, 2], { padding: 'same' }),
  convolution('a kernel larger than the image with stride 2', [2, 3, 2, 2], [5, 5, 2, 3], {
    padding: 'same',
    strides: 2,
  }),
  convolution('3x3 on a 1x1 image', [2, 1, 1, 3], [3, 3, 3, 4], { padding: 'same' }),
  convolution('a kernel as large as the image', [2, 4, 5, 3], [4, 5, 3, 6], { bias: true }),
  convolution('one row, 1x7', [2, 3, 9, 2], [1, 7, 2, 3], { padding: 'same' }),
  convolution('one column, 7x1', [2, 9, 3, 2], [7, 1, 2, 3], { padding: 'same' }),
  convolution('an image of one row', [2, 1, 17, 3], [1, 3, 3, 4], { padding: 'same' }),
  convolution('strides 2 and 1', [2, 7, 6, 2], [3, 3, 2, 3], { padding: 'same', strides: [2, 1] }),
  convolution('strides 1 and 2', [2, 7, 6, 2], [3, 3, 2, 3], { strides: [1, 2] }),
  convolution('stride 3', [2, 8, 10, 2], [3, 3, 2, 3], { padding: 'same', strides: 3 }),
  convolution('a stride larger than the kernel', [2, 9, 8, 2], [2, 2, 2, 3], { strides: 3 }),
  convolution("dilation 2, 'valid'", [2, 7, 8, 2], [3, 3, 2, 3], { dilationRate: 2 }),
  convolution("dilation 2, 'same'", [2, 7, 8, 2], [3, 3, 2, 3], { padding: 'same', dilationRate: 2 }),
  convolution('dilations 1 and 3', [1, 6, 9, 2], [3, 3, 2, 3], { padding: 'same', dilationRate: [1, 3] }),
  convolution('dilation 2 with stride 2', [1, 9, 8, 2], [3, 3, 2, 3], { padding: 'same', dilationRate: 2, strides: 2 }),
  convolution('dilation 3 reaching beyond the image', [1, 4, 4, 2], [3, 3, 2, 3], {
    padding: 'same',
    dilationRate: 3,
  }),
  convolution('dilation 2 with bias and relu', [1, 6, 6, 3], [3, 3, 3, 4], {
    padding: 'same',
    dilationRate: 2,
    bias: true,
    activation: 'relu',
  }),
  convolution('explicit padding, symmetric', [2, 5, 6, 3], [3, 3, 3, 4], {
    padding: [
      [1, 1],
      [1, 1],
    ],
  }),
  convolution('explicit padding, asymmetric', [2, 5, 6, 3], [3, 3, 3, 4], {
    padding: [
      [0, 1],
      [2, 0],
    ],
  }),
  convolution('explicit padding with stride 2', [2, 7, 8, 3], [3, 3, 3, 4], {
    padding: [
      [1, 1],
      [1, 1],
    ],
    strides: 2,
  }),
  convolution('explicit padding wider than the kernel', [1, 3, 3, 1], [2, 2, 1, 2], {
    padding: [
      [3, 2],
      [2, 3],
    ],
  }),
  convolution('bias', [2, 6, 6, 3], [3, 3, 3, 5], { bias: true }),
  convolution('bias and relu', [2, 6, 6, 3], [3, 3, 3, 5], { bias: true, activation: 'relu' }),
  convolution('bias and sigmoid', [2, 6, 6, 3], [3, 3, 3, 5], { bias: true, activation: 'sigmoid' }),
  convolution('bias and tanh', [2, 6, 6, 3], [3, 3, 3, 5], { bias: true, activation: 'tanh' }),
  convolution('relu without bias, stride 2', [2, 6, 7, 3], [3, 3, 3, 5], {
    activation: 'relu',
    padding: 'same',
    strides: 2,
  }),
  convolution('one image', [1, 6, 6, 3], [3, 3, 3, 8], { padding: 'same', bias: true, activation: 'relu' }),
  convolution('five images', [5, 4, 4, 3], [3, 3, 3, 8], { padding: 'same' }),
  convolution(
    "LeNet's first",
    [2, 32, 32, 1],
    [5, 5, 1, 6],
    { bias: true, activation: 'relu' },
    { bench: lenetConv1Forward },
  ),
  convolution(
    "LeNet's second",
    [2, 14, 14, 6],
    [5, 5, 6, 16],
    { bias: true, activation: 'relu' },
    { bench: lenetConv2Forward },
  ),
  convolution('a width beyond a tile', [1, 3, 37, 4], [3, 3, 4, 8], { padding: 'same' }),
  convolution(
    '64 channels, whole tiles',
    [1, 4, 8, 64],
    [3, 3, 64, 16],
    { padding: 'same' },
    { bench: squareConvolutions },
  ),
  {
    ...convolution('NaN and infinity reach their neighbours only', [1, 5, 5, 1], [3, 3, 1, 2], { padding: 'same' }),
    inputs: [
      { shape: [1, 5, 5, 1], values: Array.from({ length: 25 }, (_, i) => (i === 0 ? nan : i === 24 ? infinity : i)) },
      { shape: [3, 3, 1, 2], uniform: [0.5, 1] },
    ],
    ...forwardOnly,
  },
  {
    ...convolution('NaN passes through bias and relu', [1, 3, 3, 1], [1, 1, 1, 2], { bias: true, activation: 'relu' }),
    inputs: [
      { shape: [1, 3, 3, 1], values: [1, nan, -1, infinity, -infinity, 0, 2, -2, nan] },
      { shape: [1, 1, 1, 2], values: [1, -1] },
      { shape: [2], values: [0.5, 0.25] },
    ],
    ...forwardOnly,
  },
  {
    name: 'conv2d: with bias and relu, then max-pooling, as in LeNet',
    operator: 'conv2d',
    inputs: [
      { shape: [2, 10, 10, 3], uniform: [-1, 1] },
      { shape: [3, 3, 3, 5], uniform: [-0.4, 0.4] },
      { shape: [5], uniform: [-0.5, 0.5] },
    ],
    run: (x, w, b) => maxPool(conv2d(x, w, b, { activation: 'relu' }), { poolSize: 2 }),
    reference: (x, w, b) => reference.maxPool(reference.conv2d(x, w, b, { activation: 'relu' }), { poolSize: 2 }),
    tfjs: (tf, x, w, b) =>
      tf.maxPool(tf.relu(tf.add(tf.conv2d(x as Tensor4D, w as Tensor4D, 1, 'valid'), b)) as Tensor4D, 2, 2, 'valid'),
    differentiable: [0, 1, 2],
    tfjsGradient: true,
  },
  {
    name: 'conv2d: bias and relu as separate operators',
    operator: 'conv2d',
    inputs: [
      { shape: [2, 5, 6, 3], uniform: [-1, 1] },
      { shape: [3, 3, 3, 4], uniform: [-0.4, 0.4] },
      { shape: [4], uniform: [-0.5, 0.5] },
    ],
    run: (x, w, b) => relu(add(conv2d(x, w, undefined, { padding: 'same' }), b)),
    reference: (x, w, b) => referenceRelu(referenceAdd(reference.conv2d(x, w, undefined, { padding: 'same' }), b)),
    tfjs: (tf, x, w, b) => tf.relu(tf.add(tf.conv2d(x as Tensor4D, w as Tensor4D, 1, 'same'), b)),
    differentiable: [0, 1, 2],
    tfjsGradient: true,
  },
  {
    name: 'conv2d: the same kernel twice, one after the other',
    operator: 'conv2d',
    inputs: [
      { shape: [1, 5, 5, 3], uniform: [-1, 1] },
      { shape: [3, 3, 3, 3], uniform: [-0.4, 0.4] },
    ],
    run: (x, w) => conv2d(conv2d(x, w, undefined, { padding: 'same' }), w, undefined, { padding: 'same' }),
    reference: (x, w) =>
      reference.conv2d(reference.conv2d(x, w, undefined, { padding: 'same' }), w, undefined, { padding: 'same' }),
    tfjs: (tf, x, w) => tf.conv2d(tf.conv2d(x as Tensor4D, w as Tensor4D, 1, 'same'), w as Tensor4D, 1, 'same'),
    differentiable: [0, 1],
    tfjsGradient: true,
  },
]

function depthwise(
  what: string,
  image: readonly number[],
  kernel: readonly number[],
  options: Omit<Options, 'activation'> = {},
  overrides: Partial<Case> = {},
): Case {
  const { forward, gradient } = support(options)
  const tfjs = (tf: TensorFlow, x: TensorFlowTensor, w: TensorFlowTensor): TensorFlowTensor =>
    tf.depthwiseConv2d(
      x as Tensor4D,
      w as Tensor4D,
      pair(options.strides ?? 1),
      tensorFlowPadding(options.padding),
      'NHWC',
      pair(options.dilationRate ?? 1),
    )
  return {
    name: `depthwiseConv2d: ${what}`,
    operator: 'depthwiseConv2d',
    inputs: [
      { shape: image, uniform: [-1, 1] },
      { shape: kernel, uniform: [-0.6, 0.6] },
    ],
    run: (x, w) => depthwiseConv2d(x, w, options),
    reference: (x, w) => reference.depthwiseConv2d(x, w, options),
    tfjs: forward === true ? tfjs : forward,
    differentiable: [0, 1],
    tfjsGradient: gradient,
    ...overrides,
  }
}

export const depthwiseCases: readonly Case[] = [
  depthwise("3x3 'valid'", [2, 6, 7, 3], [3, 3, 3, 1]),
  ...channelCounts.map((channels) =>
    depthwise(`3x3 'same' on ${channels} channels`, [2, 5, 6, channels], [3, 3, channels, 1], { padding: 'same' }),
  ),
  depthwise('multiplier 2', [2, 5, 6, 3], [3, 3, 3, 2], { padding: 'same' }),
  depthwise('multiplier 3 on 5 channels, stride 2', [2, 7, 6, 5], [3, 3, 5, 3], { padding: 'same', strides: 2 }),
  ...extents.slice(0, 2).map(([height, width]) =>
    depthwise(`'same' with stride 2 on ${height}x${width}`, [2, height, width, 4], [3, 3, 4, 1], {
      padding: 'same',
      strides: 2,
    }),
  ),
  depthwise('5x5 on a 3x3 image', [1, 3, 3, 4], [5, 5, 4, 1], { padding: 'same' }),
  depthwise('1x1', [2, 3, 4, 5], [1, 1, 5, 2]),
  depthwise('an even kernel', [2, 5, 5, 3], [2, 2, 3, 1], { padding: 'same' }),
  depthwise('dilation 2', [1, 7, 7, 3], [3, 3, 3, 1], { padding: 'same', dilationRate: 2 }),
  depthwise(
    'strides 1 and 2',
    [1, 6, 7, 3],
    [3, 3, 3, 1],
    { padding: 'same', strides: [1, 2] },
    {
      tfjs: 'TensorFlow.js refuses different strides',
      tfjsGradient: 'TensorFlow.js refuses different strides',
    },
  ),
  depthwise('explicit padding', [2, 5, 6, 3], [3, 3, 3, 1], {
    padding: [
      [0, 1],
      [2, 0],
    ],
  }),
  depthwise("8 channels, 'same' with stride 2 on 7x9", [2, 7, 9, 8], [3, 3, 8, 1], { padding: 'same', strides: 2 }),
  depthwise('4 channels with multiplier 2', [2, 5, 6, 4], [3, 3, 4, 2], { padding: 'same' }),
  depthwise('8 channels with dilation 2', [1, 7, 8, 8], [3, 3, 8, 1], { padding: 'same', dilationRate: 2 }),
  depthwise('12 channels, 5x5 with explicit padding', [2, 6, 7, 12], [5, 5, 12, 1], {
    padding: [
      [2, 1],
      [0, 3],
    ],
  }),
  depthwise('4 channels on a 1x1 image', [3, 1, 1, 4], [3, 3, 4, 1], { padding: 'same' }),
  depthwise('4 channels, one column of 17 taps', [1, 19, 3, 4], [17, 1, 4, 1]),
  depthwise('4 channels, one row of 17 taps', [1, 3, 19, 4], [1, 17, 4, 1]),
  depthwise(
    "one of Xception's shapes",
    [1, 9, 9, 32],
    [3, 3, 32, 1],
    { padding: 'same' },
    { bench: xceptionDepthwise },
  ),
  {
    name: 'depthwiseConv2d: followed by a 1x1 convolution, a separable one',
    operator: 'depthwiseConv2d',
    inputs: [
      { shape: [2, 5, 6, 3], uniform: [-1, 1] },
      { shape: [3, 3, 3, 1], uniform: [-0.6, 0.6] },
      { shape: [1, 1, 3, 5], uniform: [-0.6, 0.6] },
    ],
    run: (x, d, p) => conv2d(depthwiseConv2d(x, d, { padding: 'same' }), p, undefined),
    reference: (x, d, p) => reference.conv2d(reference.depthwiseConv2d(x, d, { padding: 'same' }), p, undefined),
    tfjs: (tf, x, d, p) => tf.separableConv2d(x as Tensor4D, d as Tensor4D, p as Tensor4D, 1, 'same'),
    differentiable: [0, 1, 2],
    tfjsGradient: true,
  },
]
