/**
 * The table of benchmarked kernels: every hot kernel of training LeNet-5, and the shapes that the larger networks live
 * on. A name says operator, shape and batch, so that a filter finds it.
 */

import type { Tensor } from '@tensorflow/tfjs'
import { alignUp } from '../src/gpu/device.ts'
import type { Conv2dKey } from '../src/kernels/conv2d/conv2d.ts'
import { conv2dFilterGradient, conv2dForward, conv2dInputGradient } from '../src/kernels/conv2d/conv2d.ts'
import type { DepthwiseKey } from '../src/kernels/depthwise/depthwise.ts'
import { depthwise, depthwiseFilterGradient, depthwiseInputGradient } from '../src/kernels/depthwise/depthwise.ts'
import { elementwise } from '../src/kernels/elementwise/elementwise.ts'
import type { Family, Shape } from '../src/kernels/kernel.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import type { MatmulKey } from '../src/kernels/matmul/matmul.ts'
import { matmul } from '../src/kernels/matmul/matmul.ts'
import type { GatherBatchKey } from '../src/kernels/movement/gather.ts'
import { gatherBatch } from '../src/kernels/movement/gather.ts'
import type { PoolKey } from '../src/kernels/pool/pool.ts'
import { maxPool, maxPoolGradient } from '../src/kernels/pool/pool.ts'
import { reduce } from '../src/kernels/reduce/reduce.ts'
import type { CrossEntropyKey } from '../src/kernels/reduce/softmax.ts'
import { crossEntropy, crossEntropyGradient } from '../src/kernels/reduce/softmax.ts'
import type { AdamKey } from '../src/kernels/training/optimizer.ts'
import { adam } from '../src/kernels/training/optimizer.ts'
import { Random } from '../src/random.ts'
import type { BenchCase, CaseData, ExpectedOutput, Tolerance } from './case.ts'
import { kernelCase } from './case.ts'
import type { Definition } from './reference.ts'
import {
  convAt,
  convFilterGradientAt,
  convInputGradientAt,
  crossEntropyAt,
  crossEntropyGradientAt,
  depthwiseAt,
  gatherBatchAt,
  matmulAt,
  maxPoolAt,
  maxPoolGradientAt,
  sumToLastAxisAt,
} from './reference.ts'
import type { TensorFlow } from './tensorflow.ts'
import { tensorOf } from './tensorflow.ts'

/** Uniform in [-1, 1). */
function numbers(shape: Shape, stream: string): Float32Array<ArrayBuffer> {
  const random = new Random(1, stream)
  return Float32Array.from({ length: elementCount(shape) }, () => random.uniform() * 2 - 1)
}

function classNumbers(rows: number, classes: number): Uint32Array<ArrayBuffer> {
  const random = new Random(1, 'labels')
  return Uint32Array.from({ length: rows }, () => random.below(classes))
}

const output = (shape: Shape, expected: Definition): ExpectedOutput => ({
  dtype: 'f32',
  length: elementCount(shape),
  expected,
})

/**
 * For sums of so many products of numbers in [-1, 1): such a sum is about sqrt(terms) / 3, and float32 rounds each of its
 * steps by up to 6e-8 of what has been summed up; a wrong term would be off by about 0.3.
 */
const sumTolerance = (terms: number): Tolerance => ({ rtol: 1e-5, atol: 1e-6 + 1e-7 * terms })

// Matrix products.

const plainProduct: Omit<MatmulKey, 'm' | 'n' | 'k'> = {
  batch: 1,
  transposeA: false,
  transposeB: false,
  batchedA: false,
  batchedB: false,
  bias: false,
  activation: 'linear',
}

function matmulCase(name: string, key: MatmulKey): BenchCase {
  return kernelCase(name, 'arithmetic', matmul, key, (): CaseData => {
    const leftShape = key.transposeA ? [key.k, key.m] : [key.m, key.k]
    const rightShape = key.transposeB ? [key.n, key.k] : [key.k, key.n]
    const left = numbers(leftShape, 'left')
    const right = numbers(rightShape, 'right')
    const bias = numbers([key.n], 'bias')
    return {
      inputs: key.bias ? [left, right, bias] : [left, right],
      outputs: [output([key.m, key.n], matmulAt(key, left, right, key.bias ? bias : undefined))],
      tolerance: sumTolerance(key.k),
      tensorflow: (tf) => {
        const a = tf.tensor2d(left, [leftShape[0] ?? 0, leftShape[1] ?? 0])
        const b = tf.tensor2d(right, [rightShape[0] ?? 0, rightShape[1] ?? 0])
        const { transposeA, transposeB } = key
        if (!key.bias && key.activation === 'linear') return () => tf.matMul(a, b, transposeA, transposeB)
        const bias1d = tf.tensor1d(bias)
        return () => tf.fused.matMul({ a, b, transposeA, transposeB, bias: bias1d, activation: 'relu' })
      },
    }
  })
}

