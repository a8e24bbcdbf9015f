/** Unary elementwise operators: ordinary numbers, kinks, and the ends of float32. */
import type { Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import type { Tensor } from '../../src/index.ts'
import { abs, clip, exp, log, neg, reciprocal, relu, sigmoid, sign, sqrt, square, tanh } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Benchmark, Case, InputSpec } from './case.ts'
import { byElement, forwardOnly } from './case.ts'

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

export const unaryCases: readonly Case[] = [
  unary('neg', 'a small array', { shape: [2, 3, 5], uniform: [-2, 2] }),
  unary('neg', 'rank 0', { shape: [], values: [1.5] }),
  unary('neg', 'one element', { shape: [1], values: [-3] }),
  unary(
    'neg',
    'enough elements to fold workgroups into two dimensions',
    { shape: [600_001], uniform: [-2, 2] },
    forwardOnly,
  ),
  unary('abs', 'away from 0', { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [0] }),
  unary(
    'abs',
    'the derivative at 0 is 0',
    { shape: [5], values: [-1, -0, 0, 1e-30, 2] },
    { gradients: byElement(Math.sign), tfjsGradient: 'TensorFlow.js gives -1 as the derivative of abs at 0' },
  ),
  unary('abs', 'NaN and infinities', { shape: [4], values: [nan, infinity, -infinity, -0] }, forwardOnly),
  unary('sign', 'away from 0', { shape: [2, 3, 5], uniform: [-2, 2], awayFrom: [0] }),
  unary('sign', 'zeros and infinities', { shape: [5], values: [0, -0, infinity, -infinity, 1e-30] }, forwardOnly),
  unary(
    'sign',
    'NaN',
    { shape: [3], values: [nan, 1, -1] },
    { ...forwardOnly, tfjs: 'TensorFlow.js gives 0 for the sign of NaN' },
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
  unary('sigmoid', 'the gradient vanishes where it saturates', { shape: [4], values: [1e4, -1e4, 200, -200] }),
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

/** Benchmarks at the size of LeNet's first feature maps, and at one that exceeds all caches. */
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
