/** Batch normalisation, softmax, log-softmax and the cross-entropy of logits. */
import type { Tensor1D, Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import {
  batchNormalization,
  batchNormalizationTraining,
  logSoftmax,
  mul,
  softmax,
  softmaxCrossEntropy,
  sum,
} from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Benchmark, Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

function inference(what: string, shape: readonly number[], { affine = true, epsilon = 1e-3 } = {}): Case {
  const channels: readonly number[] = [shape.at(-1) ?? 1]
  const inputs: InputSpec[] = [
    { shape, uniform: [-2, 2] },
    { shape: channels, uniform: [-1, 1] },
    { shape: channels, uniform: [0.1, 2] },
  ]
  if (affine) inputs.push({ shape: channels, uniform: [0.5, 2] }, { shape: channels, uniform: [-1, 1] })
  const scaling = <T>(gamma: T | undefined, beta: T | undefined): { gamma?: T; beta?: T } =>
    gamma === undefined || beta === undefined ? {} : { gamma, beta }
  return {
    name: `batchNormalization: ${what}`,
    operator: 'batchNormalization',
    inputs,
    run: (x, mean, variance, gamma, beta) =>
      batchNormalization(x, { mean, variance, epsilon, ...scaling(gamma, beta) }),
    reference: (x, mean, variance, gamma, beta) =>
      reference.batchNormalization(x, { mean, variance, epsilon, ...scaling(gamma, beta) }),
    tfjs: (tf, x, mean, variance, gamma, beta) =>
      tf.batchNorm(x, mean as Tensor1D, variance as Tensor1D, beta as Tensor1D, gamma as Tensor1D, epsilon),
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: affine || 'TensorFlow.js cannot differentiate batch normalisation without a scale',
  }
}

type TrainingOutput = 'y' | 'mean' | 'variance'

function training(
  what: string,
  input: InputSpec,
  output: TrainingOutput,
  { affine = true, epsilon = 1e-3 } = {},
  overrides: Partial<Case> = {},
): Case {
  const channels = [input.shape.at(-1) ?? 1]
  const axes = input.shape.slice(0, -1).map((_, axis) => axis)
  const inputs: InputSpec[] = [input]
  if (affine) inputs.push({ shape: channels, uniform: [0.5, 2] }, { shape: channels, uniform: [-1, 1] })
  const scaling = <T>(gamma: T | undefined, beta: T | undefined): { gamma?: T; beta?: T } =>
    gamma === undefined || beta === undefined ? {} : { gamma, beta }
  return {
    name: `batchNormalizationTraining: ${what}`,
    operator: 'batchNormalizationTraining',
    inputs,
    run: (x, gamma, beta) => batchNormalizationTraining(x, { epsilon, ...scaling(gamma, beta) })[output],
    reference: (x, gamma, beta) =>
      reference.batchNormalizationTraining(x, { epsilon, ...scaling(gamma, beta) })[output],
    tfjs: (tf, x, gamma, beta) => {
      const { mean, variance } = tf.moments(x, axes)
      if (output !== 'y') return output === 'mean' ? mean : variance
      const normalized = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, epsilon)))
      return gamma === undefined || beta === undefined ? normalized : tf.add(tf.mul(normalized, gamma), beta)
    },
    differentiable: output === 'y' ? inputs.map((_, i) => i) : [0],
    tfjsGradient: true,
    ...overrides,
  }
}

const batchNormalizationCases: readonly Case[] = [
  inference('images', [2, 3, 4, 5]),
  inference('rank 2', [6, 3]),
  inference('17 channels', [1, 3, 3, 17], { epsilon: 1e-5 }),
  inference('one channel', [2, 2, 3, 1]),
  inference('neither scale nor offset', [2, 3, 4, 5], { affine: false }),
  training('images', { shape: [2, 3, 4, 5], uniform: [-2, 2] }, 'y'),
  training('the mean', { shape: [2, 3, 4, 5], uniform: [-2, 2] }, 'mean', { affine: false }),
  training('the variance', { shape: [2, 3, 4, 5], uniform: [-2, 2] }, 'variance', { affine: false }),
  training('rank 2', { shape: [9, 3], uniform: [-2, 2] }, 'y'),
  training('neither scale nor offset', { shape: [2, 3, 3, 17], uniform: [-2, 2] }, 'y', { affine: false }),
  training('many rows', { shape: [4, 16, 16, 3], uniform: [-2, 2] }, 'y', { epsilon: 1e-5 }),
  training(
    'numbers around 100',
    { shape: [8, 3, 3, 4], uniform: [99, 101] },
    'variance',
    { affine: false },
    {
      tolerance: { rtol: 1e-4, because: 'float32 holds numbers around 100 to 4e-6 absolute, differences less exactly' },
      gradientTolerance: { rtol: 1e-4, because: 'the same' },
    },
  ),
]

