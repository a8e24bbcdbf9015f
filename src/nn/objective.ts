/**
 * What a training makes small and what it reports: a loss and metrics, traced as numbers for each row of a batch. A step
 * records their sums on the device; this file says which columns of the record belong to which metric.
 *
 * A loss or metric names the activation that it contains, its `head`. Where the model ends in that activation, it gets
 * what goes into it; any other output is taken as it is. A cross-entropy therefore takes models that end in logits and
 * models that end in a softmax, and loses no digits to the logarithm of a rounded probability.
 */

import type { Batch, Dataset } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import type { RecordKey } from '../kernels/training/state.ts'
import { recordWidth, stepRecordColumns } from '../kernels/training/state.ts'
import {
  add,
  argmax,
  concatenate,
  equal,
  greater,
  mean,
  mul,
  reshape,
  softmaxCrossEntropy,
  toF32,
  zeros,
} from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { tensor } from '../operators/tensor.ts'
import { type Kind, objectWith } from '../options.ts'
import type { TrainingAugmentation } from './gather-inputs.ts'
import { gatherInputs, isBatchAugmentation } from './gather-inputs.ts'
import type { Model } from './model.ts'
import { beforeHead } from './model.ts'

/** A number for a whole data set, from numbers for each row: a mean, or a quotient of sums. */
export interface Metric {
  /** Its name in results. */
  readonly name: string
  /** Its settings as text: equal names and settings mean equal numbers. Absent if it has none. */
  readonly settings?: string | undefined
  /** The activation that it contains: where the model ends in it, `rows` gets what goes into it. */
  readonly head?: 'softmax' | 'sigmoid' | undefined
  /** Whether larger values are better. False by default. */
  readonly higherIsBetter?: boolean | undefined
  /**
   * Traces the numbers of each row: f32 [batch], or [batch, columns].
   * @throws WeftgradError 'shape' if output and target do not fit.
   */
  rows(output: Tensor, target: Tensor): Tensor
  /** The metric's value from the sums of each column over all rows. The mean of the first column by default. */
  value?(sums: readonly number[], rows: number): number
}

/** What training makes small: the mean over the rows. `rows` gives one number for each. */
export interface Loss extends Omit<Metric, 'value' | 'higherIsBetter'> {
  /** Losses are smaller when they are better. */
  readonly higherIsBetter?: false | undefined
  /** Whether targets are class numbers below the number of outputs. False by default. */
  readonly takesClasses?: boolean | undefined
}

/** One number for each row of a batch, f32 [batch], from the model's output and the target. */
export type RowFunction = (output: Tensor, target: Tensor) => Tensor

/** The kind of options that take a loss or a metric. */
export const aLossOrMetric: Kind = [
  'a loss like meanSquaredError(), or a function (output, target) => Tensor',
  (value) => typeof value === 'function' || objectWith(value, 'rows'),
]

/** The kind of options that take metrics. */
export const aMetricList: Kind = [
  'a list of metrics like accuracy(), or of functions (output, target) => Tensor',
  (value) => Array.isArray(value) && value.every(aLossOrMetric[1]),
]

/** A loss from a value or a function. */
export function lossOf(loss: Loss | RowFunction): Loss {
  return typeof loss === 'function' ? { name: loss.name || 'loss', settings: loss.toString(), rows: loss } : loss
}

/** A metric from a value or a function. @throws WeftgradError 'argument' for a function without a name. */
export function metricOf(metric: Metric | RowFunction): Metric {
  if (typeof metric !== 'function') return metric
  if (metric.name === '')
    throw new WeftgradError(
      'argument',
      'A metric without a name has no place in the results: declare the function with a name, or give { name, rows }.',
    )
  return { name: metric.name, rows: metric }
}

/** Cross-entropy of the softmax of the output, [batch, classes], with class numbers, u32 [batch]. */
export const crossentropy: Loss = {
  name: 'sparseCategoricalCrossentropy',
  head: 'softmax',
  takesClasses: true,
  rows: (output, target) => softmaxCrossEntropy(output, target, { reduction: 'none' }),
}

/**
 * Share of the rows whose largest output is at the target: a class number, or the largest of its numbers. An output of
 * one number is compared with 0.5, and its target is 0 or 1.
 */
export const accuracy = (): Metric => ({ name: 'accuracy', higherIsBetter: true, rows: accuracyRows })

