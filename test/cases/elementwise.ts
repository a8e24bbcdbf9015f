/** Elementwise operators: one number at a time, broadcasting, chains that fuse into one kernel. */
import type { Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import type { Tensor } from '../../src/index.ts'
import {
  abs,
  add,
  clip,
  div,
  equal,
  exp,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  reciprocal,
  relu,
  sigmoid,
  sign,
  sqrt,
  square,
  sub,
  tanh,
  where,
} from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import { scalar64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Benchmark, Case, InputSpec } from './case.ts'

const infinity = Number.POSITIVE_INFINITY
const nan = Number.NaN

interface UnaryOperator {
  readonly run: (x: Tensor) => Tensor
  readonly reference: (x: Array64) => Array64
  readonly tfjs: (tf: TensorFlow, x: TensorFlowTensor) => TensorFlowTensor
}

const unaryOperators = {
  neg: { run: neg, reference: reference.neg, tfjs: (tf, x) => tf.neg(x) },
  abs: { run: abs, reference: reference.abs, tfjs: (tf, x) => tf.abs(x) },
  sign: { run: sign, reference: reference.sign, tfjs: (tf, x) => tf.sign(x) },
  exp: { run: exp, reference: reference.exp, tfjs: (tf, x) => tf.exp(x) },
  log: { run: log, reference: reference.log, tfjs: (tf, x) => tf.log(x) },
  sqrt: { run: sqrt, reference: reference.sqrt, tfjs: (tf, x) => tf.sqrt(x) },
  square: { run: square, reference: reference.square, tfjs: (tf, x) => tf.square(x) },
  reciprocal: { run: reciprocal, reference: reference.reciprocal, tfjs: (tf, x) => tf.reciprocal(x) },
  sigmoid: { run: sigmoid, reference: reference.sigmoid, tfjs: (tf, x) => tf.sigmoid(x) },
  tanh: { run: tanh, reference: reference.tanh, tfjs: (tf, x) => tf.tanh(x) },
  relu: { run: relu, reference: reference.relu, tfjs: (tf, x) => tf.relu(x) },
  clip: {
    run: (x) => clip(x, -0.5, 1.25),
    reference: (x) => reference.clip(x, -0.5, 1.25),
    tfjs: (tf, x) => tf.clipByValue(x, -0.5, 1.25),
  },
} satisfies Record<string, UnaryOperator>

function unary(
  operator: keyof typeof unaryOperators,
  what: string,
  input: InputSpec,
  options: Partial<Omit<Case, 'name' | 'operator' | 'inputs' | 'run' | 'reference'>> = {},
): Case {
  const entry: UnaryOperator = unaryOperators[operator]
  return {
    name: `${operator}: ${what}`,
    operator,
    inputs: [input],
    ...entry,
    differentiable: [0],
    tfjsGradient: true,
    ...options,
  }
}

const forwardOnly = { differentiable: [], tfjsGradient: 'the forward pass is the subject' }

/** A matter of convention rather than of calculus: the derivative of x -> f(x) by elements. */
const byElement =
  (derivative: (x: number) => number) =>
  (cotangent: Array64, x: Array64): Array64[] => [
    { shape: x.shape, data: x.data.map((value, i) => derivative(value) * (cotangent.data[i] ?? nan)) },
  ]

const unaryCases: readonly Case[] = [
  unary('neg', 'a small array', { shape: [2, 3, 5], uniform: [-2, 2] }),
  unary('neg', 'rank 0', { shape: [], values: [1.5] }),
  unary('neg', 'one element', { shape: [1], values: [-3] }),
  unary(
    'neg',
    'so many elements that workgroups fold into two dimensions',
    { shape: [600_001], uniform: [-2, 2] },
    forwardOnly,
  ),
  unary('abs', 'away from 0', { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [0] }),
  unary(
    'abs',
    'the derivative at 0 is 0',
    { shape: [5], values: [-1, -0, 0, 1e-30, 2] },
    { gradients: byElement(Math.sign), tfjsGradient: 'TensorFlow.js takes -1 for the derivative of abs at 0' },
  ),
  unary('abs', 'NaN and infinities', { shape: [4], values: [nan, infinity, -infinity, -0] }, forwardOnly),
  unary('sign', 'away from 0', { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [0] }),
  unary('sign', 'zeros and infinities', { shape: [5], values: [0, -0, infinity, -infinity, 1e-30] }, forwardOnly),
  unary(
    'sign',
    'NaN',
    { shape: [3], values: [nan, 1, -1] },
    { ...forwardOnly, tfjs: 'TensorFlow.js says that the sign of NaN is 0' },
  ),
  unary('exp', 'a small array', { shape: [2, 3, 5], uniform: [-3, 3] }),
  unary('exp', 'a wide range', { shape: [257], uniform: [-60, 60] }, { tolerance: widely('exp') }),
  unary(
    'exp',
    'overflow, underflow, infinities and NaN',
    { shape: [8], values: [100, -200, infinity, -infinity, nan, 0, -0, 1e-9] },
    forwardOnly,
  ),
  unary('log', 'a small array', { shape: [2, 3, 5], uniform: [0.2, 5] }),
  unary('log', 'near 1', { shape: [64], uniform: [0.9, 1.1] }),
  unary('log', 'tiny numbers', { shape: [64], magnitudes: [-37, -20] }, { relativeSteps: true }),
  unary('log', 'huge numbers', { shape: [64], magnitudes: [20, 38] }, { relativeSteps: true }),
  unary(
    'log',
    'zero, negative numbers, infinity and NaN',
    { shape: [6], values: [0, -0, -1, infinity, nan, 1] },
    forwardOnly,
  ),
  unary('sqrt', 'a small array', { shape: [2, 3, 5], uniform: [0.2, 5] }),
  unary('sqrt', 'tiny and huge numbers', { shape: [64], magnitudes: [-30, 30] }, { relativeSteps: true }),
  unary(
    'sqrt',
    'zero, negative numbers, infinity and NaN',
    { shape: [5], values: [0, -1, infinity, nan, -infinity] },
    forwardOnly,
  ),
  unary('square', 'a small array', { shape: [2, 3, 5], uniform: [-2, 2] }),
  unary('square', 'overflow, infinities and NaN', { shape: [5], values: [1e30, -infinity, nan, 0, -3] }, forwardOnly),
  unary('reciprocal', 'a small array', { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [0], margin: 0.2 }),
  unary(
    'reciprocal',
    'zeros, infinities and NaN',
    { shape: [5], values: [0, -0, infinity, -infinity, nan] },
    forwardOnly,
  ),
  unary('sigmoid', 'a small array', { shape: [2, 3, 5], uniform: [-4, 4] }),
  unary(
    'sigmoid',
    'saturation, infinities and NaN',
    { shape: [8], values: [1e4, -1e4, 40, -40, infinity, -infinity, nan, 0] },
    forwardOnly,
  ),
  unary('sigmoid', 'no gradient is left where it saturates', { shape: [4], values: [1e4, -1e4, 200, -200] }),
  unary('tanh', 'a small array', { shape: [2, 3, 5], uniform: [-3, 3] }),
  unary('tanh', 'near 0', { shape: [64], uniform: [-0.01, 0.01] }),
  unary(
    'tanh',
    'saturation, infinities and NaN',
    { shape: [8], values: [1e4, -1e4, 40, -40, infinity, -infinity, nan, 0] },
    forwardOnly,
  ),
  unary(
    'relu',
    'away from 0',
    { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [0] },
    { bench: [[128, 28, 28, 6], [16 * 1024 * 1024]].map(reluBenchmark) },
  ),
  unary(
    'relu',
    'the derivative at 0 is 0',
    { shape: [5], values: [-1, -0, 0, 1e-30, 2] },
    { gradients: byElement((x) => (x > 0 ? 1 : 0)) },
  ),
  unary('relu', 'NaN and infinities', { shape: [5], values: [nan, infinity, -infinity, -0, 3] }, forwardOnly),
  unary('clip', 'away from its bounds', { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [-0.5, 1.25] }),
  unary(
    'clip',
    'the derivative at its bounds is 1',
    { shape: [4], values: [-0.5, 1.25, -0.75, 1.5] },
    { gradients: byElement((x) => (x >= -0.5 && x <= 1.25 ? 1 : 0)) },
  ),
  unary('clip', 'NaN and infinities', { shape: [5], values: [nan, infinity, -infinity, -0.5, 1.25] }, forwardOnly),
]

/** At the size of LeNet's first feature maps, and at one beyond all caches. */
function reluBenchmark(shape: readonly number[]): Benchmark {
  return {
    name: `elementwise relu ${shape.join('x')}`,
    bound: 'memory',
    shapes: [shape],
    tolerance: { rtol: 0, atol: 0 },
  }
}

function widely(operator: string) {
  return { rtol: 2e-5, because: `float32 rounds an argument of 60 to 4e-6, and ${operator} passes that on` }
}

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

/** One of the operands is a plain number. */
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
    'negative bases with whole exponents; the derivative by the exponent is 0',
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

/** Which axes of [2, 3, 4, 5] the second operand lacks: every subset but the empty one. */
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

function pairOf(a: readonly number[], b: readonly number[]): [InputSpec, InputSpec] {
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

const condition: InputSpec = { shape, values: Array.from({ length: 21 }, (_, i) => (i % 3 === 0 ? 1 : 0)) }

const whereCases: readonly Case[] = [
  {
    name: 'where: equal shapes',
    operator: 'where',
    inputs: [condition, some, some],
    run: (c, a, b) => where(c, a, b),
    reference: (c, a, b) => reference.where(c, a, b),
    tfjs: (tf, c, a, b) => tf.where(tf.cast(c, 'bool'), a, b),
    differentiable: [1, 2],
    tfjsGradient: true,
  },
  {
    name: 'where: everything is broadcast',
    operator: 'where',
    inputs: [
      { shape: [3, 1], values: [1, 0, 1] },
      { shape: [7], uniform: [-2, 2] },
      { shape: [2, 1, 1], uniform: [-2, 2] },
    ],
    run: (c, a, b) => where(c, a, b),
    reference: (c, a, b) => reference.where(c, a, b),
    tfjs: (tf, c, a, b) => tf.where(tf.cast(c, 'bool'), a, b),
    differentiable: [1, 2],
    tfjsGradient: true,
  },
  {
    name: 'where: a comparison chooses between a tensor and a number',
    operator: 'where',
    inputs: [{ shape, uniform: [-2, 2], awayFrom: [0.25] }],
    run: (x) => where(greater(x, 0.25), square(x), -1),
    reference: (x) => reference.where(reference.greater(x, scalar64(0.25)), reference.square(x), scalar64(-1)),
    tfjs: (tf, x) => tf.where(tf.greater(x, 0.25), tf.square(x), tf.fill(shape, -1)),
    differentiable: [0],
    tfjsGradient: 'TensorFlow.js cannot walk backward through a comparison, even where nothing comes of it',
  },
  {
    name: 'where: NaN and infinity in the branch that is not taken stay out',
    operator: 'where',
    inputs: [
      { shape: [4], values: [1, 0, 1, 0] },
      { shape: [4], values: [1, nan, 3, infinity] },
      { shape: [4], values: [nan, 2, -infinity, 4] },
    ],
    run: (c, a, b) => where(c, a, b),
    reference: (c, a, b) => reference.where(c, a, b),
    tfjs: (tf, c, a, b) => tf.where(tf.cast(c, 'bool'), a, b),
    ...forwardOnly,
  },
]

/** Sums of products of many operands: more than the eight storage buffers that a stage may bind. */
const manyInputs: readonly InputSpec[] = Array.from({ length: 11 }, () => ({ shape: [4, 5], uniform: [-1, 1] }))

function chain(
  what: string,
  inputs: readonly InputSpec[],
  calls: Pick<Case, 'run' | 'reference' | 'tfjs'>,
  options: BinaryOptions = {},
): Case {
  return {
    name: `elementwise chain: ${what}`,
    operator: 'fused',
    inputs,
    ...calls,
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: true,
    ...options,
  }
}

const chainCases: readonly Case[] = [
  chain('x * sigmoid(x)', [some], {
    run: (x) => mul(x, sigmoid(x)),
    reference: (x) => reference.mul(x, reference.sigmoid(x)),
    tfjs: (tf, x) => tf.mul(x, tf.sigmoid(x)),
  }),
  chain('log(exp(x) + 1)', [some], {
    run: (x) => log(add(exp(x), 1)),
    reference: (x) => reference.log(reference.add(reference.exp(x), scalar64(1))),
    tfjs: (tf, x) => tf.log(tf.add(tf.exp(x), 1)),
  }),
  chain('a tensor used three times', [some], {
    run: (x) => add(mul(x, x), x),
    reference: (x) => reference.add(reference.mul(x, x), x),
    tfjs: (tf, x) => tf.add(tf.mul(x, x), x),
  }),
  chain('broadcasting in the middle', [...pairOf([3, 7], [7]), { shape: [3, 1], uniform: [0.5, 2] }], {
    run: (x, row, column) => div(tanh(add(mul(x, 2), row)), column),
    reference: (x, row, column) =>
      reference.div(reference.tanh(reference.add(reference.mul(x, scalar64(2)), row)), column),
    tfjs: (tf, x, row, column) => tf.div(tf.tanh(tf.add(tf.mul(x, 2), row)), column),
  }),
  chain('small shapes first, the large one last', [...pairOf([4, 1], [1, 5]), { shape: [3, 4, 5], uniform: [-1, 1] }], {
    run: (a, b, c) => mul(sigmoid(add(a, b)), c),
    reference: (a, b, c) => reference.mul(reference.sigmoid(reference.add(a, b)), c),
    tfjs: (tf, a, b, c) => tf.mul(tf.sigmoid(tf.add(a, b)), c),
  }),
  chain('eleven operands, more than a stage may bind', manyInputs, {
    run: (...xs) => xs.reduce((total, x, i) => (i % 2 === 0 ? add(total, square(x)) : sub(total, x))),
    reference: (...xs) =>
      xs.reduce((total, x, i) => (i % 2 === 0 ? reference.add(total, reference.square(x)) : reference.sub(total, x))),
    tfjs: (tf, ...xs) => xs.reduce((total, x, i) => (i % 2 === 0 ? tf.add(total, tf.square(x)) : tf.sub(total, x))),
  }),
  chain('forty steps', [{ shape: [9], uniform: [-1, 1] }], {
    run: (x) => repeated(x, 20, (y) => add(mul(y, 0.9), 0.1)),
    reference: (x) => repeated(x, 20, (y) => reference.add(reference.mul(y, scalar64(0.9)), scalar64(0.1))),
    tfjs: (tf, x) => repeated(x, 20, (y) => tf.add(tf.mul(y, 0.9), 0.1)),
  }),
  chain('a diamond whose sides are both needed', [some], {
    run: (x) => {
      const y = tanh(x)
      return add(mul(y, exp(x)), div(y, add(square(y), 1)))
    },
    reference: (x) => {
      const y = reference.tanh(x)
      const left = reference.mul(y, reference.exp(x))
      return reference.add(left, reference.div(y, reference.add(reference.square(y), scalar64(1))))
    },
    tfjs: (tf, x) => {
      const y = tf.tanh(x)
      return tf.add(tf.mul(y, tf.exp(x)), tf.div(y, tf.add(tf.square(y), 1)))
    },
  }),
  chain(
    'a mask made by a comparison, which has no derivative',
    [{ shape, uniform: [-2, 2], awayFrom: [0.25] }],
    {
      run: (x) => mul(x, greater(x, 0.25)),
      reference: (x) => reference.mul(x, reference.greater(x, scalar64(0.25))),
      tfjs: (tf, x) => tf.mul(x, tf.greater(x, 0.25)),
    },
    { tfjsGradient: 'TensorFlow.js cannot walk backward through a comparison, even where nothing comes of it' },
  ),
  chain(
    'the same tensor on both sides',
    [apartFromZero],
    {
      run: (x) => div(x, x),
      reference: (x) => reference.div(x, x),
      tfjs: (tf, x) => tf.div(x, x),
    },
    { tolerance: { atol: 1e-6, because: 'the quotient is 1' } },
  ),
]

function repeated<T>(x: T, times: number, step: (y: T) => T): T {
  let y = x
  for (let i = 0; i < times; i++) y = step(y)
  return y
}

export const elementwiseCases: readonly Case[] = [
  ...unaryCases,
  ...plainBinaryCases,
  ...broadcastCases,
  ...numberCases,
  ...whereCases,
  ...chainCases,
]
