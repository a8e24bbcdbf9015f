/** Metrics as values, to give to `fit` and `evaluate`. Losses are metrics too. Names and defaults are Keras'. */

import { argmax, concatenate, equal, greater, lessEqual, mul, reshape, sum, toF32 } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { checkOptions, checkValue, countFrom1, positive } from '../options.ts'
import { oneHot, sameSize } from './losses.ts'
import type { Metric } from './objective.ts'
import { countedAccuracy, misfit, rowMean } from './objective.ts'

/**
 * Share of the rows whose largest output is at the target: a class number, or the largest of its numbers. An output of
 * one number is compared with 0.5, and its target is 0 or 1.
 */
export const accuracy = (): Metric => ({ ...countedAccuracy, rows: accuracyRows })

function accuracyRows(output: Tensor, target: Tensor): Tensor {
  const classes = output.shape.at(-1) ?? 1
  if (classes === 1 || output.shape.length < 2)
    return rowMean(equal(greater(output, 0.5), greater(sameSize('accuracy', output, target), 0.5)))
  return rowMean(equal(toF32(argmax(output)), classNumbersOf('accuracy', output, target)))
}

/**
 * Share of the rows whose class is among the `k` (5 by default) largest outputs, [batch, classes]. Outputs equal to the
 * class' own do not push it out.
 * @throws WeftgradError 'argument' for a k that is not a positive whole number.
 */
export function topKAccuracy(k = 5): Metric {
  checkValue('topKAccuracy: k', k, countFrom1)
  return {
    name: `top${k}Accuracy`,
    higherIsBetter: true,
    rows(output, target) {
      const isOwn = oneHot(classNumbersOf('topKAccuracy', output, target), output.shape.at(-1) ?? 1)
      const own = sum(mul(output, isOwn), { axes: -1, keepDims: true })
      return lessEqual(sum(greater(output, own), { axes: -1 }), k - 1)
    },
  }
}

/** Options of metrics that compare outputs with a threshold. */
export interface ThresholdOptions {
  /** Outputs above it mean yes. 0.5 by default. */
  readonly threshold?: number
}

const threshold = { threshold: positive }

/**
 * Share of a row's numbers that are on the target's side of a threshold; the target is 0 or 1 in the output's shape.
 * @throws WeftgradError 'argument' for a threshold that is not positive.
 */
export function binaryAccuracy(options: ThresholdOptions = {}): Metric {
  const { threshold: limit = 0.5 } = checkOptions('binaryAccuracy', options, threshold)
  return {
    name: 'binaryAccuracy',
    settings: `threshold ${limit}`,
    higherIsBetter: true,
    rows: (output, target) =>
      rowMean(equal(greater(output, limit), greater(sameSize('binaryAccuracy', output, target), 0.5))),
  }
}

/** Of all that is predicted as a class, the share that belongs to it. See {@link f1Score} for classes and means. */
export const precision = (options: ThresholdOptions = {}): Metric =>
  countingMetric('precision', options, (hits, predicted) => quotient(hits, predicted))

/** Of all that belongs to a class, the share that is predicted as it. See {@link f1Score} for classes and means. */
export const recall = (options: ThresholdOptions = {}): Metric =>
  countingMetric('recall', options, (hits, _, actual) => quotient(hits, actual))

/**
 * The harmonic mean of precision and recall. Outputs [batch, classes] with class numbers are predicted by their largest
 * number, and the result is the mean over the classes (macro average). Outputs with targets of 0 and 1 in their shape are
 * predicted by a threshold, each number for itself, and counted together. 0 / 0 counts as 0.
 * @throws WeftgradError 'argument' for a threshold that is not positive.
 */
export const f1Score = (options: ThresholdOptions = {}): Metric =>
  countingMetric('f1Score', options, (hits, predicted, actual) => quotient(2 * hits, predicted + actual))

function countingMetric(
  name: string,
  options: ThresholdOptions,
  value: (hits: number, predicted: number, actual: number) => number,
): Metric {
  const { threshold: limit = 0.5 } = checkOptions(name, options, threshold)
  return {
    name,
    settings: `threshold ${limit}`,
    higherIsBetter: true,
    rows(output, target) {
      const classes = output.shape.at(-1) ?? 1
      const isSparse = target.dtype === 'u32' && output.shape.length === 2 && classes > 1
      if (isSparse) {
        const predicted = oneHot(argmax(output), classes)
        const actual = oneHot(classNumbersOf(name, output, target), classes)
        return joined([mul(predicted, actual), predicted, actual])
      }
      const actual = greater(sameSize(name, output, target), 0.5)
      const predicted = greater(output, limit)
      return joined([mul(predicted, actual), predicted, actual].map(rowSum))
    },
    value(sums) {
      const classes = sums.length / 3
      const ofClass = Array.from({ length: classes }, (_, k) =>
        value(sums[k] ?? 0, sums[classes + k] ?? 0, sums[2 * classes + k] ?? 0),
      )
      return ofClass.reduce((total, one) => total + one, 0) / classes
    },
  }
}

const quotient = (numerator: number, denominator: number): number => (denominator === 0 ? 0 : numerator / denominator)

/** A row's numbers side by side: f32 [batch, columns]. */
function joined(parts: readonly Tensor[]): Tensor {
  return concatenate(
    parts.map((part) => reshape(part, [part.shape[0] ?? 1, -1])),
    1,
  )
}

/** A row's sum over all of its numbers: f32 [batch]. */
function rowSum(x: Tensor): Tensor {
  const [batch = 1] = x.shape
  return x.shape.length <= 1 ? reshape(x, [batch]) : sum(reshape(x, [batch, -1]), { axes: 1 })
}

/** The class number of each row as f32, in the output's shape without its last axis. Throws 'shape'. */
function classNumbersOf(name: string, output: Tensor, target: Tensor): Tensor {
  const shape = output.shape.slice(0, -1)
  if (target.dtype === 'f32') return toF32(argmax(sameSize(name, output, target)))
  if (target.size * (output.shape.at(-1) ?? 1) !== output.size)
    throw misfit(name, output, target, 'class numbers, u32, one for each row of classes')
  return reshape(toF32(target), shape)
}
