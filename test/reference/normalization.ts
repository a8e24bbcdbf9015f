/** Batch normalisation, softmax and the losses built on it. */
import type { Array64 } from './array64.ts'
import { at, build } from './array64.ts'
import { add, div, exp, log, mul, sqrt, square, sub, unary } from './elementwise.ts'
import { max, mean, sum } from './reduce.ts'

export interface BatchNormalizationInputs {
  readonly gamma?: Array64
  readonly beta?: Array64
  readonly mean: Array64
  readonly variance: Array64
  readonly epsilon?: number
}

export function batchNormalization(x: Array64, options: BatchNormalizationInputs): Array64 {
  const { gamma, beta, epsilon = 1e-3 } = options
  const deviation = sqrt(unary((variance) => variance + epsilon)(options.variance))
  const normalized = div(sub(x, options.mean), deviation)
  const scaled = gamma === undefined ? normalized : mul(normalized, gamma)
  return beta === undefined ? scaled : add(scaled, beta)
}

/** Uses the batch's own mean and (biased) variance, over all axes but the last. */
export function batchNormalizationTraining(
  x: Array64,
  options: Omit<BatchNormalizationInputs, 'mean' | 'variance'> = {},
): { readonly y: Array64; readonly mean: Array64; readonly variance: Array64 } {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis)
  const average = mean(x, { axes })
  const variance = mean(square(sub(x, average)), { axes })
  return { y: batchNormalization(x, { ...options, mean: average, variance }), mean: average, variance }
}

/** Log-softmax over the last axis. */
export function logSoftmax(x: Array64): Array64 {
  const shifted = sub(x, max(x, { axes: -1, keepDims: true }))
  return sub(shifted, log(sum(exp(shifted), { axes: -1, keepDims: true })))
}

export function softmax(x: Array64): Array64 {
  const weights = exp(sub(x, max(x, { axes: -1, keepDims: true })))
  return div(weights, sum(weights, { axes: -1, keepDims: true }))
}

/** Labels are class numbers [rows] (an invalid one gives NaN), or a distribution [rows, classes]. */
export function softmaxCrossEntropy(
  logits: Array64,
  labels: Array64,
  reduction: 'mean' | 'sum' | 'none' = 'mean',
): Array64 {
  const logProbabilities = logSoftmax(logits)
  const [rows = 0, classes = 0] = logits.shape
  const losses = build([rows], ([row = 0]) => {
    if (labels.shape.length === 1) {
      const label = at(labels, [row])
      return label < classes ? -at(logProbabilities, [row, label]) : Number.NaN
    }
    let loss = 0
    for (let label = 0; label < classes; label++) {
      const weight = at(labels, [row, label])
      // A class of weight 0 costs nothing, even if its log-probability is minus infinity.
      if (weight !== 0) loss -= weight * at(logProbabilities, [row, label])
    }
    return loss
  })
  if (reduction === 'none') return losses
  return reduction === 'mean' ? mean(losses) : sum(losses)
}

/**
 * The gradient of the logits for class-number labels, given the cotangents of the rows' losses: NaN in the row of a
 * class that does not exist.
 */
export function softmaxCrossEntropyGradient(cotangent: Array64, logits: Array64, labels: Array64): Array64 {
  const [, classes = 0] = logits.shape
  const probabilities = softmax(logits)
  return build(logits.shape, ([row = 0, label = 0]) => {
    const wanted = at(labels, [row])
    if (wanted >= classes) return Number.NaN
    return (at(probabilities, [row, label]) - (label === wanted ? 1 : 0)) * at(cotangent, [row])
  })
}
