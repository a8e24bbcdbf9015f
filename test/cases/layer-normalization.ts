/** Layer normalisation. */
import type { Tensor } from '../../src/index.ts'
import { layerNormalization } from '../../src/index.ts'
import type { Array64 } from '../reference/array64.ts'
import * as reference from '../reference/index.ts'
import type { Case, InputSpec } from './case.ts'

const rounded = 'the mean of numbers near 100 is rounded to 8e-6'
const noLayerNorm = 'TensorFlow.js has layer normalisation only as a layer'

function referenceOf(x: Array64, gamma: Array64 | undefined, beta: Array64 | undefined, epsilon: number): Array64 {
  const over = { axes: -1, keepDims: true }
  const centered = reference.sub(x, reference.mean(x, over))
  const variance = reference.mean(reference.square(centered), over)
  const normal = reference.div(centered, reference.sqrt(reference.unary((v) => v + epsilon)(variance)))
  const scaled = gamma === undefined ? normal : reference.mul(normal, gamma)
  return beta === undefined ? scaled : reference.add(scaled, beta)
}

function normalization(what: string, x: InputSpec, { affine = true, epsilon = 1e-3 } = {}): Case {
  const features = [x.shape.at(-1) ?? 1]
  const inputs: InputSpec[] = [x]
  if (affine) inputs.push({ shape: features, uniform: [0.5, 2] }, { shape: features, uniform: [-1, 1] })
  return {
    name: `layerNormalization: ${what}`,
    operator: 'layerNormalization',
    inputs,
    run: (input: Tensor, gamma?: Tensor, beta?: Tensor) => layerNormalization(input, { gamma, beta, epsilon }),
    reference: (input, gamma, beta) => referenceOf(input, gamma, beta, epsilon),
    tfjs: noLayerNorm,
    differentiable: inputs.map((_, i) => i),
    tfjsGradient: noLayerNorm,
  }
}

export const layerNormalizationCases: readonly Case[] = [
  normalization('rows', { shape: [4, 7], uniform: [-2, 2] }),
  normalization('without scale and offset', { shape: [4, 7], uniform: [-2, 2] }, { affine: false }),
  normalization('rank 4, another epsilon', { shape: [2, 3, 2, 17], uniform: [-2, 2] }, { epsilon: 1e-6 }),
  normalization('one row', { shape: [33], uniform: [-1, 3] }),
  {
    ...normalization('far from 0', { shape: [3, 65], uniform: [98, 102] }),
    tolerance: { atol: 1.5e-5, because: rounded },
    gradientTolerance: { atol: 1.5e-5, because: rounded },
  },
]
