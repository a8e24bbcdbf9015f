/** Pooling: any window, stride and padding; ties, NaN and infinities. */
import type { Tensor4D, Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import { averagePool, globalAveragePool, maxPool } from '../../src/index.ts'
import type { PoolOptions } from '../reference/window.ts'
import * as reference from '../reference/window.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'
import type { Pair } from './convolution.ts'
import { tensorFlowPadding } from './convolution.ts'
import { lenetPooling } from './window-benchmarks.ts'

interface Options extends PoolOptions {
  readonly poolSize: number | Pair
  readonly strides?: number | Pair
  readonly padding?: 'same' | 'valid' | [Pair, Pair]
}

function pooling(
  operator: 'maxPool' | 'averagePool',
  what: string,
  image: readonly number[] | InputSpec,
  options: Options,
  overrides: Partial<Case> = {},
): Case {
  const input: InputSpec = 'shape' in image ? image : { shape: image, distinct: [-2, 2] }
  const { poolSize, strides = poolSize } = options
  const padding = tensorFlowPadding(options.padding)
  // A window that leaves the image: 'same' with anything to pad, or explicit padding.
  const padded = typeof padding !== 'string' || padding === 'same'
  const tfjs = (tf: TensorFlow, x: TensorFlowTensor): TensorFlowTensor =>
    operator === 'maxPool'
      ? tf.maxPool(x as Tensor4D, poolSize, strides, padding)
      : tf.avgPool(x as Tensor4D, poolSize, strides, padding)
  return {
    name: `${operator}: ${what}`,
    operator,
    inputs: [input],
    run: operator === 'maxPool' ? (x) => maxPool(x, options) : (x) => averagePool(x, options),
    reference: operator === 'maxPool' ? (x) => reference.maxPool(x, options) : (x) => reference.averagePool(x, options),
    tfjs,
    differentiable: [0],
    tfjsGradient:
      operator === 'averagePool' && padded
        ? "TensorFlow.js' gradient of average pooling divides by the whole window even where it leaves the image"
        : true,
    ...overrides,
  }
}

const operators = ['maxPool', 'averagePool'] as const
const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

const firstTakesAll = (options: Options): Partial<Case> => ({
  gradients: (cotangent, x) => [reference.maxPoolGradient(x, cotangent, options)],
})

const nonFinite = {
  shape: [1, 4, 4, 1],
  values: [1, nan, 3, 4, 2, 5, -infinity, 1, infinity, 1, -infinity, -infinity, 2, -infinity, -infinity, -infinity],
} satisfies InputSpec

/** The same numbers in each of four channels. */
const nonFiniteInFour: InputSpec = { shape: [1, 4, 4, 4], values: nonFinite.values.flatMap((x) => [x, x, x, x]) }

const repeating: InputSpec = { shape: [1, 6, 6, 2], values: Array.from({ length: 72 }, (_, i) => (i * 7) % 3) }

export const poolCases: readonly Case[] = [
  ...operators.flatMap((operator) => [
    pooling(operator, '2x2', [2, 6, 4, 3], { poolSize: 2 }),
    ...[1, 4, 5, 8, 17].map((channels) =>
      pooling(operator, `2x2 on ${channels} channels`, [2, 4, 6, channels], { poolSize: 2 }),
    ),
    pooling(operator, '2x2 with a row and a column left over', [2, 5, 7, 3], { poolSize: 2 }),
    pooling(operator, "2x2 'same' on odd extents", [2, 5, 7, 3], { poolSize: 2, padding: 'same' }),
    pooling(operator, "3x3 'same' with stride 2 on odd extents", [2, 7, 5, 3], {
      poolSize: 3,
      strides: 2,
      padding: 'same',
    }),
    pooling(operator, "3x3 'same' with stride 2 on even extents", [2, 8, 6, 3], {
      poolSize: 3,
      strides: 2,
      padding: 'same',
    }),
    pooling(operator, '3x3 with stride 2, windows overlap', [2, 7, 9, 3], { poolSize: 3, strides: 2 }),
    pooling(operator, "3x3 'same' with stride 1", [1, 5, 4, 3], { poolSize: 3, strides: 1, padding: 'same' }),
    pooling(operator, "4 channels, 3x3 'same' with stride 2", [2, 7, 6, 4], {
      poolSize: 3,
      strides: 2,
      padding: 'same',
    }),
    pooling(operator, '8 channels, 3x3 with stride 1', [1, 5, 6, 8], { poolSize: 3, strides: 1 }),
    pooling(operator, '2x3 with strides 1 and 2', [2, 5, 7, 2], { poolSize: [2, 3], strides: [1, 2] }),
    pooling(operator, 'a stride larger than the window', [2, 8, 7, 2], { poolSize: 2, strides: 3 }),
    pooling(operator, 'a window larger than the image', [2, 3, 3, 2], { poolSize: 5, strides: 1, padding: 'same' }),
    pooling(operator, 'a window as large as the image', [2, 3, 4, 5], { poolSize: [3, 4] }),
    pooling(operator, '1x1', [2, 3, 3, 2], { poolSize: 1 }),
    pooling(operator, 'explicit padding', [2, 5, 6, 2], {
      poolSize: 3,
      strides: 2,
      padding: [
        [1, 1],
        [0, 1],
      ],
    }),
    ...[nonFinite, nonFiniteInFour].map((input) =>
      pooling(
        operator,
        `NaN and infinities in ${input.shape[3]} channels`,
        input,
        { poolSize: 2 },
        operator === 'maxPool'
          ? { ...forwardOnly, tfjs: 'the CPU backend of TensorFlow.js drops a NaN that is not the first of its window' }
          : forwardOnly,
      ),
    ),
  ]),
  pooling(
    'maxPool',
    'the first of tied maxima takes the gradient',
    repeating,
    { poolSize: 2 },
    firstTakesAll({ poolSize: 2 }),
  ),
  pooling(
    'maxPool',
    'the first of tied maxima takes the gradient, in each of four channels',
    { shape: [1, 6, 6, 4], values: Array.from({ length: 144 }, (_, i) => (i * 7) % 5) },
    { poolSize: 2 },
    firstTakesAll({ poolSize: 2 }),
  ),
  pooling(
    'maxPool',
    'ties in overlapping windows of four channels',
    { shape: [1, 6, 6, 4], values: Array.from({ length: 144 }, (_, i) => (i * 7) % 5) },
    { poolSize: 3, strides: 2, padding: 'same' },
    firstTakesAll({ poolSize: 3, strides: 2, padding: 'same' }),
  ),
  pooling(
    'maxPool',
    'ties in overlapping windows',
    repeating,
    { poolSize: 3, strides: 1 },
    firstTakesAll({ poolSize: 3, strides: 1 }),
  ),
  pooling(
    'maxPool',
    "ties of a constant image, 'same'",
    { shape: [1, 5, 5, 1], values: new Array<number>(25).fill(-1) },
    { poolSize: 3, strides: 2, padding: 'same' },
    firstTakesAll({ poolSize: 3, strides: 2, padding: 'same' }),
  ),
  pooling(
    'maxPool',
    'negative numbers win against padding',
    { shape: [1, 5, 5, 2], distinct: [-9, -1] },
    {
      poolSize: 3,
      strides: 2,
      padding: 'same',
    },
  ),
  pooling('maxPool', "LeNet's first", [2, 28, 28, 6], { poolSize: 2 }, { bench: lenetPooling(28, 6) }),
  pooling('maxPool', "LeNet's second", [2, 10, 10, 16], { poolSize: 2 }, { bench: lenetPooling(10, 16) }),
  ...[
    [2, 5, 6, 3],
    [3, 1, 1, 17],
    [1, 7, 7, 65],
  ].map(
    (shape): Case => ({
      name: `globalAveragePool: [${shape.join(', ')}]`,
      operator: 'globalAveragePool',
      inputs: [{ shape, uniform: [-1, 1] }],
      run: (x) => globalAveragePool(x),
      reference: (x) => reference.globalAveragePool(x),
      tfjs: (tf, x) => tf.mean(x, [1, 2]),
      differentiable: [0],
      tfjsGradient: true,
    }),
  ),
]
