/** Loss and metrics of a model on a data set, and for classifiers the confusion matrix and predictions. */

import { aDataset, type Dataset } from '../data/contract.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import type { Choice, VariantTable } from '../graph/plan/choice.ts'
import { targetOf } from '../graph/run/program.ts'
import { planKernel } from '../kernels/kernel.ts'
import { confusion } from '../kernels/training/state.ts'
import { add, argmax, exp, log, logSoftmax, maximum, softmax, sub } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { aFlag, anObject, checkOptions, checkValue, countFrom1, isRecord } from '../options.ts'
import type { Evaluation } from './contract.ts'
import type { PassSettings } from './data-pass.ts'
import { DataPass } from './data-pass.ts'
import type { Model } from './model.ts'
import type { Loss, Metric, Objective, RowFunction, Scores } from './objective.ts'
import { aLossOrMetric, aMetricList, objectiveOf, RecordReader, traceRows } from './objective.ts'
import { finiteNumbers } from './predict.ts'
import { classesOf } from './training-step.ts'

/** Options of evaluating a classifier. */
export interface EvaluateModelOptions {
  /** Images per batch. 256 by default, fewer if the logits of 256 images do not fit into one binding. */
  readonly batchSize?: number
  /** Kernel variants to use instead of the preferred ones. */
  readonly variants?: VariantTable
  /** Whether to average the probabilities of an image and its mirror image. False by default. Images only. */
  readonly flipAverage?: boolean
  /** Whether to also return the probabilities of all classes. False by default. */
  readonly probabilities?: boolean
}

/** Options of evaluating with a loss or metrics of one's own: one of them, or both. */
export interface ScoreOptions extends Pick<EvaluateModelOptions, 'batchSize' | 'variants'> {
  /** A loss, or a function that gives one number for each row. By default cross-entropy with class numbers. */
  readonly loss?: Loss | RowFunction
  /** Metrics, losses, or functions that give one number for each row. None by default. */
  readonly metrics?: readonly (Metric | RowFunction)[]
}

const passKinds = { batchSize: countFrom1, variants: anObject }
const evaluationKinds = { ...passKinds, flipAverage: aFlag, probabilities: aFlag }

/** The side of the largest u32 confusion matrix that fits into a binding of 128 MiB, WebGPU's default limit. */
const mostConfusionClasses = Math.floor(Math.sqrt(2 ** 25))

/** A pass that only scores. */
export function scoring(
  model: Model,
  data: Dataset,
  objective: Objective,
  options: Pick<PassSettings, 'batchSize' | 'variants'> = {},
): PassSettings {
  return {
    ...{ model, data, ...options },
    reader: new RecordReader(objective, model, data),
    trace: (batch) => ({ rows: traceRows(objective, model.call(batch.x), batch, model.penalty()) }),
  }
}

/** Evaluates one classifier on one data set any number of times, with the same programs and memory. */
export class Evaluator {
  readonly #device: Device
  readonly #data: Dataset
  /** The side of the confusion matrix: the number of classes, or 0 if there are too many for one. */
  readonly #side: number
  readonly #confusion: DeviceBuffer
  readonly #pass: DataPass

  private constructor(data: Dataset, side: number, counts: DeviceBuffer, pass: DataPass) {
    this.#device = data.device
    this.#data = data
    this.#side = side
    this.#confusion = counts
    this.#pass = pass
  }

  /**
   * Plans and compiles, so that `run` does not have to. Without a batch size, it takes as many images at a time as memory
   * allows.
   * @throws WeftgradError 'shape' or 'mismatch' if the images or classes do not fit the model, 'argument' for a batch
   * size below 1, or data without class numbers.
   */
  static async create(model: Model, data: Dataset, options: EvaluateModelOptions = {}): Promise<Evaluator> {
    checkOptions('evaluate', options, evaluationKinds)
    checkValue('evaluate: the data', data, aDataset)
    const { flipAverage = false, probabilities = false, ...own } = options
    const objective = objectiveOf({})
    data.refuseMisfits(model.inputShape, model.name)
    const reader = new RecordReader(objective, model, data)
    const classes = classesOf(model)
    const side = classes > mostConfusionClasses ? 0 : classes
    const { device } = data
    const counts = device.allocate(side * side * 4, 'confusion matrix')
    try {
      const pass = await DataPass.create({
        ...{ model, data, reader, ...own },
        trace(batch, mirrored) {
          const plain = model.logits(batch.x)
          const logits = flipAverage ? averagedLogits(plain, model.logits(mirrored().x)) : plain
          const further = [argmax(logits), ...(probabilities ? [softmax(logits)] : [])]
          return { rows: traceRows(objective, logits, batch, model.penalty()), further }
        },
        after: ([, ...inputs], key) =>
          side === 0 ? [] : [{ plan: planKernel(confusion, key, targetOf(device)), inputs, outputs: [counts.slice()] }],
      })
      return new Evaluator(data, side, counts, pass)
    } catch (error) {
      counts.dispose()
      throw error
    }
  }

