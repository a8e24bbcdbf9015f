/** Activations beyond relu, sigmoid and tanh, alone and after a layer. */
import type { Tensor } from '../../src/index.ts'
import { conv2d, dense, erf, gelu } from '../../src/index.ts'
import * as reference from '../reference/index.ts'
import type { Case, InputSpec } from './case.ts'
import { byElement, forwardOnly } from './case.ts'

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number
const noGelu = 'TensorFlow.js has no GELU among its operators'

const kinds = {
  exact: { run: (x: Tensor) => gelu(x), reference: reference.gelu },
  'by tanh': { run: (x: Tensor) => gelu(x, { approximate: true }), reference: reference.geluTanh },
} as const

function geluCases(kind: keyof typeof kinds): readonly Case[] {
  const one = (what: string, input: InputSpec, options: Partial<Case> = {}): Case => ({
    ...{ name: `gelu: ${kind}, ${what}`, operator: 'gelu', inputs: [input], ...kinds[kind], tfjs: noGelu },
    ...{ differentiable: [0], tfjsGradient: noGelu, ...options },
  })
  return [
    one('a small array', { shape: [2, 3, 5], uniform: [-3, 3] }),
    one('near 0', { shape: [64], uniform: [-0.01, 0.01] }),
    one(
      'no gradient is left where it saturates',
      { shape: [6], values: [1e4, -1e4, 1e30, -1e30, infinity, -infinity] },
      { gradients: byElement((x) => (x > 0 ? 1 : 0)) },
    ),
    one(
      'saturation, infinities and NaN',
      { shape: [8], values: [1e4, -1e4, 20, -20, infinity, -infinity, nan, 0] },
      forwardOnly,
    ),
  ]
}

const layers: readonly Case[] = [
  {
    name: 'dense: gelu',
    operator: 'dense',
    inputs: [
      { shape: [5, 9], uniform: [-1, 1] },
      { shape: [9, 17], uniform: [-0.5, 0.5] },
      { shape: [17], uniform: [-0.5, 0.5] },
    ],
    run: (x, w, b) => dense(x, w, b, { activation: gelu }),
    reference: (x, w, b) => reference.gelu(reference.dense(x, w, b)),
    tfjs: noGelu,
    differentiable: [0, 1, 2],
    tfjsGradient: noGelu,
  },
  {
    name: 'conv2d: gelu',
    operator: 'conv2d',
    inputs: [
      { shape: [2, 6, 6, 3], uniform: [-1, 1] },
      { shape: [3, 3, 3, 5], uniform: [-0.4, 0.4] },
      { shape: [5], uniform: [-0.5, 0.5] },
    ],
    run: (x, w, b) => conv2d(x, w, b, { activation: gelu }),
    reference: (x, w, b) => reference.gelu(reference.conv2d(x, w, b)),
    tfjs: noGelu,
    differentiable: [0, 1, 2],
    tfjsGradient: noGelu,
  },
]

function erfCase(what: string, input: InputSpec, options: Partial<Case> = {}): Case {
  return {
    ...{ name: `erf: ${what}`, operator: 'erf', inputs: [input], run: erf, reference: reference.erf },
    ...{ tfjs: (tf, x) => tf.erf(x), differentiable: [0], tfjsGradient: true, ...options },
  }
}

export const activationCases: readonly Case[] = [
  erfCase('a small array', { shape: [2, 3, 5], uniform: [-3, 3] }),
  erfCase('near 0', { shape: [64], uniform: [-0.01, 0.01] }),
  erfCase(
    'saturation, infinities and NaN',
    { shape: [6], values: [10, -10, infinity, -infinity, nan, 0] },
    forwardOnly,
  ),
  ...geluCases('exact'),
  ...geluCases('by tanh'),
  ...layers,
]