function accuracyRows(output: Tensor, target: Tensor): Tensor {
  const classes = output.shape.at(-1) ?? 1
  if (classes === 1 || output.shape.length < 2)
    return rowMean(equal(greater(output, 0.5), greater(sameSize('accuracy', output, target), 0.5)))
  return rowMean(equal(toF32(argmax(output)), classNumbersOf('accuracy', output, target)))
}

/** A row's mean over all of its numbers: f32 [batch]. */
export function rowMean(x: Tensor): Tensor {
  const [batch = 1] = x.shape
  return x.shape.length <= 1 ? reshape(x, [batch]) : mean(reshape(x, [batch, -1]), { axes: 1 })
}

/** The target in the output's shape, as f32. Throws 'shape' if it has another number of elements. */
export function sameSize(name: string, output: Tensor, target: Tensor): Tensor {
  if (target.size !== output.size || target.shape[0] !== output.shape[0])
    throw misfit(name, output, target, 'a target in the shape of the output')
  return reshape(target.dtype === 'u32' ? toF32(target) : target, output.shape)
}

/** Class numbers, u32 [...], as probabilities of 0 and 1: f32 [..., classes]. */
export function oneHot(target: Tensor, classes: number): Tensor {
  return equal(reshape(toF32(target), [...target.shape, 1]), tensor(Array.from({ length: classes }, (_, i) => i)))
}

/** The class number of each row as f32, in the output's shape without its last axis. Throws 'shape'. */
export function classNumbersOf(name: string, output: Tensor, target: Tensor): Tensor {
  const shape = output.shape.slice(0, -1)
  if (target.dtype === 'f32') return toF32(argmax(sameSize(name, output, target)))
  if (target.size * (output.shape.at(-1) ?? 1) !== output.size)
    throw misfit(name, output, target, 'class numbers, u32, one for each row of classes')
  return reshape(toF32(target), shape)
}

export function misfit(name: string, output: Tensor, target: Tensor, wanted: string): WeftgradError {
  return new WeftgradError('shape', `${name} takes ${wanted}; the output is ${output} and the target ${target}.`)
}

/** A loss, and the metrics to report beside it. */
export interface Objective {
  readonly loss: Loss
  readonly metrics: readonly Metric[]
}

/** Names that the results of an epoch use for something else. */
const takenNames = ['epoch', 'loss', 'learningRate', 'seconds', 'validationLoss']

/**
 * The objective of these options. By default cross-entropy with class numbers; metrics are by default the accuracy if the
 * loss is the default, else none.
 * @throws WeftgradError 'argument' for metrics without a name, or with one that is taken.
 */
export function objectiveOf(options: {
  readonly loss?: Loss | RowFunction | undefined
  readonly metrics?: readonly (Metric | RowFunction)[] | undefined
}): Objective {
  const { loss, metrics = loss === undefined ? [accuracy()] : [] } = options
  const own = metrics.map(metricOf)
  const names = own.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i || takenNames.includes(name))
  if (twice !== undefined)
    throw new WeftgradError(
      'argument',
      `The metrics have two results called '${twice}'. Give one another name: { ...metric, name: '...' }.`,
      { name: twice },
    )
  return { loss: loss === undefined ? crossentropy : lossOf(loss), metrics: own }
}

/** Text that is equal for equal objectives; undefined for the default loss. Metrics do not change a training. */
export function lossText({ loss }: Objective): string | undefined {
  return loss === crossentropy ? undefined : `${loss.name}(${loss.settings ?? ''})`
}

/** The results on some rows: `loss`, and each metric by its name. */
export type Scores = { readonly loss: number } & Readonly<Record<string, number>>

/** The numbers of a batch that a step records, and what it counts itself. */
export interface TracedRows {
  /** The losses, f32 [batch]: their mean is the loss of the step. */
  readonly rows: Tensor
  /** What the recording kernel reads: the numbers, and logits and labels if it counts the accuracy. */
  readonly inputs: readonly Tensor[]
  readonly key: RecordKey
}

/**
 * Traces the numbers of a batch, from the model's output. `penalty`: a number to add to the loss.
 * @throws WeftgradError 'shape' if output and target do not fit.
 */
