/** Matrix products and the dense layer: transposes, batches, extents of 1, extents that fit no tile. */
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs'
import { dense, matmul } from '../../src/index.ts'
import type { Activation } from '../reference/elementwise.ts'
import type { MatmulOptions } from '../reference/matmul.ts'
import * as reference from '../reference/matmul.ts'
import { sumTolerance } from '../support/compare.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Benchmark, Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'

function product(
  what: string,
  a: readonly number[] | InputSpec,
  b: readonly number[] | InputSpec,
  options: MatmulOptions = {},
  overrides: Partial<Case> = {},
): Case {
  const input = (operand: readonly number[] | InputSpec): InputSpec =>
    'shape' in operand ? operand : { shape: operand, uniform: [-1, 1] }
  return {
    name: `matmul: ${what}`,
    operator: 'matmul',
    inputs: [input(a), input(b)],
    run: (x, y) => matmul(x, y, options),
    reference: (x, y) => reference.matmul(x, y, options),
    tfjs: (tf, x, y) => tf.matMul(x, y, options.transposeA, options.transposeB),
    differentiable: [0, 1],
    tfjsGradient: true,
    ...overrides,
  }
}

const transposes: readonly (readonly [text: string, options: MatmulOptions])[] = [
  ['neither transposed', { transposeA: false, transposeB: false }],
  ['the first transposed', { transposeA: true, transposeB: false }],
  ['the second transposed', { transposeA: false, transposeB: true }],
  ['both transposed', { transposeA: true, transposeB: true }],
]

/** [m, k] and [k, n], stored as the transposes require. */
function operands(m: number, k: number, n: number, options: MatmulOptions, batch: readonly number[] = []) {
  return {
    a: [...batch, ...(options.transposeA ? [k, m] : [m, k])],
    b: [...batch, ...(options.transposeB ? [n, k] : [k, n])],
  }
}

function productBenchmark(name: string, m: number, k: number, n: number, options: MatmulOptions = {}): Benchmark {
  const { a, b } = operands(m, k, n, options)
  return { name, bound: 'arithmetic', shapes: [a, b], tolerance: sumTolerance(k) }
}

/** Batch, inputs and units of LeNet's largest dense layer in training. */
const denseSizes = [128, 32].map((batch) => [batch, 400, 256] as const)

/** The gradients of a dense layer: products with a transposed operand. */
function denseGradients({ transposeA, transposeB }: MatmulOptions): Partial<Case> {
  if (transposeA === transposeB) return {}
  return {
    bench: denseSizes.map(([batch, features, units]) =>
      transposeB
        ? productBenchmark(`matmul dense input gradient ${batch}x${units}x${features}`, batch, units, features, {
            transposeB,
          })
        : productBenchmark(`matmul dense weight gradient ${features}x${batch}x${units}`, features, batch, units, {
            transposeA: true,
          }),
    ),
  }
}

const denseForward: readonly Benchmark[] = denseSizes.map(([batch, features, units]) => ({
  name: `matmul dense forward ${batch}x${features}x${units}`,
  bound: 'arithmetic',
  shapes: [[batch, features], [features, units], [units]],
  tolerance: sumTolerance(features),
  tfjs: (tf, a, b, bias) => () =>
    tf.fused.matMul({ a: a as Tensor2D, b: b as Tensor2D, bias: bias as Tensor1D, activation: 'relu' }),
}))

const shared = { tfjsGradient: 'TensorFlow.js does not sum the gradient of a matrix shared by several batches' }
const stretched: Partial<Case> = {
  ...shared,
  tfjs: 'TensorFlow.js returns too many numbers if both operands broadcast',
}
const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

