/** Activations composed of elementwise operators. */
import type { Tensor as TensorFlowTensor } from '@tensorflow/tfjs'
import type { Tensor } from '../../src/index.ts'
import { elu, hardSigmoid, hardSilu, leakyRelu, mish, relu6, selu, silu, softplus } from '../../src/index.ts'
import { unary } from '../reference/elementwise.ts'
import type { TensorFlow } from '../support/tfjs.ts'
import type { Case } from './case.ts'
import { forwardOnly } from './case.ts'

interface Composed {
  readonly run: (x: Tensor) => Tensor
  readonly by: (x: number) => number
  readonly tfjs: (tf: TensorFlow, x: TensorFlowTensor) => TensorFlowTensor
  /** Where it has no derivative. */
  readonly kinks?: readonly number[]
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x))
const soft = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
const hard = (x: number): number => Math.min(Math.max(x + 3, 0), 6) / 6
const hardly = (tf: TensorFlow, x: TensorFlowTensor): TensorFlowTensor => tf.div(tf.relu6(tf.add(x, 3)), 6)

const kinds: Readonly<Record<string, Composed>> = {
  leakyRelu: {
    ...{ run: leakyRelu, by: (x) => (x > 0 ? x : 0.2 * x), tfjs: (tf, x) => tf.leakyRelu(x, 0.2), kinks: [0] },
  },
  elu: { run: elu, by: (x) => (x > 0 ? x : Math.expm1(x)), tfjs: (tf, x) => tf.elu(x), kinks: [0] },
  selu: {
    run: selu,
    by: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
    tfjs: (tf, x) => tf.selu(x),
    kinks: [0],
  },
  silu: { run: silu, by: (x) => x * logistic(x), tfjs: (tf, x) => tf.mul(x, tf.sigmoid(x)) },
  softplus: { run: softplus, by: soft, tfjs: (tf, x) => tf.softplus(x), kinks: [0] },
  mish: {
    run: mish,
    by: (x) => x * Math.tanh(soft(x)),
    tfjs: (tf, x) => tf.mul(x, tf.tanh(tf.softplus(x))),
    kinks: [0],
  },
  relu6: { run: relu6, by: (x) => Math.min(Math.max(x, 0), 6), tfjs: (tf, x) => tf.relu6(x), kinks: [0, 6] },
  hardSigmoid: { run: hardSigmoid, by: hard, tfjs: hardly, kinks: [-3, 3] },
  hardSilu: { run: hardSilu, by: (x) => x * hard(x), tfjs: (tf, x) => tf.mul(x, hardly(tf, x)), kinks: [-3, 3] },
}

export const composedActivationCases: readonly Case[] = Object.entries(kinds).flatMap(
  ([operator, { run, by, tfjs, kinks = [] }]): Case[] => {
    const shared = { operator, run, reference: unary(by), tfjs, tfjsGradient: true } as const
    return [
      {
        ...shared,
        name: `${operator}: a small array`,
        inputs: [{ shape: [4, 3, 5], uniform: [-8, 8], awayFrom: kinks }],
        differentiable: [0],
      },
      {
        ...shared,
        name: `${operator}: zeros, large numbers and NaN`,
        inputs: [{ shape: [6], values: [0, -0, 80, -80, Number.NaN, 1e-6] }],
        ...forwardOnly,
      },
    ]
  },
)