/** The three products of a dense layer in training. */
function denseCases(batch: number, inputs: number, outputs: number): BenchCase[] {
  const label = (m: number, n: number, k: number) => `${m}x${k}x${n}`
  const forward = { ...plainProduct, m: batch, n: outputs, k: inputs, bias: true, activation: 'relu' } as const
  const input = { ...plainProduct, m: batch, n: inputs, k: outputs, transposeB: true }
  const weight = { ...plainProduct, m: inputs, n: outputs, k: batch, transposeA: true }
  return [
    matmulCase(`matmul dense forward ${label(batch, outputs, inputs)}`, forward),
    matmulCase(`matmul dense input gradient ${label(batch, inputs, outputs)}`, input),
    matmulCase(`matmul dense weight gradient ${label(inputs, outputs, batch)}`, weight),
  ]
}

// Convolutions.

interface ConvShape {
  readonly batch: number
  readonly size: number
  readonly channels: number
  readonly filters: number
  readonly kernel: number
  readonly padding: 'same' | 'valid'
  readonly bias: boolean
}

function convKey({ batch, size, channels, filters, kernel, padding, bias }: ConvShape): Conv2dKey {
  const out = padding === 'same' ? size : size - kernel + 1
  const pad = padding === 'same' ? Math.floor((kernel - 1) / 2) : 0
  return {
    batch,
    inputHeight: size,
    inputWidth: size,
    channels,
    outHeight: out,
    outWidth: out,
    filters,
    kernelHeight: kernel,
    kernelWidth: kernel,
    strides: [1, 1],
    dilation: [1, 1],
    padTop: pad,
    padLeft: pad,
    bias,
    activation: bias ? 'relu' : 'linear',
  }
}

type Extents4 = [number, number, number, number]

function convShapes(key: Conv2dKey): { image: Extents4; kernel: Extents4; result: Extents4 } {
  return {
    image: [key.batch, key.inputHeight, key.inputWidth, key.channels],
    kernel: [key.kernelHeight, key.kernelWidth, key.channels, key.filters],
    result: [key.batch, key.outHeight, key.outWidth, key.filters],
  }
}

/** What TensorFlow.js' convolution kernels want to know. */
const tensorFlowWindow = (padding: ConvShape['padding']) =>
  ({ strides: [1, 1] as [number, number], pad: padding, dataFormat: 'NHWC' }) as const

function runKernel(
  tf: TensorFlow,
  name: string,
  inputs: Record<string, Tensor>,
  attributes: Record<string, string | number[]>,
): Tensor {
  const result = tf.engine().runKernel(name, inputs, attributes)
  const [first] = Array.isArray(result) ? result : [result]
  return first as Tensor
}

function convForwardCase(name: string, shape: ConvShape): BenchCase {
  return kernelCase(name, 'arithmetic', conv2dForward, convKey(shape), (key): CaseData => {
    const shapes = convShapes(key)
    const image = numbers(shapes.image, 'image')
    const kernel = numbers(shapes.kernel, 'kernel')
    const bias = numbers([key.filters], 'bias')
    return {
      inputs: key.bias ? [image, kernel, bias] : [image, kernel],
      outputs: [output(shapes.result, convAt(key, image, kernel, key.bias ? bias : undefined))],
      tolerance: sumTolerance(key.kernelHeight * key.kernelWidth * key.channels),
      tensorflow: (tf) => {
        const x = tf.tensor4d(image, shapes.image)
        const filter = tf.tensor4d(kernel, shapes.kernel)
        const { strides, pad } = tensorFlowWindow(shape.padding)
        if (!key.bias) return () => tf.conv2d(x, filter, strides, pad)
        const bias1d = tf.tensor1d(bias)
        return () => tf.fused.conv2d({ x, filter, strides, pad, bias: bias1d, activation: 'relu' })
      },
    }
  })
}

