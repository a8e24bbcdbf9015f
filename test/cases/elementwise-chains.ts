/** `where`, and chains of elementwise operators, which fusion turns into one kernel. */
import { add, div, exp, greater, log, mul, sigmoid, square, sub, tanh, where } from '../../src/index.ts'
import { scalar64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import { pairOf } from './binary.ts'
import type { Case, InputSpec } from './case.ts'
import { forwardOnly } from './case.ts'

const infinity = Number.POSITIVE_INFINITY
const nan = Number.NaN

const shape = [3, 7]
const some: InputSpec = { shape, uniform: [-2, 2] }
const apartFromZero: InputSpec = { shape, uniform: [-2, 2], awayFrom: [0], margin: 0.3 }
const condition: InputSpec = { shape, values: Array.from({ length: 21 }, (_, i) => (i % 3 === 0 ? 1 : 0)) }

export const whereCases: readonly Case[] = [
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
    tfjsGradient: 'TensorFlow.js cannot differentiate through a comparison, even if its gradient is zero',
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
  options: Partial<Case> = {},
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

export const chainCases: readonly Case[] = [
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
    { tfjsGradient: 'TensorFlow.js cannot differentiate through a comparison, even if its gradient is zero' },
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
