/** Layer normalisation, built from elementwise operators and reductions. */

import { checkOptions } from '../options.ts'
import { normalizationKinds, normalized, refuseOtherShapes } from './batch-normalization.ts'
import { refuse } from './checks.ts'
import { square, sub } from './elementwise.ts'
import { mean } from './reduce.ts'
import type { Tensor } from './tensor.ts'

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
 * gamma * (x - mean) / sqrt(variance + epsilon) + beta, with the mean and biased variance of each row along the last
 * axis (Ba, Kiros & Hinton, "Layer Normalization", 2016). The gradient flows through both.
 * @throws WeftgradError 'shape' if x has no axis, or gamma or beta are not [features].
 */
export function layerNormalization(x: Tensor, options: LayerNormOptions = {}): Tensor {
  const { gamma, beta, epsilon = 1e-3 } = checkOptions('layerNormalization', options, normalizationKinds)
  if (x.shape.length < 1) refuse('layerNormalization', [x.value.type], 'it needs at least one axis')
  const expected = 'gamma and beta have one number per position of the last axis'
  refuseOtherShapes('layerNormalization', x, [gamma, beta], expected)
  const centered = sub(x, mean(x, { axes: -1, keepDims: true }))
  const variance = mean(square(centered), { axes: -1, keepDims: true })
  return normalized(centered, variance, epsilon, gamma, beta)
}