function convInputGradientCase(name: string, shape: ConvShape): BenchCase {
  const key = convKey({ ...shape, bias: false })
  return kernelCase(name, 'arithmetic', conv2dInputGradient, key, (): CaseData => {
    const shapes = convShapes(key)
    const gradient = numbers(shapes.result, 'gradient')
    const kernel = numbers(shapes.kernel, 'kernel')
    return {
      inputs: [gradient, kernel],
      outputs: [output(shapes.image, convInputGradientAt(key, gradient, kernel))],
      tolerance: sumTolerance(key.kernelHeight * key.kernelWidth * key.filters),
      tensorflow: (tf) => {
        const dy = tf.tensor4d(gradient, shapes.result)
        const filter = tf.tensor4d(kernel, shapes.kernel)
        const window = { ...tensorFlowWindow(shape.padding), inputShape: shapes.image }
        return () => runKernel(tf, 'Conv2DBackpropInput', { dy, filter }, window)
      },
    }
  })
}

function convFilterGradientCase(name: string, shape: ConvShape): BenchCase {
  const key = convKey({ ...shape, bias: false })
  return kernelCase(name, 'arithmetic', conv2dFilterGradient, key, (): CaseData => {
    const shapes = convShapes(key)
    const image = numbers(shapes.image, 'image')
    const gradient = numbers(shapes.result, 'gradient')
    return {
      inputs: [image, gradient],
      outputs: [output(shapes.kernel, convFilterGradientAt(key, image, gradient))],
      tolerance: sumTolerance(key.batch * key.outHeight * key.outWidth),
      tensorflow: (tf) => {
        const x = tf.tensor4d(image, shapes.image)
        const dy = tf.tensor4d(gradient, shapes.result)
        const window = { ...tensorFlowWindow(shape.padding), filterShape: shapes.kernel }
        return () => runKernel(tf, 'Conv2DBackpropFilter', { x, dy }, window)
      },
    }
  })
}

const lenetConv1 = (batch: number): ConvShape => ({
  batch,
  size: 32,
  channels: 1,
  filters: 6,
  kernel: 5,
  padding: 'valid',
  bias: true,
})
const lenetConv2 = (batch: number): ConvShape => ({
  batch,
  size: 14,
  channels: 6,
  filters: 16,
  kernel: 5,
  padding: 'valid',
  bias: true,
})

function lenetConvCases(batch: number): BenchCase[] {
  return [
    convForwardCase(`conv2d lenet conv1 forward, batch ${batch}`, lenetConv1(batch)),
    convFilterGradientCase(`conv2d lenet conv1 filter gradient, batch ${batch}`, lenetConv1(batch)),
    convForwardCase(`conv2d lenet conv2 forward, batch ${batch}`, lenetConv2(batch)),
    convInputGradientCase(`conv2d lenet conv2 input gradient, batch ${batch}`, lenetConv2(batch)),
    convFilterGradientCase(`conv2d lenet conv2 filter gradient, batch ${batch}`, lenetConv2(batch)),
  ]
}

/** Forward and both gradients of a square 'same' convolution without bias. */
function squareConvCases(batch: number, size: number, channels: number, kernel: number): BenchCase[] {
  const shape: ConvShape = { batch, size, channels, filters: channels, kernel, padding: 'same', bias: false }
  const what = `${kernel}x${kernel} ${channels}->${channels} at ${size}x${size}, batch ${batch}`
  return [
    convForwardCase(`conv2d forward ${what}`, shape),
    convInputGradientCase(`conv2d input gradient ${what}`, shape),
    convFilterGradientCase(`conv2d filter gradient ${what}`, shape),
  ]
}

// Depthwise convolutions: 3x3, 'same', as Xception has them.

