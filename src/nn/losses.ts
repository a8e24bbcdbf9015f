/** Losses as values, to give to `fit`, `evaluate` and `trainStep`. Names, formulas and defaults are Keras'. */

import { WeftgradError } from '../errors.ts'
import { toU32Op } from '../operators/elementwise.ts'
import {
  abs,
  add,
  div,
  equal,
  exp,
  gather,
  lessEqual,
  log,
  logSoftmax,
  maximum,
  mean,
  mul,
  neg,
  reshape,
  softmaxCrossEntropy,
  square,
  sub,
  sum,
  toF32,
  where,
} from '../operators/index.ts'
import { apply } from '../operators/operator.ts'
import type { Tensor } from '../operators/tensor.ts'
import { tensor } from '../operators/tensor.ts'
import { aList, checkOptions, countFrom0, fraction, positive } from '../options.ts'
import type { Loss } from './objective.ts'
import { misfit, rowMean } from './objective.ts'

/** Options of {@link sparseCategoricalCrossentropy}. */
export interface CrossentropyOptions {
  /** Share of each target that is spread evenly over all classes, in [0, 1). 0 by default. */
  readonly labelSmoothing?: number
  /** Factor of each class' rows, in the order of the classes. The mean is over the rows, as Keras' `class_weight`. */
  readonly classWeights?: ArrayLike<number>
  /** Rows of this class count nothing: neither in the loss nor in its mean. It may be a number that is no class. */
  readonly ignoreClass?: number
}

const smoothing = { labelSmoothing: fraction }

/**
 * Cross-entropy of the softmax of the output, [batch, ..., classes], with class numbers, u32 [batch, ...]. With more axes
 * than one, such as the pixels of a segmentation, a row's loss is the mean over them.
 * @throws WeftgradError 'argument' for options out of range.
 */
export function sparseCategoricalCrossentropy(options: CrossentropyOptions = {}): Loss {
  const kinds = { ...smoothing, classWeights: aList, ignoreClass: countFrom0 }
  const {
    labelSmoothing = 0,
    classWeights,
    ignoreClass,
  } = checkOptions('sparseCategoricalCrossentropy', options, kinds)
  const weights = classWeights === undefined ? undefined : Float32Array.from(classWeights)
  if (weights?.some((weight) => !(weight >= 0 && weight < Number.POSITIVE_INFINITY)))
    throw new WeftgradError('argument', 'classWeights are numbers from 0 on, one for each class.')
  return {
    name: 'sparseCategoricalCrossentropy',
    settings: settingsText({ labelSmoothing, classWeights: weights?.join(' '), ignoreClass }),
    head: 'softmax',
    takesClasses: ignoreClass === undefined,
    rows(output, target) {
      const classes = output.shape.at(-1) ?? 1
      if (weights !== undefined && weights.length !== classes)
        throw new WeftgradError(
          'argument',
          `There are ${weights.length} classWeights, and the model has ${classes} classes.`,
        )
      const pixels = output.size / classes
      if (target.dtype !== 'u32' || target.size !== pixels || output.shape.length < 2)
        throw misfit('sparseCategoricalCrossentropy', output, target, 'class numbers, u32, one for each row of classes')
      const logits = reshape(output, [pixels, classes])
      const given = reshape(target, [pixels])
      const isKept = ignoreClass === undefined ? undefined : sub(1, equal(toF32(given), ignoreClass))
      const labels = isKept === undefined ? given : apply(toU32Op, [where(isKept, toF32(given), 0)], {})
      let rows = softmaxCrossEntropy(logits, labels, { reduction: 'none' })
      if (labelSmoothing > 0)
        rows = add(mul(rows, 1 - labelSmoothing), mul(neg(mean(logSoftmax(logits), { axes: -1 })), labelSmoothing))
      if (weights !== undefined) rows = mul(rows, gather(tensor(weights), labels))
      // As Keras' masks: a mean over the rows that count.
      if (isKept !== undefined) rows = mul(rows, mul(isKept, div(pixels, maximum(sum(isKept), 1))))
      return rowMean(reshape(rows, output.shape.slice(0, -1)))
    },
  }
}

/**
 * Cross-entropy of the softmax of the output, [batch, classes], with probabilities, f32 [batch, classes], or class
 * numbers, u32 [batch], which stand for a probability of 1.
 * @throws WeftgradError 'argument' for a share out of range.
 */
