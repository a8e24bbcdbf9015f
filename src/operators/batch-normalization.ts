/** Batch normalisation, built from elementwise operators and reductions. */

import { aNumber, checkOptions, required } from '../options.ts'
import { refuse } from './checks.ts'
import { add, mul, reciprocal, sqrt, square, sub } from './elementwise.ts'
import { mean } from './reduce.ts'
import type { Tensor } from './tensor.ts'
import { aTensor } from './tensor.ts'

/** Options of batch normalisation. */
export interface BatchNormOptions {
  /** Scale, f32 [channels]; 1 by default. */
  readonly gamma?: Tensor | undefined
  /** Offset, f32 [channels]; 0 by default. */
  readonly beta?: Tensor | undefined
  /** Added to the variance. 1e-3 by default, as in Keras. */
  readonly epsilon?: number
}

export const normalizationKinds = { gamma: aTensor, beta: aTensor, epsilon: aNumber }

/**
 * Batch normalisation at inference (Ioffe & Szegedy, "Batch Normalization", 2015): gamma * (x - mean) / sqrt(variance +
 * epsilon) + beta, with given statistics, one number per channel (the last axis). Built from elementwise operators,
 * which fuse.
 * @throws WeftgradError 'shape' if mean, variance, gamma or beta are not [channels].
 */
export function batchNormalization(x: Tensor, options: BatchNormOptions & { mean: Tensor; variance: Tensor }): Tensor {
  const kinds = { ...normalizationKinds, mean: required(aTensor), variance: required(aTensor) }
  const { gamma, beta, mean: center, variance, epsilon = 1e-3 } = checkOptions('batchNormalization', options, kinds)
  const expected = 'mean, variance, gamma and beta have one number per channel (the last axis)'
  refuseOtherShapes('batchNormalization', x, [center, variance, gamma, beta], expected)
  return normalized(sub(x, center), variance, epsilon, gamma, beta)
}

/** Throws 'shape' unless each tensor has one number per position of x's last axis. */
export function refuseOtherShapes(
  operator: string,
  x: Tensor,
  others: readonly (Tensor | undefined)[],
  expected: string,
): void {
  for (const one of others)
    if (one !== undefined && (one.shape.length !== 1 || one.shape[0] !== x.shape.at(-1)))
      refuse(operator, [x.value.type, one.value.type], expected)
}

/** gamma * centered / sqrt(variance + epsilon) + beta. */
export function normalized(centered: Tensor, variance: Tensor, epsilon: number, gamma?: Tensor, beta?: Tensor): Tensor {
  const normal = mul(centered, reciprocal(sqrt(add(variance, epsilon))))
  const scaled = gamma === undefined ? normal : mul(normal, gamma)
  return beta === undefined ? scaled : add(scaled, beta)
}

/**
 * Batch normalisation in training (Ioffe & Szegedy 2015, algorithm 1), with the batch's own mean and variance over all
 * axes but the last. It also returns them, for moving statistics. The variance is biased (divided by n). The gradient
 * flows through both.
 * @throws WeftgradError 'shape' if gamma or beta are not [channels].
 */
export function batchNormalizationTraining(
  x: Tensor,
  options: BatchNormOptions = {},
): {
  /** The normalised numbers, in the shape of x. */
  readonly y: Tensor
  /** Mean per channel, f32 [channels]. */
  readonly mean: Tensor
  /** Variance per channel, f32 [channels]. */
  readonly variance: Tensor
} {
  checkOptions('batchNormalizationTraining', options, normalizationKinds)
  const axes = x.shape.slice(0, -1).map((_, axis) => axis)
  const center = mean(x, { axes })
  const variance = mean(square(sub(x, center)), { axes })
  return { y: batchNormalization(x, { ...options, mean: center, variance }), mean: center, variance }
}