function depthwiseCases(batch: number, size: number, channels: number): BenchCase[] {
  const key: DepthwiseKey = {
    batch,
    inputHeight: size,
    inputWidth: size,
    channels,
    multiplier: 1,
    kernelHeight: 3,
    kernelWidth: 3,
    strides: [1, 1],
    dilation: [1, 1],
    padTop: 1,
    padLeft: 1,
    outHeight: size,
    outWidth: size,
  }
  const imageShape: Extents4 = [batch, size, size, channels]
  const kernelShape: Extents4 = [3, 3, channels, 1]
  const window = { strides: [1, 1], pad: 'same', dilations: [1, 1] }
  const make = (operator: string, family: Family<DepthwiseKey>, data: () => CaseData): BenchCase =>
    kernelCase(
      `depthwise ${operator} 3x3 ${channels} channels at ${size}x${size}, batch ${batch}`,
      'memory',
      family,
      key,
      data,
    )
  const image = () => numbers(imageShape, 'image')
  const gradient = () => numbers(imageShape, 'gradient')
  const kernel = () => numbers(kernelShape, 'kernel')
  return [
    make('forward', depthwise, () => {
      const [x, w] = [image(), kernel()]
      return {
        inputs: [x, w],
        outputs: [output(imageShape, depthwiseAt(convAt, key, x, w))],
        tolerance: sumTolerance(9),
        tensorflow: (tf) => {
          const [xs, ws] = [tf.tensor4d(x, imageShape), tf.tensor4d(w, kernelShape)]
          return () => tf.depthwiseConv2d(xs, ws, 1, 'same')
        },
      }
    }),
    make('input gradient', depthwiseInputGradient, () => {
      const [dy, w] = [gradient(), kernel()]
      return {
        inputs: [dy, w],
        outputs: [output(imageShape, depthwiseAt(convInputGradientAt, key, dy, w))],
        tolerance: sumTolerance(9),
        tensorflow: (tf) => {
          const operands = { dy: tf.tensor4d(dy, imageShape), filter: tf.tensor4d(w, kernelShape) }
          const attributes = { ...window, inputShape: imageShape }
          return () => runKernel(tf, 'DepthwiseConv2dNativeBackpropInput', operands, attributes)
        },
      }
    }),
    make('filter gradient', depthwiseFilterGradient, () => {
      const [x, dy] = [image(), gradient()]
      return {
        inputs: [x, dy],
        outputs: [output(kernelShape, depthwiseAt(convFilterGradientAt, key, x, dy))],
        tolerance: sumTolerance(batch * size * size),
        tensorflow: (tf) => {
          const operands = { x: tf.tensor4d(x, imageShape), dy: tf.tensor4d(dy, imageShape) }
          const attributes = { ...window, filterShape: kernelShape }
          return () => runKernel(tf, 'DepthwiseConv2dNativeBackpropFilter', operands, attributes)
        },
      }
    }),
  ]
}

// Pooling: 2x2 windows side by side, as in LeNet.

function poolCases(batch: number, size: number, channels: number): BenchCase[] {
  const out = size / 2
  const key: PoolKey = {
    batch,
    inputHeight: size,
    inputWidth: size,
    channels,
    outHeight: out,
    outWidth: out,
    kernelHeight: 2,
    kernelWidth: 2,
    strides: [2, 2],
    dilation: [1, 1],
    padTop: 0,
    padLeft: 0,
  }
  const imageShape: Extents4 = [batch, size, size, channels]
  const pooledShape: Extents4 = [batch, out, out, channels]
  const what = `2x2 at ${size}x${size}x${channels}, batch ${batch}`
  const exact: Tolerance = { rtol: 0, atol: 0 }
  return [
    kernelCase(`maxpool forward ${what}`, 'memory', maxPool, key, () => {
      const x = numbers(imageShape, 'image')
      const { value, position } = maxPoolAt(key, x)
      return {
        inputs: [x],
        outputs: [output(pooledShape, value), { dtype: 'u32', length: elementCount(pooledShape), expected: position }],
        tolerance: exact,
        tensorflow: (tf) => {
          const image = tf.tensor4d(x, imageShape)
          return () => tf.maxPool(image, 2, 2, 'valid')
        },
      }
    }),
    kernelCase(`maxpool gradient ${what}`, 'memory', maxPoolGradient, key, () => {
      const x = numbers(imageShape, 'image')
      const dy = numbers(pooledShape, 'gradient')
      const { position, value } = maxPoolAt(key, x)
      const codes = Uint32Array.from(dy, (_, i) => position(i))
      return {
        inputs: [dy, codes],
        outputs: [output(imageShape, maxPoolGradientAt(key, dy, codes))],
        tolerance: exact,
        tensorflow: (tf) => {
          const operands = {
            dy: tf.tensor4d(dy, pooledShape),
            input: tf.tensor4d(x, imageShape),
            output: tf.tensor4d(
              Float32Array.from(dy, (_, i) => value(i)),
              pooledShape,
            ),
          }
          const attributes = { filterSize: [2, 2], strides: [2, 2], pad: 'valid' }
          return () => runKernel(tf, 'MaxPoolGrad', operands, attributes)
        },
      }
    }),
  ]
}