export function categoricalCrossentropy(options: Pick<CrossentropyOptions, 'labelSmoothing'> = {}): Loss {
  const { labelSmoothing = 0 } = checkOptions('categoricalCrossentropy', options, smoothing)
  return {
    name: 'categoricalCrossentropy',
    settings: settingsText({ labelSmoothing }),
    head: 'softmax',
    rows(output, target) {
      const classes = output.shape.at(-1) ?? 1
      const own =
        target.dtype === 'u32' && target.size * classes === output.size
          ? oneHot(target, classes)
          : sameSize('categoricalCrossentropy', output, target)
      const smooth = smoothed(own, labelSmoothing, classes)
      const flat = (x: Tensor): Tensor => reshape(x, [x.size / classes, classes])
      const rows = softmaxCrossEntropy(flat(output), flat(smooth), { reduction: 'none' })
      return rowMean(reshape(rows, output.shape.slice(0, -1)))
    },
  }
}

/**
 * Cross-entropy of the sigmoid of the output with probabilities or class numbers 0 and 1, in the output's shape; a row's
 * loss is the mean over its numbers. From logits x and targets t: max(x, 0) - x t + log(1 + exp(-|x|)).
 * @throws WeftgradError 'argument' for a share out of range.
 */
export function binaryCrossentropy(options: Pick<CrossentropyOptions, 'labelSmoothing'> = {}): Loss {
  const { labelSmoothing = 0 } = checkOptions('binaryCrossentropy', options, smoothing)
  return {
    name: 'binaryCrossentropy',
    settings: settingsText({ labelSmoothing }),
    head: 'sigmoid',
    rows(output, target) {
      const own = sameSize('binaryCrossentropy', output, target)
      const smooth = smoothed(own, labelSmoothing, 2)
      const tail = log(add(1, exp(neg(abs(output)))))
      return rowMean(add(sub(maximum(output, 0), mul(output, smooth)), tail))
    },
  }
}

/** Probabilities of which a share is spread evenly over the classes. */
const smoothed = (target: Tensor, share: number, classes: number): Tensor =>
  share === 0 ? target : add(mul(target, 1 - share), share / classes)

/** Mean of the squared differences over a row's numbers. Target: f32 in the output's shape. */
export const meanSquaredError = (): Loss => ({
  name: 'meanSquaredError',
  rows: (output, target) => rowMean(square(sub(output, sameSize('meanSquaredError', output, target)))),
})

/** Mean of the absolute differences over a row's numbers. Target: f32 in the output's shape. */
export const meanAbsoluteError = (): Loss => ({
  name: 'meanAbsoluteError',
  rows: (output, target) => rowMean(abs(sub(output, sameSize('meanAbsoluteError', output, target)))),
})

/**
 * Huber's loss: half the square of differences up to `delta` (1 by default), beyond it delta * (|difference| - delta / 2);
 * the mean over a row's numbers. Target: f32 in the output's shape.
 * @throws WeftgradError 'argument' for a delta that is not positive.
 */
export function huber(options: { readonly delta?: number } = {}): Loss {
  const { delta = 1 } = checkOptions('huber', options, { delta: positive })
  return {
    name: 'huber',
    settings: settingsText({ delta }),
    rows(output, target) {
      const difference = abs(sub(output, sameSize('huber', output, target)))
      const far = mul(sub(difference, delta / 2), delta)
      return rowMean(where(lessEqual(difference, delta), mul(square(difference), 0.5), far))
    },
  }
}

/** Settings as text: `delta 2, labelSmoothing 0.1`. */
function settingsText(settings: Readonly<Record<string, number | string | undefined>>): string {
  return Object.entries(settings)
    .flatMap(([name, value]) => (value === undefined ? [] : `${name} ${value}`))
    .join(', ')
}

/** The target in the output's shape, as f32. Throws 'shape' if it has another number of elements. */
export function sameSize(name: string, output: Tensor, target: Tensor): Tensor {
  if (target.size !== output.size || target.shape[0] !== output.shape[0])
    throw misfit(name, output, target, 'a target in the shape of the output')
  return reshape(target.dtype === 'u32' ? toF32(target) : target, output.shape)
}

/** Class numbers [...] as probabilities of 0 and 1: f32 [..., classes]. */
export function oneHot(classNumbers: Tensor, classes: number): Tensor {
  const numbers = classNumbers.dtype === 'u32' ? toF32(classNumbers) : classNumbers
  const all = tensor(Float32Array.from({ length: classes }, (_, k) => k))
  return equal(reshape(numbers, [...numbers.shape, 1]), all)
}
