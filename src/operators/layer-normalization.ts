/** Layer normalisation, made of elementwise operators and reductions. */

import { WeftgradError } from '../errors.ts'
import { shapeText } from '../graph/node.ts'
import { aNumber, checkOptions } from '../options.ts'
import { add, mul, reciprocal, sqrt, square, sub } from './elementwise.ts'
import { mean } from './reduce.ts'
import type { Tensor } from './tensor.ts'
import { aTensor } from './tensor.ts'

/** Options of {@link layerNormalization}. */
export interface LayerNormOptions {
  /** Scale, f32 [features]; 1 by default. */
  readonly gamma?: Tensor | undefined
  /** Offset, f32 [features]; 0 by default. */
  readonly beta?: Tensor | undefined
  /** Added to the variance. 1e-3 by default, as in Keras. */
  readonly epsilon?: number
}

/**
 * gamma * (x - mean) / sqrt(variance + epsilon) + beta, with the mean and the biased variance of each row of the last axis (Ba,
 * Kiros & Hinton, "Layer Normalization", 2016). The gradient goes through both.
 * @throws WeftgradError 'shape' if x has no axis, or gamma or beta are not [features].
 */
export function layerNormalization(x: Tensor, options: LayerNormOptions = {}): Tensor {
  const kinds = { gamma: aTensor, beta: aTensor, epsilon: aNumber }
  const { gamma, beta, epsilon = 1e-3 } = checkOptions('layerNormalization', options, kinds)
  const features = x.shape.at(-1)
  for (const one of [gamma, beta])
    if (features === undefined || (one !== undefined && (one.shape.length !== 1 || one.shape[0] !== features)))
      throw new WeftgradError(
        'shape',
        `layerNormalization: got ${[x, ...(one === undefined ? [] : [one])].map(({ shape }) => shapeText(shape)).join(' and ')}; gamma and beta have one number per position of the last axis.`,
      )
  const centered = sub(x, mean(x, { axes: -1, keepDims: true }))
  const variance = mean(square(centered), { axes: -1, keepDims: true })
  const normal = mul(centered, reciprocal(sqrt(add(variance, epsilon))))
  const scaled = gamma === undefined ? normal : mul(normal, gamma)
  return beta === undefined ? scaled : add(scaled, beta)
}
