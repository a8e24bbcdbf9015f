/** Sums, means, extrema and argmax, over every subset of the axes of a rank-4 tensor and over awkward extents. */
import type { Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import type { Tensor } from '../../src/index.ts'
import { argmax, max, mean, min, sum } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import type { ReduceOptions } from '../reference/reduce.ts'
import * as reference from '../reference/reduce.ts'
import { sumTolerance } from '../support/compare.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Benchmark, Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'

interface Reduction {
  readonly run: (x: Tensor, options?: { axes?: number | number[]; keepDims?: boolean }) => Tensor
  readonly reference: (x: Array64, options?: ReduceOptions) => Array64
  readonly tfjs: (tf: TensorFlow, x: TensorFlowTensor, axes?: number | number[], keep?: boolean) => TensorFlowTensor
}

const reductions = {
  sum: { run: sum, reference: reference.sum, tfjs: (tf, x, axes, keep) => tf.sum(x, axes, keep) },
  mean: { run: mean, reference: reference.mean, tfjs: (tf, x, axes, keep) => tf.mean(x, axes, keep) },
  max: { run: max, reference: reference.max, tfjs: (tf, x, axes, keep) => tf.max(x, axes, keep) },
  min: { run: min, reference: reference.min, tfjs: (tf, x, axes, keep) => tf.min(x, axes, keep) },
} satisfies Record<string, Reduction>

type Options = Partial<Omit<Case, 'name' | 'operator' | 'inputs' | 'run' | 'reference'>>

function reduction(
  operator: keyof typeof reductions,
  what: string,
  input: InputSpec,
  over: { axes?: number | number[]; keepDims?: boolean } = {},
  options: Options = {},
): Case {
  const entry: Reduction = reductions[operator]
  return {
    name: `${operator}: ${what}`,
    operator,
    inputs: [input],
    run: (x) => entry.run(x, over),
    reference: (x) => entry.reference(x, over),
    tfjs: (tf, x) => entry.tfjs(tf, x, over.axes, over.keepDims),
    differentiable: [0],
    tfjsGradient: true,
    ...options,
  }
}

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

const rank4 = [2, 3, 4, 5]
const values: InputSpec = { shape: rank4, uniform: [-2, 2] }
/** Numbers without near ties. */
const distinct: InputSpec = { shape: rank4, distinct: [-2, 2] }

const subsets = Array.from({ length: 15 }, (_, i) => [0, 1, 2, 3].filter((axis) => ((i + 1) >> axis) & 1))

/** The gradient of a convolution's bias is such a sum; these are LeNet's. */
const biasGradients: readonly Benchmark[] = (
  [
    ['lenet conv1', 128, 28, 28, 6],
    ['lenet conv2', 128, 10, 10, 16],
  ] as const
).map(([layer, batch, height, width, channels]) => ({
  name: `bias gradient ${layer}, ${batch}x${height}x${width}x${channels}`,
  bound: 'memory',
  shapes: [[batch, height, width, channels]],
  tolerance: sumTolerance(batch * height * width),
}))

const benchmarksOver = (axes: readonly number[]): Partial<Case> =>
  axes.join() === '0,1,2' ? { bench: biasGradients } : {}

const subsetCases: readonly Case[] = subsets.flatMap((axes) => [
  reduction('sum', `rank 4 over axes ${axes.join(', ')}`, values, { axes }, benchmarksOver(axes)),
  reduction('max', `rank 4 over axes ${axes.join(', ')}`, distinct, { axes }),
])

const ties: InputSpec = { shape: [2, 4], values: [3, 1, 3, 3, -1, -1, -2, -5] }
const tiesDifferAtTensorFlow = 'TensorFlow.js gives each of the tied elements the whole gradient'

const plainCases: readonly Case[] = [
  reduction('mean', 'everything', values),
  reduction('mean', 'over the channels', values, { axes: -1 }),
  reduction('mean', 'over batch and image, dimensions kept', values, { axes: [0, 1, 2], keepDims: true }),
  reduction('mean', 'over the first axis', values, { axes: 0 }),
  reduction('min', 'everything', distinct),
  reduction('min', 'over axes 1 and 3, dimensions kept', distinct, { axes: [1, 3], keepDims: true }),
  reduction('min', 'over the first axis', distinct, { axes: 0 }),
  reduction('sum', 'axes given backwards and from the end', values, { axes: [-1, 0] }),
  reduction('sum', 'dimensions kept', values, { axes: [1, 2], keepDims: true }),
  reduction('max', 'dimensions kept', distinct, { axes: [1, 2], keepDims: true }),
  reduction('sum', 'rank 0', { shape: [], values: [2.5] }),
  reduction('max', 'rank 0', { shape: [], values: [2.5] }),
  reduction('sum', 'one element', { shape: [1], values: [2.5] }),
  reduction('sum', 'axes of extent 1', { shape: [1, 3, 1], uniform: [-1, 1] }, { axes: [0, 2] }),
  reduction('sum', 'a long vector', { shape: [10_007], uniform: [-1, 1] }),
  reduction('sum', 'few long rows', { shape: [3, 1001], uniform: [-1, 1] }, { axes: 1 }),
  reduction('sum', 'few long columns', { shape: [1001, 3], uniform: [-1, 1] }, { axes: 0 }),
  reduction('sum', 'many short rows', { shape: [1001, 3], uniform: [-1, 1] }, { axes: 1 }),
  reduction('mean', 'numbers around 1000', { shape: [33, 65], uniform: [999, 1001] }, { axes: 0 }),
  reduction('max', 'a long vector', { shape: [10_007], distinct: [-100, 100] }),
  reduction('max', 'few long columns', { shape: [1001, 3], distinct: [-100, 100] }, { axes: 0 }),
  reduction('min', 'few long rows', { shape: [3, 1001], distinct: [-100, 100] }, { axes: 1 }),
  reduction('max', 'negative numbers only', { shape: [3, 17], distinct: [-9, -1] }, { axes: 1 }),
  reduction(
    'max',
    'ties share the gradient',
    ties,
    { axes: 1 },
    {
      gradients: (cotangent, x) => [reference.extremumGradient(x, cotangent, { axes: 1 }, reference.max)],
      tfjsGradient: tiesDifferAtTensorFlow,
    },
  ),
  reduction(
    'max',
    'ties over everything share the gradient',
    ties,
    {},
    {
      gradients: (cotangent, x) => [reference.extremumGradient(x, cotangent, {}, reference.max)],
      tfjsGradient: tiesDifferAtTensorFlow,
    },
  ),
  reduction(
    'min',
    'ties share the gradient',
    { shape: [2, 4], values: [-3, 1, -3, -3, 1, 1, 2, 5] },
    { axes: 1 },
    {
      gradients: (cotangent, x) => [reference.extremumGradient(x, cotangent, { axes: 1 }, reference.min)],
      tfjsGradient: tiesDifferAtTensorFlow,
    },
  ),
  ...(['sum', 'mean', 'max', 'min'] as const).map((operator) =>
    reduction(
      operator,
      'NaN and infinities stay in their rows',
      {
        shape: [6, 3],
        values: [1, nan, 3, nan, 1, 2, 1, 2, nan, 1, infinity, 2, -infinity, 1, 2, infinity, -infinity, 1],
      },
      { axes: 1 },
      forwardOnly,
    ),
  ),
  ...(['max', 'min'] as const).map((operator) =>
    reduction(
      operator,
      'nothing but infinities',
      { shape: [3, 2], values: [infinity, infinity, -infinity, -infinity, -infinity, infinity] },
      { axes: 1 },
      forwardOnly,
    ),
  ),
  reduction('max', 'one NaN among many numbers', oneNaN(), {}, forwardOnly),
]

function oneNaN(): InputSpec {
  return { shape: [1000], values: Array.from({ length: 1000 }, (_, i) => (i === 777 ? nan : i)) }
}

function argmaxCase(what: string, input: InputSpec, axis?: number, overrides: Partial<Case> = {}): Case {
  return {
    name: `argmax: ${what}`,
    operator: 'argmax',
    inputs: [input],
    run: (x) => (axis === undefined ? argmax(x) : argmax(x, { axis })),
    reference: (x) => reference.argmax(x, axis),
    tfjs: (tf, x) => tf.argMax(x, axis ?? -1),
    differentiable: [],
    tfjsGradient: 'argmax has no gradient',
    ...overrides,
  }
}

const argmaxCases: readonly Case[] = [
  argmaxCase('the last axis by default', distinct),
  argmaxCase('the first axis', distinct, 0),
  argmaxCase('an axis in the middle', distinct, 2),
  argmaxCase('an axis counted from the end', distinct, -3),
  argmaxCase('the first of tied maxima', ties),
  argmaxCase('a vector', { shape: [1001], distinct: [-1, 1] }),
  argmaxCase('one element', { shape: [3, 1], uniform: [-1, 1] }),
  argmaxCase('minus infinity everywhere but once', { shape: [4], values: [-infinity, -infinity, -7, -infinity] }),
  argmaxCase('the first NaN', { shape: [3, 4], values: [1, nan, 9, nan, nan, 1, 2, 3, 1, 2, 9, 9] }, -1, {
    tfjs: 'TensorFlow.js ignores NaN',
  }),
  argmaxCase('the classes of a batch', { shape: [33, 10], distinct: [-3, 3] }),
]

export const reduceCases: readonly Case[] = [...subsetCases, ...plainCases, ...argmaxCases]