const matmulCases: readonly Case[] = [
  ...transposes.flatMap(([text, options]) => {
    const small = operands(5, 7, 3, options)
    const odd = operands(33, 65, 31, options)
    const batched = operands(5, 6, 7, options, [3])
    return [
      product(`5x7x3, ${text}`, small.a, small.b, options),
      product(`33x65x31, ${text}`, odd.a, odd.b, options, denseGradients(options)),
      product(`three of 5x6x7, ${text}`, batched.a, batched.b, options),
    ]
  }),
  product('1x1x1', [1, 1], [1, 1]),
  product('m = 1', [1, 19], [19, 8]),
  product('n = 1', [19, 8], [8, 1]),
  product('k = 1', [9, 1], [1, 17]),
  product('m = n = 1 and a long k', [1, 2049], [2049, 1]),
  product('k = 1 of transposed operands', [1, 9], [17, 1], { transposeA: true, transposeB: true }),
  product('m = 1 with the second transposed', [1, 19], [8, 19], { transposeB: true }),
  product('32x32x32, whole tiles', [32, 32], [32, 32]),
  product(
    '64x64x64, whole tiles',
    [64, 64],
    [64, 64],
    {},
    { bench: [productBenchmark('matmul 512x512x512', 512, 512, 512)] },
  ),
  product('one more than a tile in each direction', [65, 33], [33, 65]),
  product(
    'few rows and columns, long k',
    [5, 1500],
    [1500, 6],
    {},
    {
      bench: [productBenchmark('matmul split-K 32x4096x32', 32, 4096, 32)],
    },
  ),
  product('tall and narrow', [300, 3], [3, 5]),
  product('rank 4 batches', [2, 3, 4, 5], [2, 3, 5, 6]),
  product('one matrix for every batch on the right', [3, 4, 5], [5, 6], {}, shared),
  product('one matrix for every batch on the left', [4, 5], [3, 5, 6], {}, shared),
  product('one transposed matrix for every batch on the right', [3, 4, 5], [6, 5], { transposeB: true }, shared),
  product('one transposed matrix for every batch on the left', [5, 4], [2, 2, 5, 6], { transposeA: true }, shared),
  product(
    "attention's scores",
    [2, 2, 7, 4],
    [2, 2, 7, 4],
    { transposeB: true },
    {
      bench: [
        {
          ...productBenchmark('matmul attention scores 256x49x12x49', 49, 12, 49),
          shapes: [
            [64, 4, 49, 12],
            [64, 4, 49, 12],
          ],
        },
      ],
    },
  ),
  product(
    "attention's values",
    [2, 2, 7, 7],
    [2, 2, 7, 4],
    {},
    {
      bench: [
        {
          ...productBenchmark('matmul attention values 256x49x49x12', 49, 49, 12),
          shapes: [
            [64, 4, 49, 49],
            [64, 4, 49, 12],
          ],
        },
      ],
    },
  ),
  product('batches of 1', [1, 3, 4], [1, 4, 2]),
  product('batches of both operands broadcast', [3, 1, 3, 4], [1, 2, 4, 2], {}, stretched),
  product('batches of fewer axes on the right', [2, 3, 5, 4], [3, 4, 2], {}, shared),
  product('a single batch of higher rank on the left', [1, 1, 3, 4], [2, 4, 5], {}, shared),
  product('batches of 1 of different ranks', [1, 3, 4], [1, 1, 4, 2], {}, shared),
  ...transposes.map(([text, options]) => {
    const [{ a }, { b }] = [operands(5, 3, 2, options, [2, 1]), operands(5, 3, 2, options, [3])]
    return product(`broadcast batches, ${text}`, a, b, options, stretched)
  }),
  product(
    'NaN and infinities spread along rows and columns',
    { shape: [3, 3], values: [1, nan, 2, 0, 1, infinity, 1, 2, 3] },
    { shape: [3, 2], values: [0, 1, -infinity, 2, 1, 0] },
    {},
    forwardOnly,
  ),
]

interface DenseOptions {
  readonly bias?: boolean
  readonly activation?: Activation
}

function layer(
  what: string,
  x: readonly number[],
  units: number,
  { bias = true, activation = 'linear' }: DenseOptions = {},
  overrides: Partial<Case> = {},
): Case {
  const features = x.at(-1) ?? 1
  const scale = 1 / Math.sqrt(features)
  const inputs: InputSpec[] = [
    { shape: x, uniform: [-1, 1] },
    { shape: [features, units], uniform: [-scale, scale] },
  ]
  if (bias) inputs.push({ shape: [units], uniform: [-0.5, 0.5] })
  return {
    name: `dense: ${what}`,
    operator: 'dense',
    inputs,
    run: (input, kernel, b) => dense(input, kernel, b, { activation }),
    reference: (input, kernel, b) => reference.dense(input, kernel, b, activation),
    tfjs: (tf, input, kernel, b) => {
      const rows = tf.reshape(input, [-1, features]) as Tensor2D
      const products = tf.matMul(rows, kernel as Tensor2D)
      const y = tf.reshape(b === undefined ? products : tf.add(products, b as Tensor1D), [...x.slice(0, -1), units])
      return activationOf(tf, activation)(y)
    },
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: true,
    ...overrides,
  }
}

export function activationOf(tf: TensorFlow, activation: Activation) {
  return { linear: tf.clone, relu: tf.relu, sigmoid: tf.sigmoid, tanh: tf.tanh }[activation]
}

const denseCases: readonly Case[] = [
  layer('without bias', [4, 7], 5, { bias: false }),
  layer('with bias', [4, 7], 5),
  layer('relu', [5, 9], 17, { activation: 'relu' }),
  layer('sigmoid', [5, 9], 17, { activation: 'sigmoid' }),
  layer('tanh', [5, 9], 17, { activation: 'tanh' }),
  layer('relu without bias', [4, 7], 5, { bias: false, activation: 'relu' }),
  layer('one row', [1, 33], 10, { activation: 'relu' }),
  layer('one unit', [6, 9], 1, { activation: 'sigmoid' }),
  layer('one feature', [6, 1], 3),
  layer('rank 3', [2, 3, 4], 5, { activation: 'relu' }),
  layer("LeNet's first, 400 to 256", [4, 400], 256, { activation: 'relu' }, { bench: denseForward }),
  layer("LeNet's second, 256 to 32", [4, 256], 32, { activation: 'relu' }),
  layer("LeNet's last, 32 to 10", [4, 32], 10),
]

export { denseCases, matmulCases }
