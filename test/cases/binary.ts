/** Binary elementwise operators: equal shapes, ties, broadcasting, and plain numbers as operands. */
import type { Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import type { Tensor } from '../../src/index.ts'
import {
  add,
  div,
  equal,
  greater,
  greaterEqual,
  less,
  lessEqual,
  maximum,
  minimum,
  mul,
  pow,
  sub,
} from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import { scalar64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'

const infinity = Number.POSITIVE_INFINITY
const nan = Number.NaN

interface BinaryOperator {
  readonly run: (a: Tensor | number, b: Tensor | number) => Tensor
  readonly reference: (a: Array64, b: Array64) => Array64
  readonly tfjs: (tf: TensorFlow, a: TensorFlowTensor | number, b: TensorFlowTensor | number) => TensorFlowTensor
}

const binaryOperators = {
  add: { run: add, reference: reference.add, tfjs: (tf, a, b) => tf.add(a, b) },
  sub: { run: sub, reference: reference.sub, tfjs: (tf, a, b) => tf.sub(a, b) },
  mul: { run: mul, reference: reference.mul, tfjs: (tf, a, b) => tf.mul(a, b) },
  div: { run: div, reference: reference.div, tfjs: (tf, a, b) => tf.div(a, b) },
  pow: { run: pow, reference: reference.pow, tfjs: (tf, a, b) => tf.pow(a, b) },
  maximum: { run: maximum, reference: reference.maximum, tfjs: (tf, a, b) => tf.maximum(a, b) },
  minimum: { run: minimum, reference: reference.minimum, tfjs: (tf, a, b) => tf.minimum(a, b) },
  greater: { run: greater, reference: reference.greater, tfjs: (tf, a, b) => tf.greater(a, b) },
  greaterEqual: { run: greaterEqual, reference: reference.greaterEqual, tfjs: (tf, a, b) => tf.greaterEqual(a, b) },
  less: { run: less, reference: reference.less, tfjs: (tf, a, b) => tf.less(a, b) },
  lessEqual: { run: lessEqual, reference: reference.lessEqual, tfjs: (tf, a, b) => tf.lessEqual(a, b) },
  equal: { run: equal, reference: reference.equal, tfjs: (tf, a, b) => tf.equal(a, b) },
} satisfies Record<string, BinaryOperator>

type BinaryOptions = Partial<Omit<Case, 'name' | 'operator' | 'inputs' | 'run' | 'reference'>>

function binary(
  operator: keyof typeof binaryOperators,
  what: string,
  a: InputSpec,
  b: InputSpec,
  options: BinaryOptions = {},
): Case {
  const entry: BinaryOperator = binaryOperators[operator]
  return {
    name: `${operator}: ${what}`,
    operator,
    inputs: [a, b],
    ...entry,
    differentiable: [0, 1],
    tfjsGradient: true,
    ...options,
  }
}

/** A case in which one operand is a plain number. */
function withNumber(
  operator: keyof typeof binaryOperators,
  what: string,
  left: InputSpec | number,
  right: InputSpec | number,
  options: BinaryOptions = {},
): Case {
  const entry: BinaryOperator = binaryOperators[operator]
  const input = typeof left === 'number' ? right : left
  if (typeof input === 'number') throw new TypeError('one operand must be an array')
  const both = <T>(x: T, lift: (value: number) => T): [T, T] => [
    typeof left === 'number' ? lift(left) : x,
    typeof right === 'number' ? lift(right) : x,
  ]
  const plain = (value: number): Tensor | number => value
  return {
    name: `${operator}: ${what}`,
    operator,
    inputs: [input],
    run: (x) => entry.run(...both<Tensor | number>(x, plain)),
    reference: (x) => entry.reference(...both(x, scalar64)),
    tfjs: (tf, x) => entry.tfjs(tf, ...both<TensorFlowTensor | number>(x, (value) => value)),
    differentiable: [0],
    tfjsGradient: true,
    ...options,
  }
}

const shape = [3, 7]
const some: InputSpec = { shape, uniform: [-2, 2] }
const positive: InputSpec = { shape, uniform: [0.3, 3] }
const apartFromZero: InputSpec = { shape, uniform: [-2, 2], awayFrom: [0], margin: 0.3 }
const specials = [nan, infinity, -infinity, 0, -0, 1]
const everyFirst: InputSpec = { shape: [6, 1], values: specials }
const everySecond: InputSpec = { shape: [1, 6], values: specials }

const firstTakesAll: BinaryOptions = {
  gradients: (cotangent) => [cotangent, { ...cotangent, data: cotangent.data.map(() => 0) }],
}

const plainBinaryCases: readonly Case[] = [
  binary('add', 'equal shapes', some, some),
  binary('sub', 'equal shapes', some, some),
  binary('mul', 'equal shapes', some, some),
  binary('div', 'equal shapes', some, apartFromZero),
  binary('pow', 'positive bases', positive, some),
  binary(
    'pow',
    'negative bases with whole exponents; the derivative with respect to the exponent is 0',
    { shape: [4], values: [-2, -1.5, -3, -0.5] },
    { shape: [4], values: [3, 2, -1, 4] },
    {
      gradients: (cotangent, a, b) => [
        reference.mul(cotangent, reference.mul(b, reference.pow(a, reference.sub(b, scalar64(1))))),
        { ...cotangent, data: cotangent.data.map(() => 0) },
      ],
    },
  ),
  binary('maximum', 'no ties', { shape, distinct: [-2, 2] }, { shape, distinct: [-2.1, 2.2] }),
  binary('minimum', 'no ties', { shape, distinct: [-2, 2] }, { shape, distinct: [-2.1, 2.2] }),
  binary('maximum', 'a tie gives everything to the first', ties(), ties(), firstTakesAll),
  binary('minimum', 'a tie gives everything to the first', ties(), ties(), firstTakesAll),
  binary('greater', 'with equal elements', { shape: [5], values: [1, 2, 3, -0, 5] }, fewEqual(), forwardOnly),
  binary('greaterEqual', 'with equal elements', { shape: [5], values: [1, 2, 3, -0, 5] }, fewEqual(), forwardOnly),
  binary('less', 'with equal elements', { shape: [5], values: [1, 2, 3, -0, 5] }, fewEqual(), forwardOnly),
  binary('lessEqual', 'with equal elements', { shape: [5], values: [1, 2, 3, -0, 5] }, fewEqual(), forwardOnly),
  binary('equal', 'with equal elements', { shape: [5], values: [1, 2, 3, -0, 5] }, fewEqual(), forwardOnly),
  // Every pair of NaN, infinities, zeros of both signs and 1.
  ...(['add', 'sub', 'mul', 'div', 'maximum', 'minimum'] as const).map((operator) =>
    binary(operator, 'NaN, infinities and zeros in all pairs', everyFirst, everySecond, forwardOnly),
  ),
  ...(['greater', 'greaterEqual', 'less', 'lessEqual', 'equal'] as const).map((operator) =>
    binary(operator, 'NaN, infinities and zeros in all pairs', everyFirst, everySecond, forwardOnly),
  ),
]

function ties(): InputSpec {
  return { shape: [3], values: [1, -2, 0] }
}
function fewEqual(): InputSpec {
  return { shape: [5], values: [1, 3, 2, 0, 5] }
}

/** The axes of [2, 3, 4, 5] that the second operand lacks: every subset but the empty one. */
const subsets = Array.from({ length: 15 }, (_, i) => [0, 1, 2, 3].filter((axis) => ((i + 1) >> axis) & 1))

const rank4 = [2, 3, 4, 5]

const broadcastCases: readonly Case[] = [
  ...subsets.map((axes) =>
    binary(
      'mul',
      `the second operand is broadcast along axes ${axes.join(', ')}`,
      { shape: rank4, uniform: [-2, 2] },
      { shape: rank4.map((extent, axis) => (axes.includes(axis) ? 1 : extent)), uniform: [-2, 2] },
    ),
  ),
  binary('add', 'both operands are broadcast', ...pairOf([2, 1, 4, 1], [1, 3, 1, 5])),
  binary('sub', 'the first operand is broadcast', ...pairOf([4, 1], [2, 3, 4, 5])),
  binary('add', 'a row to a matrix', ...pairOf([17, 5], [5])),
  binary('add', 'a matrix to a row', ...pairOf([5], [17, 5])),
  binary('sub', 'rank 0 from rank 2', ...pairOf([3, 4], [])),
  binary('mul', 'rank 0 with rank 0', ...pairOf([], [])),
  binary('mul', 'one element with rank 0', ...pairOf([1], [])),
  binary('div', 'a column by a row', { shape: [3, 1], uniform: [-2, 2] }, { shape: [1, 4], uniform: [0.5, 2] }),
  binary(
    'pow',
    'a column to the power of a row',
    { shape: [3, 1], uniform: [0.5, 2] },
    { shape: [4], uniform: [-2, 2] },
  ),
  binary(
    'maximum',
    'a column and a row without ties',
    { shape: [4, 1], distinct: [-2, 2] },
    { shape: [1, 5], distinct: [-2.1, 2.2] },
    { tfjsGradient: 'TensorFlow.js does not sum the gradient of maximum over broadcast axes' },
  ),
  binary('add', 'a channel bias to images', ...pairOf([2, 5, 5, 17], [17])),
  binary('mul', 'rank 5', ...pairOf([2, 1, 2, 1, 3], [2, 3, 1, 2, 1])),
  binary('add', 'an axis in the middle and one at the end', ...pairOf([3, 4, 1, 2], [3, 1, 5, 1])),
]

export function pairOf(a: readonly number[], b: readonly number[]): [InputSpec, InputSpec] {
  return [
    { shape: a, uniform: [-2, 2] },
    { shape: b, uniform: [-2, 2] },
  ]
}

const numberCases: readonly Case[] = [
  withNumber('add', 'a number on the right', some, 1.5),
  withNumber('sub', 'a number on the left', 1, some),
  withNumber('sub', 'a number on the right', some, 0.25),
  withNumber('mul', 'a number on the left', -3, some),
  withNumber('div', 'a number on the left', 2, apartFromZero),
  withNumber('div', 'a number on the right', some, 3),
  withNumber('maximum', 'with the number 0.5', { shape, uniform: [-2, 2], awayFrom: [0.5] }, 0.5),
  withNumber('minimum', 'with the number -0.5', { shape, uniform: [-2, 2], awayFrom: [-0.5] }, -0.5),
  withNumber('greater', 'than a number', some, 0.5, forwardOnly),
  withNumber('less', 'a number on the left', 0.5, some, forwardOnly),
  withNumber('pow', 'squares of numbers of both signs', some, 2),
  withNumber('pow', 'cubes of numbers of both signs', some, 3),
  withNumber('pow', 'square roots', positive, 0.5),
  withNumber('pow', 'reciprocals', apartFromZero, -1),
  withNumber('pow', 'powers of 2', 2, some),
  withNumber('pow', 'the square of 0 has gradient 0', { shape: [3], values: [0, 1, -1] }, 2, {
    tfjsGradient: true,
  }),
  withNumber('pow', 'anything to the power of 0 is 1', { shape: [4], values: [0, 2, -2, infinity] }, 0, forwardOnly),
]

export const binaryCases: readonly Case[] = [...plainBinaryCases, ...broadcastCases, ...numberCases]