function rows(operator: 'softmax' | 'logSoftmax', what: string, input: InputSpec, overrides: Partial<Case> = {}): Case {
  return {
    name: `${operator}: ${what}`,
    operator,
    inputs: [input],
    run: operator === 'softmax' ? (x) => softmax(x) : (x) => logSoftmax(x),
    reference: operator === 'softmax' ? reference.softmax : reference.logSoftmax,
    tfjs: (tf, x) => (operator === 'softmax' ? tf.softmax(x) : tf.logSoftmax(x)),
    differentiable: [0],
    tfjsGradient: true,
    ...overrides,
  }
}

const extreme: InputSpec = {
  shape: [4, 4],
  values: [1e4, -1e4, 0, 1, -1e4, -1e4, -1e4, -1e4, 1e4, 1e4, -1e4, 1e4, 0, -1e4, -1e4, 1e-4],
}

const impossible = -infinity
const nonFiniteRows: InputSpec = {
  shape: [7, 3],
  values: [
    [nan, 1, 2],
    [1, infinity, 2],
    [1, impossible, 2],
    [1, 2, nan],
    [-1, 0, 1],
    [impossible, impossible, impossible],
    [1, impossible, 2],
  ].flat(),
}

const softmaxCases: readonly Case[] = (['softmax', 'logSoftmax'] as const).flatMap((operator) => [
  rows(operator, 'ten classes', { shape: [7, 10], uniform: [-3, 3] }),
  rows(operator, 'rank 3', { shape: [2, 3, 5], uniform: [-3, 3] }),
  rows(operator, 'a vector', { shape: [9], uniform: [-3, 3] }),
  rows(operator, 'one class', { shape: [4, 1], uniform: [-3, 3] }),
  rows(operator, 'two classes', { shape: [33, 2], uniform: [-3, 3] }),
  rows(operator, '17 classes', { shape: [9, 17], uniform: [-3, 3] }),
  rows(operator, '1000 classes', { shape: [3, 1000], uniform: [-3, 3] }),
  rows(operator, 'logits up to +-1e4', extreme),
  rows(operator, 'equal logits', { shape: [2, 5], values: new Array<number>(10).fill(3) }),
  rows(operator, 'NaN and infinities stay in their rows', nonFiniteRows, forwardOnly),
])

type Reduction = 'mean' | 'sum' | 'none'

interface Loss {
  readonly logits: InputSpec
  /** The form of the labels: class numbers, or a distribution over the classes. */
  readonly labels: InputSpec
  readonly reduction?: Reduction
}

function crossEntropy(what: string, { logits, labels, reduction }: Loss, overrides: Partial<Case> = {}): Case {
  const classes = logits.shape.at(-1) ?? 1
  const options = reduction === undefined ? {} : { reduction }
  return {
    name: `softmaxCrossEntropy: ${what}`,
    operator: 'softmaxCrossEntropy',
    inputs: [logits, labels],
    run: (x, y) => softmaxCrossEntropy(x, y, options),
    reference: (x, y) => reference.softmaxCrossEntropy(x, y, reduction),
    tfjs: (tf, x, y) => {
      const targets = labels.dtype === 'u32' ? tf.oneHot(tf.cast(y, 'int32'), classes) : y
      return reduced(tf, tf.neg(tf.sum(tf.mul(targets, tf.logSoftmax(x)), -1)), reduction)
    },
    // A distribution over the classes may itself be computed.
    differentiable: labels.dtype === 'u32' ? [0] : [0, 1],
    tfjsGradient: true,
    ...overrides,
  }
}

function reduced(tf: TensorFlow, losses: TensorFlowTensor, reduction: Reduction = 'mean'): TensorFlowTensor {
  if (reduction === 'none') return losses
  return reduction === 'mean' ? tf.mean(losses) : tf.sum(losses)
}

/** The losses of a batch and their gradient; TensorFlow.js gets ready-made one-hot labels. */
function lossBenchmarks(rows: number, classes: number): readonly Benchmark[] {
  const oneHot = (tf: TensorFlow, labels: TensorFlowTensor) => tf.oneHot(tf.cast(labels, 'int32'), classes).toFloat()
  const common = {
    bound: 'memory',
    shapes: [[rows, classes], [rows]],
    tolerance: { rtol: 1e-5, atol: 1e-6 },
  } as const
  return [
    {
      name: `cross-entropy loss ${rows}x${classes}`,
      ...common,
      tfjs: (tf, logits, labels) => {
        const wanted = oneHot(tf, labels)
        return () => tf.losses.softmaxCrossEntropy(wanted, logits, undefined, 0, tf.Reduction.NONE)
      },
    },
    {
      name: `cross-entropy gradient ${rows}x${classes}`,
      ...common,
      gradient: {
        input: 0,
        reference: reference.softmaxCrossEntropyGradient,
        tfjs: (tf, cotangent, logits, labels) => {
          const wanted = oneHot(tf, labels)
          const column = tf.reshape(cotangent, [rows, 1])
          return () => tf.softmax(logits).sub(wanted).mul(column)
        },
      },
    },
  ]
}

