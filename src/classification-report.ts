/**
 * Metrics from a confusion matrix: precision, recall and F1 of each class, their means over the classes (macro
 * averages), and accuracy.
 *
 * 0 / 0 counts as 0, scikit-learn's default: the precision of a class that is never predicted, the recall of a class
 * without images, the F1 of a class for which both are 0. Such a class still counts in the means.
 */
import { WeftgradError } from './errors.ts'

export interface ClassMetrics {
  /** Share of the images predicted as this class that belong to it. */
  readonly precision: number
  /** Share of this class' images that were predicted as it. */
  readonly recall: number
  /** Harmonic mean of precision and recall. */
  readonly f1: number
  /** Number of images of this class. */
  readonly support: number
}

export interface ClassificationReport {
  /** In the order of the classes. */
  readonly perClass: readonly ClassMetrics[]
  readonly accuracy: number
  /** Means over the classes with equal weight; `support` is the number of all images. */
  readonly macro: ClassMetrics
}

/**
 * Reads a confusion matrix: rows are the true classes, columns the predicted ones.
 * @throws WeftgradError 'shape' if it is not square, 'argument' if an entry is not a count.
 */
export function classificationReport(confusion: readonly (readonly number[])[]): ClassificationReport {
  const classes = confusion.length
  if (classes === 0 || confusion.some((row) => row.length !== classes)) {
    throw new WeftgradError('shape', 'A confusion matrix must be square, with a row and a column for each class.', {
      rows: classes,
      columns: confusion.map((row) => row.length),
    })
  }
  const wrong = confusion.flat().find((count) => !Number.isSafeInteger(count) || count < 0)
  if (wrong !== undefined) {
    throw new WeftgradError('argument', `A confusion matrix holds counts of images, and ${wrong} is not a count.`, {
      wrong,
    })
  }
  const correct = confusion.map((row, k) => row[k] ?? 0)
  const perClass = confusion.map((row, k): ClassMetrics => {
    const support = sum(row)
    const predicted = sum(confusion.map((other) => other[k] ?? 0))
    const hits = correct[k] ?? 0
    // 2 hits / (predicted + support) is the harmonic mean of hits / predicted and hits / support.
    return {
      precision: quotient(hits, predicted),
      recall: quotient(hits, support),
      f1: quotient(2 * hits, predicted + support),
      support,
    }
  })
  const total = sum(perClass.map((one) => one.support))
  return {
    perClass,
    accuracy: quotient(sum(correct), total),
    macro: {
      precision: mean(perClass.map((one) => one.precision)),
      recall: mean(perClass.map((one) => one.recall)),
      f1: mean(perClass.map((one) => one.f1)),
      support: total,
    },
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length
}

function quotient(numerator: number, denominator: number): number {
  return denominator === 0 ? 0 : numerator / denominator
}
