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
import type { BufferSlice, DeviceBuffer } from '../gpu/device.ts'
import { shapeText } from '../graph/node.ts'
import type { Wanted } from '../graph/plan/plan.ts'
import type { RecordKey } from '../kernels/training/state.ts'
import { blockStarts, recordWidth } from '../kernels/training/state.ts'
import { add, mean, mul, reshape, softmaxCrossEntropy, zeros } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { tensor } from '../operators/tensor.ts'
import { type Kind, objectWith } from '../options.ts'
import type { TrainingAugmentation } from './gather-inputs.ts'
import { gatherInputs, isBatchAugmentation } from './gather-inputs.ts'
import { beforeHead } from './head.ts'
import type { Model } from './model.ts'

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
   * Traces the numbers of each row: f32 [batch], or, with `value`, [batch, columns].
   * @throws WeftgradError 'shape' if output and target do not fit.
   */
  rows(output: Tensor, target: Tensor): Tensor
  /**
   * Whether it is the accuracy, which the recording kernel counts where targets are class numbers.
   * @internal
   */
  readonly isCounted?: boolean | undefined
  /** The metric's value from the sums of each column over all rows. The mean over the rows by default. */
  value?(sums: readonly number[], rows: number): number
}

/** What training makes small: the mean over the rows. `rows` gives one number for each. */
export interface Loss extends Omit<Metric, 'value' | 'higherIsBetter' | 'isCounted'> {
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
function lossOf(loss: Loss | RowFunction): Loss {
  return typeof loss === 'function' ? { name: loss.name || 'loss', settings: loss.toString(), rows: loss } : loss
}

/** A metric from a value or a function. @throws WeftgradError 'argument' for a function without a name. */
function metricOf(metric: Metric | RowFunction): Metric {
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
 * The accuracy that the recording kernel counts: of logits [batch, classes] with class numbers. `accuracy()` in metrics.ts
 * is it where that fits, and knows the rest.
 */
export const countedAccuracy: Metric = {
  name: 'accuracy',
  higherIsBetter: true,
  isCounted: true,
  rows(output, target) {
    throw misfit('accuracy', output, target, 'class numbers, u32, one for each row of classes')
  },
}

/** A row's mean over all of its numbers: f32 [batch]. */
export function rowMean(x: Tensor): Tensor {
  const [batch = 1] = x.shape
  return x.shape.length <= 1 ? reshape(x, [batch]) : mean(reshape(x, [batch, -1]), { axes: 1 })
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
  const { loss, metrics = loss === undefined ? [countedAccuracy] : [] } = options
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
export type Scores = {
  /** The mean loss over the rows. */
  readonly loss: number
} & Readonly<Record<string, number>>

/** The numbers of a batch that a step records, and what it counts itself. */
export interface TracedRows {
  /** The losses, f32 [batch]: their mean is the loss of the step. */
  readonly rows: Tensor
  /** The metrics' numbers, f32 [batch, columns]. */
  readonly metrics: readonly Tensor[]
  /** Logits and labels, if the recording kernel counts the accuracy. */
  readonly counted: readonly Tensor[]
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
    const mostColumns = metric === loss ? 0 : 'value' in metric ? Number.POSITIVE_INFINITY : 1
    const isFlat = numbers.shape.length <= 2 && (columns ?? 0) <= mostColumns
    if (numbers.dtype !== 'f32' || rows !== count || !isFlat)
      throw new WeftgradError(
        'shape',
        `${metric.name} gives ${numbers}, not one number for each of ${count} rows, from an output of ${shapeText(output.shape)} and a target of ${shapeText(target.shape)}. Bring both to one shape, and average over other axes than the first.`,
      )
    return numbers
  }
  let rows = own(loss)
  if (sampleWeight !== undefined) rows = mul(rows, sampleWeight)
  if (penalty !== undefined) rows = add(rows, penalty)
  const logits = beforeHead(output, 'softmax')
  const others = metrics.filter((metric) => !countsItself(metric, logits, target))
  const isCounted = others.length < metrics.length
  const blocks = others.map(own)
  return {
    rows,
    metrics: blocks,
    counted: isCounted ? [logits, target] : [],
    key: {
      batch: count,
      classes: isCounted ? (logits.shape.at(-1) ?? 0) : 0,
      metrics: blocks.map(({ size }) => size / count),
    },
  }
}

/** Whether the recording kernel counts it: the accuracy of logits [batch, classes] with class numbers. */
function countsItself({ isCounted = false }: Metric, logits: Tensor, target: Tensor): boolean {
  return (
    isCounted &&
    target.dtype === 'u32' &&
    target.shape.length === 1 &&
    logits.shape.length === 2 &&
    logits.shape[1] !== 1
  )
}

/**
 * What a program computes for the recording kernel. With metrics, the numbers go to `numbers`; see
 * {@link RecordReader.sizes}.
 */
export function wantedRows({ rows, metrics, counted, key }: TracedRows, numbers: DeviceBuffer | undefined): Wanted[] {
  const starts = blockStarts(key)
  return [
    ...[rows, ...metrics].map((t, i): Wanted => {
      if (numbers === undefined) return { value: t.value }
      return { value: t.value, destination: numbers.slice((starts[i] ?? 0) * 4, t.size * 4) }
    }),
    ...counted.map(({ value }) => ({ value })),
  ]
}

/** What the recording kernel reads, from the results of `wantedRows`. */
export function recordInputs(
  { metrics, counted }: TracedRows,
  results: readonly BufferSlice[],
  numbers: DeviceBuffer | undefined,
): readonly BufferSlice[] {
  const first = 1 + metrics.length
  return [
    ...(numbers === undefined ? results.slice(0, 1) : [numbers.slice()]),
    ...results.slice(first, first + counted.length),
  ]
}

/** Reads the records of a model's steps on a data set. */
export class RecordReader {
  /** Floats in each record. */
  readonly width: number
  /** Columns of the metrics' numbers. */
  readonly #blocks: readonly number[]
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
    const blocks: number[] = []
    this.#metrics = metrics.map((metric) => {
      if (countsItself(metric, output, batch.target)) return { metric, columns: [1] }
      const [width = 0] = traceRows({ loss, metrics: [metric] }, output, batch).key.metrics
      const first = recordWidth(blocks)
      blocks.push(width)
      return { metric, columns: Array.from({ length: width }, (_, i) => first + i) }
    })
    this.width = recordWidth(blocks)
    this.#blocks = blocks
  }

  /** Floats of each record, and bytes of the numbers of a batch's rows: 0 if there are only losses. */
  sizes(batch: number): { readonly recordColumns: number; readonly numbersBytes: number } {
    const metrics = this.#blocks
    const end = (blockStarts({ batch, metrics }).at(-1) ?? 0) + batch * (metrics.at(-1) ?? 0)
    return { recordColumns: this.width, numbersBytes: metrics.length === 0 ? 0 : 4 * end }
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