// Classification.

function crossEntropyCases(rows: number, classes: number): BenchCase[] {
  const key: CrossEntropyKey = { rows, classes, labels: 'sparse' }
  const tolerance = { rtol: 1e-5, atol: 1e-6 }
  const logits = () => numbers([rows, classes], 'logits').map((x) => 5 * x)
  const oneHot = (tf: TensorFlow, labels: Uint32Array) =>
    tf.oneHot(tensorOf(tf, labels, [rows], 'int32'), classes).toFloat()
  return [
    kernelCase(`cross-entropy loss ${rows}x${classes}`, 'memory', crossEntropy, key, () => {
      const [x, labels] = [logits(), classNumbers(rows, classes)]
      return {
        inputs: [x, labels],
        outputs: [output([rows], crossEntropyAt(classes, x, labels))],
        tolerance,
        tensorflow: (tf) => {
          const [wanted, predicted] = [oneHot(tf, labels), tf.tensor2d(x, [rows, classes])]
          return () => tf.losses.softmaxCrossEntropy(wanted, predicted, undefined, 0, tf.Reduction.NONE)
        },
      }
    }),
    kernelCase(`cross-entropy gradient ${rows}x${classes}`, 'memory', crossEntropyGradient, key, () => {
      const [x, labels] = [logits(), classNumbers(rows, classes)]
      const dy = numbers([rows], 'gradient')
      return {
        inputs: [x, labels, dy],
        outputs: [output([rows, classes], crossEntropyGradientAt(classes, x, labels, dy))],
        tolerance,
        tensorflow: (tf) => {
          const [wanted, predicted] = [oneHot(tf, labels), tf.tensor2d(x, [rows, classes])]
          const cotangent = tf.tensor2d(dy, [rows, 1])
          return () => tf.softmax(predicted).sub(wanted).mul(cotangent)
        },
      }
    }),
  ]
}

// What a step does besides.

/** LeNet-5's tensors with 256 and 32 units. */
const lenetParameters: readonly Shape[] = [
  [5, 5, 1, 6],
  [6],
  [5, 5, 6, 16],
  [16],
  [400, 256],
  [256],
  [256, 32],
  [32],
  [32, 10],
  [10],
]

/** Floats of a flat buffer in which every tensor begins at a multiple of 256 bytes, as the engine lays parameters out. */
const flatLength = (shapes: readonly Shape[]): number =>
  shapes.reduce((sum, shape) => sum + alignUp(elementCount(shape) * 4) / 4, 0)

function adamCase(name: string, count: number): BenchCase {
  const key: AdamKey = { count, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: false }
  return kernelCase(name, 'memory', adam, key, (): CaseData => {
    const parameters = numbers([count], 'parameters')
    // Away from zero, where implementations differ by where they add epsilon.
    const gradients = numbers([count], 'gradients').map((x) => (x < 0 ? x - 0.1 : x + 0.1))
    const learningRate = 1e-3
    const rate = (learningRate * Math.sqrt(1 - key.beta2)) / (1 - key.beta1) // the first step's
    const first = (i: number): number => (1 - key.beta1) * (gradients[i] ?? Number.NaN)
    const second = (i: number): number => (1 - key.beta2) * (gradients[i] ?? Number.NaN) ** 2
    const updated = (initial: Float32Array<ArrayBuffer>, expected: Definition): ExpectedOutput => ({
      dtype: 'f32',
      length: count,
      initial,
      expected,
    })
    return {
      inputs: [gradients, Float32Array.of(rate, 0, 0, 0)],
      outputs: [
        updated(
          parameters,
          (i) => (parameters[i] ?? Number.NaN) - (rate * first(i)) / (Math.sqrt(second(i)) + key.epsilon),
        ),
        updated(new Float32Array(count), first),
        updated(new Float32Array(count), second),
        { dtype: 'u32', length: 4, initial: Uint32Array.of(1, 0, 1, 0), expected: (i) => [1, 0, 1, 0][i] ?? 0 },
      ],
      tolerance: { rtol: 1e-5, atol: 1e-7 },
      tensorflow: (tf) => {
        const variable = tf.variable(tf.tensor1d(parameters))
        const gradient = tf.tensor1d(gradients)
        const optimizer = tf.train.adam(learningRate, key.beta1, key.beta2, key.epsilon)
        return () => {
          optimizer.applyGradients([{ name: variable.name, tensor: gradient }])
          return variable
        }
      },
    }
  })
}