export function traceRows({ loss, metrics }: Objective, output: Tensor, batch: Batch, penalty?: Tensor): TracedRows {
  const { target, sampleWeight } = batch
  const [count = 1] = output.shape
  const own = (metric: Metric | Loss): Tensor => {
    const numbers = metric.rows(metric.head === undefined ? output : beforeHead(output, metric.head), target)
    const [rows, columns] = numbers.shape
    const isColumn = metric === loss ? columns === undefined : numbers.shape.length <= 2
    if (numbers.dtype !== 'f32' || rows !== count || !isColumn)
      throw new WeftgradError('shape', `${metric.name} gives ${numbers}, not one number for each of ${count} rows.`)
    return numbers
  }
  let rows = own(loss)
  if (sampleWeight !== undefined) rows = mul(rows, sampleWeight)
  if (penalty !== undefined) rows = add(rows, penalty)
  const logits = beforeHead(output, 'softmax')
  const isCounted = metrics.some((metric) => countsItself(metric, logits, target))
  const further = metrics
    .filter((metric) => !countsItself(metric, logits, target))
    .map((metric) => reshape(own(metric), [count, -1]))
  const numbers = further.length === 0 ? rows : concatenate([reshape(rows, [count, 1]), ...further], 1)
  return {
    rows,
    inputs: [numbers, ...(isCounted ? [logits, target] : [])],
    key: {
      batch: count,
      classes: isCounted ? (logits.shape.at(-1) ?? 0) : 0,
      columns: numbers.size / count,
    },
  }
}

/** Whether the recording kernel counts it: the accuracy of logits [batch, classes] with class numbers. */
function countsItself({ rows }: Metric, logits: Tensor, target: Tensor): boolean {
  return (
    rows === accuracyRows &&
    target.dtype === 'u32' &&
    target.shape.length === 1 &&
    logits.shape.length === 2 &&
    logits.shape[1] !== 1
  )
}

/** Reads the records of a model's steps on a data set. */
export class RecordReader {
  /** Floats in each record. */
  readonly width: number
  readonly #metrics: readonly { readonly metric: Metric; readonly columns: readonly number[] }[]

  /** @throws WeftgradError 'argument', 'mismatch' or 'shape' if loss, metrics, model and data do not fit. */
  constructor(objective: Objective, model: Model, data: Dataset, augmentation?: TrainingAugmentation) {
    const { loss, metrics } = objective
    if (loss.takesClasses === true) {
      if (isBatchAugmentation(augmentation) && augmentation.mixesTargets === true)
        throw new WeftgradError(
          'argument',
          `Mixed images have probabilities as targets, and ${loss.name} compares with class numbers. Give { loss: nn.categoricalCrossentropy() }.`,
        )
      if (data.classes === undefined)
        throw new WeftgradError(
          'argument',
          `${loss.name} compares with class numbers, and the data set has other targets. Give a loss: { loss: nn.meanSquaredError() }.`,
        )
      const classes = model.outputShape.at(-1) ?? 1
      if (data.classes > classes)
        throw new WeftgradError(
          'mismatch',
          `${model.name} has ${classes} classes, and the data set has ${data.classes}.`,
        )
    }
    // A batch of one row, traced only for its shapes.
    const [one, state] = [{ batch: 1, tensor: tensor([0], [1], 'u32') }, tensor([0, 0, 0, 0], [4], 'u32')]
    const batch = gatherInputs(model, data, one, state, { seed: model.seed, augmentation })
    const output = zeros([1, ...model.outputShape])
    let column = stepRecordColumns
    this.#metrics = metrics.map((metric) => {
      if (countsItself(metric, output, batch.target)) return { metric, columns: [1] }
      const { key } = traceRows({ loss, metrics: [metric] }, output, batch)
      const columns = Array.from({ length: key.columns - 1 }, (_, i) => column + i)
      column += columns.length
      return { metric, columns }
    })
    this.width = recordWidth(1 + column - stepRecordColumns)
  }

  /** The results over the rows of the first `steps` records; summed in float64. */
  read(record: Float32Array, steps: number): Scores {
    let [loss, rows] = [0, 0]
    const sums = this.#metrics.map(({ columns }) => columns.map(() => 0))
    for (let step = 0; step < steps; step++) {
      const numbers = record.subarray(step * this.width)
      const [meanLoss = 0, , batch = 0] = numbers
      loss += meanLoss * batch
      rows += batch
      this.#metrics.forEach(({ columns }, i) => {
        const own = sums[i]
        columns.forEach((column, j) => {
          if (own !== undefined) own[j] = (own[j] ?? 0) + (numbers[column] ?? 0)
        })
      })
    }
    const scores: Record<string, number> = {}
    this.#metrics.forEach(({ metric }, i) => {
      const own = sums[i] ?? []
      scores[metric.name] = metric.value?.(own, rows) ?? (own[0] ?? 0) / rows
    })
    return { loss: loss / rows, ...scores }
  }
}
