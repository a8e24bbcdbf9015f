/** Benchmarks of the kernels that slide a window over an image, forward and backward, at the sizes of real networks. */
import type { Tensor4D, Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import * as reference from '../reference/window.ts'
import { sumTolerance } from '../support/compare.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Benchmark, BenchmarkedGradient, TensorFlowWork } from './case.ts'

/** [batch, height, width, channels] of images; [height, width, channels, filters] of kernels. */
type Shape4 = readonly [number, number, number, number]
type Padding = 'same' | 'valid'

/** The two gradients of a convolution: their definitions, and their kernels' names in TensorFlow.js. */
interface ConvolutionGradients {
  readonly input: typeof reference.conv2dInputGradient
  readonly filter: typeof reference.conv2dFilterGradient
  readonly tfjsInput: string
  readonly tfjsFilter: string
}

const plain: ConvolutionGradients = {
  input: reference.conv2dInputGradient,
  filter: reference.conv2dFilterGradient,
  tfjsInput: 'Conv2DBackpropInput',
  tfjsFilter: 'Conv2DBackpropFilter',
}

const depthwise: ConvolutionGradients = {
  input: reference.depthwiseConv2dInputGradient,
  filter: reference.depthwiseConv2dFilterGradient,
  tfjsInput: 'DepthwiseConv2dNativeBackpropInput',
  tfjsFilter: 'DepthwiseConv2dNativeBackpropFilter',
}

/** Runs a kernel of TensorFlow.js by name: its gradients have no functions of their own. */
function tensorFlowKernel(
  tf: TensorFlow,
  name: string,
  operands: Record<string, TensorFlowTensor>,
  attributes: Record<string, string | readonly number[]>,
): () => TensorFlowTensor {
  const copied = Object.fromEntries(
    Object.entries(attributes).map(([key, value]) => [key, typeof value === 'string' ? value : [...value]]),
  )
  return () => {
    const result = tf.engine().runKernel(name, operands, copied)
    const [first] = Array.isArray(result) ? result : [result]
    if (first === undefined) throw new Error(`${name} returned nothing`)
    return first
  }
}

const windowOf = (pad: Padding) => ({ strides: [1, 1], pad, dataFormat: 'NHWC', dilations: [1, 1] })

/** The input gradient of a convolution without bias and activation. */
const inputGradient = (gradients: ConvolutionGradients, padding: Padding): BenchmarkedGradient => ({
  input: 0,
  reference: (dy, x, w) => gradients.input(dy, w, x.shape, { padding }),
  tfjs: (tf, dy, x, w) =>
    tensorFlowKernel(tf, gradients.tfjsInput, { dy, filter: w }, { ...windowOf(padding), inputShape: x.shape }),
})

const filterGradient = (gradients: ConvolutionGradients, padding: Padding): BenchmarkedGradient => ({
  input: 1,
  reference: (dy, x, w) => gradients.filter(x, dy, w.shape, { padding }),
  tfjs: (tf, dy, x, w) =>
    tensorFlowKernel(tf, gradients.tfjsFilter, { x, dy }, { ...windowOf(padding), filterShape: w.shape }),
})

// LeNet-5's two convolutions, 'valid', at the batch sizes used in training.

const lenetBatches = [128, 32]
const lenetConv1 = { image: (batch: number): Shape4 => [batch, 32, 32, 1], kernel: [5, 5, 1, 6] } as const
const lenetConv2 = { image: (batch: number): Shape4 => [batch, 14, 14, 6], kernel: [5, 5, 6, 16] } as const
type LenetConvolution = typeof lenetConv1 | typeof lenetConv2

/** TensorFlow.js' fused kernel, in which bias and relu cost nothing extra. */
const fusedConvolution: TensorFlowWork = (tf, x, filter, bias) => () =>
  tf.fused.conv2d({
    x: x as Tensor4D,
    filter: filter as Tensor4D,
    bias,
    strides: 1,
    pad: 'valid',
    activation: 'relu',
  })

function lenetForward(name: string, { image, kernel }: LenetConvolution): Benchmark[] {
  const [height, width, channels, filters] = kernel
  return lenetBatches.map((batch) => ({
    name: `conv2d lenet ${name} forward, batch ${batch}`,
    bound: 'arithmetic',
    shapes: [image(batch), kernel, [filters]],
    tolerance: sumTolerance(height * width * channels),
    tfjs: fusedConvolution,
  }))
}

/** The forward pass with bias and relu. */
export const lenetConv1Forward: readonly Benchmark[] = lenetForward('conv1', lenetConv1)
export const lenetConv2Forward: readonly Benchmark[] = lenetForward('conv2', lenetConv2)

function lenetFilterGradient(name: string, { image, kernel }: LenetConvolution, batch: number): Benchmark {
  const [, height, width] = image(batch)
  const places = batch * (height - kernel[0] + 1) * (width - kernel[1] + 1)
  return {
    name: `conv2d lenet ${name} filter gradient, batch ${batch}`,
    bound: 'arithmetic',
    shapes: [image(batch), kernel],
    tolerance: sumTolerance(places),
    gradient: filterGradient(plain, 'valid'),
  }
}

/** The gradients of the convolutions only. Nothing needs the gradient of LeNet's images. */
export const lenetGradients: readonly Benchmark[] = lenetBatches.flatMap((batch) => [
  lenetFilterGradient('conv1', lenetConv1, batch),
  {
    name: `conv2d lenet conv2 input gradient, batch ${batch}`,
    bound: 'arithmetic',
    shapes: [lenetConv2.image(batch), lenetConv2.kernel],
    tolerance: sumTolerance(5 * 5 * 16),
    gradient: inputGradient(plain, 'valid'),
  },
  lenetFilterGradient('conv2', lenetConv2, batch),
])

// Convolutions of larger networks: 'same', square, as many filters as channels.

interface SquareConvolution {
  readonly batch: number
  readonly size: number
  readonly channels: number
  readonly kernel: number
}

/** Forward and both gradients. */
function squareBenchmarks({ batch, size, channels, kernel }: SquareConvolution): Benchmark[] {
  const shapes = [
    [batch, size, size, channels],
    [kernel, kernel, channels, channels],
  ]
  const what = `${kernel}x${kernel} ${channels}->${channels} at ${size}x${size}, batch ${batch}`
  const common = { bound: 'arithmetic', shapes, tolerance: sumTolerance(kernel * kernel * channels) } as const
  return [
    { name: `conv2d forward ${what}`, ...common },
    { name: `conv2d input gradient ${what}`, ...common, gradient: inputGradient(plain, 'same') },
    {
      name: `conv2d filter gradient ${what}`,
      ...common,
      tolerance: sumTolerance(batch * size * size),
      gradient: filterGradient(plain, 'same'),
    },
  ]
}

export const squareConvolutions: readonly Benchmark[] = [
  { batch: 8, size: 32, channels: 64, kernel: 3 },
  { batch: 8, size: 8, channels: 256, kernel: 3 },
  { batch: 8, size: 16, channels: 256, kernel: 1 },
].flatMap(squareBenchmarks)

/** Depthwise, 3x3, 'same': the shapes in the middle of Xception, for small images and for those it was trained on. */
export const xceptionDepthwise: readonly Benchmark[] = [5, 19].flatMap((size): Benchmark[] => {
  const [batch, channels] = [8, 728]
  const shapes = [
    [batch, size, size, channels],
    [3, 3, channels, 1],
  ]
  const what = `3x3 ${channels} channels at ${size}x${size}, batch ${batch}`
  const common = { bound: 'memory', shapes, tolerance: sumTolerance(9) } as const
  return [
    { name: `depthwise forward ${what}`, ...common },
    { name: `depthwise input gradient ${what}`, ...common, gradient: inputGradient(depthwise, 'same') },
    {
      name: `depthwise filter gradient ${what}`,
      ...common,
      tolerance: sumTolerance(batch * size * size),
      gradient: filterGradient(depthwise, 'same'),
    },
  ]
})

/** 2x2 max-pooling of LeNet's feature maps, forward and backward. Maxima and their gradients are exact. */
export function lenetPooling(size: number, channels: number): readonly Benchmark[] {
  const batch = 128
  const what = `2x2 at ${size}x${size}x${channels}, batch ${batch}`
  const common = { bound: 'memory', shapes: [[batch, size, size, channels]], tolerance: { rtol: 0, atol: 0 } } as const
  return [
    { name: `maxpool forward ${what}`, ...common },
    {
      name: `maxpool gradient ${what}`,
      ...common,
      gradient: {
        input: 0,
        reference: (dy, x) => reference.maxPoolGradient(x, dy, { poolSize: 2 }),
        tfjs: (tf, dy, input) => {
          const output = tf.maxPool(input as Tensor4D, 2, 2, 'valid')
          const attributes = { filterSize: [2, 2], strides: [2, 2], pad: 'valid' }
          return tensorFlowKernel(tf, 'MaxPoolGrad', { dy, input, output }, attributes)
        },
      },
    },
  ]
}