const tenLogits: InputSpec = { shape: [7, 10], uniform: [-3, 3] }
const tenLabels: InputSpec = { shape: [7], dtype: 'u32', below: 10 }
const smoothed: InputSpec = {
  shape: [3, 4],
  values: [0.925, 0.025, 0.025, 0.025, 0.025, 0.925, 0.025, 0.025, 0.25, 0.25, 0.25, 0.25],
}

const crossEntropyCases: readonly Case[] = [
  crossEntropy('class numbers, mean', { logits: tenLogits, labels: tenLabels }),
  crossEntropy('class numbers, sum', { logits: tenLogits, labels: tenLabels, reduction: 'sum' }),
  crossEntropy(
    'class numbers, a loss for each row',
    { logits: tenLogits, labels: tenLabels, reduction: 'none' },
    { bench: lossBenchmarks(128, 10) },
  ),
  crossEntropy('one row', {
    logits: { shape: [1, 10], uniform: [-3, 3] },
    labels: { shape: [1], dtype: 'u32', values: [9] },
  }),
  crossEntropy(
    'one class',
    {
      logits: { shape: [3, 1], uniform: [-3, 3] },
      labels: { shape: [3], dtype: 'u32', below: 1 },
    },
    { tfjs: 'TensorFlow.js has no one-hot labels for fewer than two classes' },
  ),
  crossEntropy('1000 classes', {
    logits: { shape: [3, 1000], uniform: [-3, 3] },
    labels: { shape: [3], dtype: 'u32', below: 1000 },
  }),
  crossEntropy('many rows', {
    logits: { shape: [131, 10], uniform: [-3, 3] },
    labels: { shape: [131], dtype: 'u32', below: 10 },
  }),
  crossEntropy('logits up to +-1e4', {
    logits: extreme,
    labels: { shape: [4], dtype: 'u32', values: [0, 2, 3, 1] },
    reduction: 'none',
  }),
  crossEntropy('a distribution, mean', { logits: { shape: [3, 4], uniform: [-3, 3] }, labels: smoothed }),
  crossEntropy('a distribution, sum', {
    logits: { shape: [3, 4], uniform: [-3, 3] },
    labels: smoothed,
    reduction: 'sum',
  }),
  crossEntropy('a distribution, a loss for each row', {
    logits: { shape: [3, 4], uniform: [-3, 3] },
    labels: smoothed,
    reduction: 'none',
  }),
  crossEntropy('labels that do not sum to 1', {
    logits: { shape: [3, 4], uniform: [-3, 3] },
    labels: { shape: [3, 4], uniform: [0.1, 2] },
  }),
  crossEntropy(
    'NaN and infinities stay in their rows',
    { logits: nonFiniteRows, labels: { shape: [7], dtype: 'u32', values: [0, 1, 2, 0, 1, 0, 1] }, reduction: 'none' },
    {
      ...forwardOnly,
      tfjs: 'with one-hot labels TensorFlow.js multiplies minus infinity by 0, which is NaN',
    },
  ),
  crossEntropy(
    'a class of weight 0 may be impossible',
    {
      logits: { shape: [2, 3], values: [0, impossible, 1, 0.5, 1, impossible] },
      labels: { shape: [2, 3], values: [0.5, 0, 0.5, 1, 0, 0] },
    },
    {
      differentiable: [0],
      tfjs: 'TensorFlow.js multiplies minus infinity by 0, which is NaN',
    },
  ),
  crossEntropy(
    'a class number that does not exist gives NaN in its row',
    {
      logits: { shape: [3, 4], uniform: [-3, 3] },
      labels: { shape: [3], dtype: 'u32', values: [3, 4, 0] },
      reduction: 'none',
    },
    {
      gradients: (cotangent, logits, labels) => [reference.softmaxCrossEntropyGradient(cotangent, logits, labels)],
      tfjs: 'TensorFlow.js gives such a row a loss of 0',
    },
  ),
  {
    name: 'softmaxCrossEntropy: written out with log-softmax',
    operator: 'softmaxCrossEntropy',
    inputs: [{ shape: [3, 4], uniform: [-3, 3] }, smoothed],
    run: (x, y) => mul(sum(mul(y, logSoftmax(x))), -1),
    reference: (x: Array64, y: Array64) => reference.softmaxCrossEntropy(x, y, 'sum'),
    tfjs: (tf, x, y) => tf.neg(tf.sum(tf.mul(y, tf.logSoftmax(x)))),
    differentiable: [0],
    tfjsGradient: true,
  },
]

export const normalizationCases: readonly Case[] = [...batchNormalizationCases, ...softmaxCases, ...crossEntropyCases]