  /** Makes one pass over the data set. `predictions` costs one read-back per batch. */
  async run(options: { readonly predictions?: boolean } = {}): Promise<Evaluation> {
    const { predictions = false } = checkOptions('run', options, { predictions: aFlag })
    const device = this.#device
    device.write(this.#confusion.slice(), new Uint32Array(this.#side ** 2))
    const predicted: number[] = []
    const probabilities: Float32Array[] = []
    const each = ([classes, shares]: readonly ArrayBuffer[]): void => {
      for (const one of new Uint32Array(classes ?? new ArrayBuffer(0))) predicted.push(one)
      if (shares !== undefined) probabilities.push(new Float32Array(shares))
    }
    const { loss, accuracy = Number.NaN } = await this.#pass.run(predictions ? each : undefined)
    const flat = new Uint32Array(await device.read(this.#confusion.slice(0, this.#side ** 2 * 4)))
    return {
      ...{ loss, accuracy },
      confusion: Array.from({ length: this.#side }, (_, row) =>
        Array.from(flat.subarray(row * this.#side, (row + 1) * this.#side)),
      ),
      predictions: Uint32Array.from(predicted),
      ...(probabilities.length === 0 ? {} : { probabilities: joined(probabilities) }),
    }
  }

  /** Number of images in a run. */
  get count(): number {
    return this.#data.count
  }

  /** The kernel variants it uses, including those for the last, smaller batch. */
  get choices(): readonly Choice[] {
    return this.#pass.choices
  }

  /** Frees programs and memory, but not the model and the data set. */
  dispose(): void {
    this.#pass.dispose()
    this.#confusion.dispose()
  }
}

/**
 * Logits for the mean of two results' probabilities: logarithms of the sums, relative to the larger one, so that even a
 * probability too small for a float32 has a finite loss.
 */
function averagedLogits(first: Tensor, second: Tensor): Tensor {
  const [a, b] = [logSoftmax(first), logSoftmax(second)]
  const larger = maximum(a, b)
  return add(larger, log(add(exp(sub(a, larger)), exp(sub(b, larger)))))
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0))
  let end = 0
  for (const part of parts) {
    whole.set(part, end)
    end += part.length
  }
  return whole
}

/**
 * Loss, accuracy, confusion matrix and predictions of a classifier on a data set, counted on the device. The model may
 * end in logits or in a softmax: see {@link Model.logits}. Frees all its memory.
 *
 * With a `loss` or `metrics`, these results of any model by their names: `{ loss, meanAbsoluteError }`.
 * @throws WeftgradError as `Evaluator.create`; 'not-finite' if the loss is NaN or infinite; 'device-lost' if the device
 * is lost.
 */
export function evaluate(
  model: Model,
  data: Dataset,
  options: ScoreOptions & (Required<Pick<ScoreOptions, 'loss'>> | Required<Pick<ScoreOptions, 'metrics'>>),
): Promise<Scores>
export function evaluate(model: Model, data: Dataset, options?: EvaluateModelOptions): Promise<Evaluation>
export async function evaluate(
  model: Model,
  data: Dataset,
  options: EvaluateModelOptions | ScoreOptions = {},
): Promise<Evaluation | Scores> {
  if (isScoring(options)) return score(model, data, options)
  const evaluator = await Evaluator.create(model, data, options)
  try {
    const evaluation = await evaluator.run({ predictions: true })
    finiteNumbers([evaluation.loss], model.name)
    return evaluation
  } finally {
    evaluator.dispose()
  }
}

const isScoring = (options: EvaluateModelOptions | ScoreOptions): options is ScoreOptions =>
  isRecord(options) && ('loss' in options || 'metrics' in options)

async function score(model: Model, data: Dataset, options: ScoreOptions): Promise<Scores> {
  const { loss, metrics, ...own } = checkOptions('evaluate', options, {
    ...passKinds,
    ...{ loss: aLossOrMetric, metrics: aMetricList },
  })
  checkValue('evaluate: the data', data, aDataset)
  const pass = await DataPass.create(scoring(model, data, objectiveOf({ loss, metrics }), own))
  try {
    const scores = await pass.run()
    finiteNumbers([scores.loss], model.name)
    return scores
  } finally {
    pass.dispose()
  }
}