function gatherCase(batch: number): BenchCase {
  const key: GatherBatchKey = {
    datasetCount: 10_000,
    height: 28,
    width: 28,
    channels: 1,
    batch,
    padTop: 2,
    padLeft: 2,
    outHeight: 32,
    outWidth: 32,
    divisor: 255,
  }
  return kernelCase(`gather batch ${batch} images 28x28 to 32x32`, 'memory', gatherBatch, key, (): CaseData => {
    const random = new Random(1, 'images')
    const dataset = Uint8Array.from({ length: key.datasetCount * 28 * 28 }, () => random.below(256))
    const permutation = Uint32Array.from({ length: batch }, () => random.below(key.datasetCount))
    const labels = Uint32Array.from({ length: key.datasetCount }, () => random.below(10))
    return {
      inputs: [dataset, permutation, Uint32Array.of(0, 0, 0, 0), labels],
      outputs: [
        output([batch, 32, 32, 1], gatherBatchAt(key, dataset, permutation)),
        { ...output([batch], (index) => labels[permutation[index] ?? 0] ?? 0), dtype: 'u32' },
      ],
      tolerance: { rtol: 1e-6, atol: 0 },
      traffic: batch * (28 * 28 + 4 + 32 * 32 * 4),
      tensorflow: (tf) => {
        const images = tensorOf(tf, dataset, [key.datasetCount, 28, 28, 1])
        const indices = tensorOf(tf, permutation, [batch], 'int32')
        const padding: [number, number][] = [
          [0, 0],
          [2, 2],
          [2, 2],
          [0, 0],
        ]
        return () => tf.pad(tf.gather(images, indices).div(255), padding)
      },
    }
  })
}

function biasGradientCase(what: string, shape: Extents4): BenchCase {
  const key = { operation: 'sum', shape, axes: [0, 1, 2] } as const
  return kernelCase(`bias gradient ${what}`, 'memory', reduce, key, (): CaseData => {
    const dy = numbers(shape, 'gradient')
    return {
      inputs: [dy],
      outputs: [output([shape[3]], sumToLastAxisAt(dy, shape[3]))],
      tolerance: sumTolerance(dy.length / shape[3]),
      tensorflow: (tf) => {
        const gradient = tf.tensor4d(dy, shape)
        return () => tf.sum(gradient, [0, 1, 2])
      },
    }
  })
}

function reluCase(shape: Shape): BenchCase {
  const key = {
    shape,
    inputs: [{ shape, dtype: 'f32' }],
    steps: [
      { kind: 'input', index: 0 },
      { kind: 'relu', args: [0] },
    ],
    output: 'f32',
  } as const
  return kernelCase(`elementwise relu ${shape.join('x')}`, 'memory', elementwise, key, (): CaseData => {
    const x = numbers(shape, 'x')
    return {
      inputs: [x],
      outputs: [output(shape, (i) => Math.max(0, x[i] ?? Number.NaN))],
      tolerance: { rtol: 0, atol: 0 },
      tensorflow: (tf) => {
        const values = tf.tensor(x, [...shape])
        return () => tf.relu(values)
      },
    }
  })
}

export const kernelCases: readonly BenchCase[] = [
  matmulCase('matmul 512x512x512', { ...plainProduct, m: 512, n: 512, k: 512 }),
  matmulCase('matmul split-K 32x4096x32', { ...plainProduct, m: 32, n: 32, k: 4096 }),
  ...denseCases(128, 400, 256),
  ...denseCases(32, 400, 256),
  ...lenetConvCases(128),
  ...lenetConvCases(32),
  ...squareConvCases(8, 32, 64, 3),
  ...squareConvCases(8, 8, 256, 3),
  ...squareConvCases(8, 16, 256, 1),
  ...depthwiseCases(8, 5, 728),
  ...depthwiseCases(8, 19, 728),
  ...poolCases(128, 28, 6),
  ...poolCases(128, 10, 16),
  ...crossEntropyCases(128, 10),
  adamCase('adam lenet, 113782 parameters', flatLength(lenetParameters)),
  gatherCase(128),
  biasGradientCase('lenet conv1, 128x28x28x6', [128, 28, 28, 6]),
  biasGradientCase('lenet conv2, 128x10x10x16', [128, 10, 10, 16]),
  reluCase([128, 28, 28, 6]),
  reluCase([16 * 1024 * 1024]),
]
