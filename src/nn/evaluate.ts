/** Loss, accuracy, confusion matrix and predictions of a model on a data set, all counted on the device. */

import { aDataset, type Dataset } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import type { Choice, KernelTask, VariantTable } from '../graph/plan/choice.ts'
import type { Wanted } from '../graph/plan/plan.ts'
import { Program, planFor, targetOf } from '../graph/run/program.ts'
import { planKernel } from '../kernels/kernel.ts'
import { confusion, recordStep, stepRecordColumns, trainingStateWords } from '../kernels/training/state.ts'
import {
  add,
  argmax,
  div,
  exp,
  log,
  logSoftmax,
  maximum,
  mul,
  pad,
  softmax,
  softmaxCrossEntropy,
  sub,
} from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { tensor } from '../operators/tensor.ts'
import { aFlag, anObject, checkOptions, checkValue, countFrom1, type Kind, theBytes } from '../options.ts'
import type { Batches } from './batch-order.ts'
import { BatchOrder, cutIntoBatches, u32Leaf, writeOrder } from './batch-order.ts'
import type { Evaluation } from './contract.ts'
import { withFittingBatch } from './fitting-batch.ts'
import type { Model } from './model.ts'
import { classesOf, gatherInputs, refuseMisfits } from './training-step.ts'

/** Options of evaluation. */
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

const evaluationKinds = { batchSize: countFrom1, variants: anObject, flipAverage: aFlag, probabilities: aFlag }

const defaultBatchSize = 256

/** The side of the largest u32 confusion matrix that fits into a binding of 128 MiB, WebGPU's default limit. */
const mostConfusionClasses = Math.floor(Math.sqrt(2 ** 25))

/** The batches of one size, and the program that evaluates them. */
interface Part extends Batches {
  readonly program: Program
}

/** Evaluates one model on one data set any number of times, with the same programs and memory. */
export class Evaluator {
  readonly #device: Device
  readonly #data: Dataset
  /** The side of the confusion matrix: the number of classes, or 0 if there are too many for one. */
  readonly #side: number
  readonly #state: DeviceBuffer
  readonly #record: DeviceBuffer
  readonly #confusion: DeviceBuffer
  readonly #parts: readonly Part[]

  private constructor(
    device: Device,
    data: Dataset,
    side: number,
    buffers: { state: DeviceBuffer; record: DeviceBuffer; confusion: DeviceBuffer },
    parts: readonly Part[],
  ) {
    this.#device = device
    this.#data = data
    this.#side = side
    this.#state = buffers.state
    this.#record = buffers.record
    this.#confusion = buffers.confusion
    this.#parts = parts
  }

  /**
   * Plans and compiles, so that `run` does not have to. Without a batch size, it takes as many images at a time as memory
   * allows.
   * @throws WeftgradError 'shape' or 'mismatch' if the images or classes do not fit the model, 'argument' for a batch
   * size below 1.
   */
  static async create(model: Model, data: Dataset, options: EvaluateModelOptions = {}): Promise<Evaluator> {
    checkOptions('evaluate', options, evaluationKinds)
    checkValue('evaluate: the data', data, aDataset)
    refuseMisfits(model, data)
    const { batchSize } = options
    const make = async (size: number): Promise<Evaluator> => {
      const { side, buffers, parts } = await boundParts(model, data, size, options)
      return new Evaluator(data.device, data, side, buffers, parts)
    }
    if (batchSize !== undefined) return make(batchSize)
    return withFittingBatch(defaultBatch(data.device, classesOf(model)), make)
  }

  /** Makes one pass over the data set. `predictions` costs one read-back per batch. */
  async run(options: { readonly predictions?: boolean } = {}): Promise<Evaluation> {
    const { predictions = false } = checkOptions('run', options, { predictions: aFlag })
    const device = this.#device
    device.write(this.#state.slice(), new Uint32Array(trainingStateWords))
    device.write(this.#confusion.slice(), new Uint32Array(this.#side ** 2))
    const predicted: number[] = []
    const probabilities: Float32Array[] = []
    for (const { program, steps } of this.#parts) {
      if (predictions) {
        for (let step = 0; step < steps; step++) {
          program.runNow()
          const [classes, shares] = await device.readAll(program.results.slice(3))
          if (classes === undefined) throw new RangeError('an evaluation without predictions')
          for (const one of new Uint32Array(classes)) predicted.push(one)
          if (shares !== undefined) probabilities.push(new Float32Array(shares))
        }
      } else {
        // 16 batches per submission: few enough to stop early, enough to hide its cost.
        for (let step = 0; step < steps; step += 16) await program.run(Math.min(16, steps - step))
      }
    }
    const total = this.#parts.reduce((sum, part) => sum + part.steps, 0)
    const [record, counts] = await device.readAll([
      this.#record.slice(0, total * stepRecordColumns * 4),
      this.#confusion.slice(0, this.#side ** 2 * 4),
    ])
    const flat = new Uint32Array(counts)
    return {
      ...summarizeRecord(new Float32Array(record), total),
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
    return this.#parts.flatMap(({ program }) => program.choices)
  }

  /** Frees programs and memory, but not the model and the data set. */
  dispose(): void {
    for (const { program, order } of this.#parts) {
      program.dispose()
      order.buffer.dispose()
    }
    for (const buffer of [this.#state, this.#record, this.#confusion]) buffer.dispose()
  }
}

/** Plans and compiles an evaluation. Frees everything and throws 'limit' if there is no memory for the batch. */
async function boundParts(model: Model, data: Dataset, batchSize: number, options: EvaluateModelOptions) {
  const { device } = data
  const classes = classesOf(model)
  model.to(device)
  const side = classes > mostConfusionClasses ? 0 : classes
  const owned: { dispose(): void }[] = []
  const own = <T extends { dispose(): void }>(resource: T): T => {
    owned.push(resource)
    return resource
  }
  try {
    const batches = cutIntoBatches(device, data.count, batchSize, own)
    const steps = batches.reduce((sum, one) => sum + one.steps, 0)
    const buffers = {
      state: own(device.allocate(trainingStateWords * 4, 'evaluation state')),
      record: own(device.allocate(steps * stepRecordColumns * 4, 'evaluation record')),
      confusion: own(device.allocate(side * side * 4, 'confusion matrix')),
    }
    const records = { ...buffers, steps }
    const making = batches.map(
      async (part): Promise<Part> => ({
        ...part,
        program: own(await createPart(model, data, part.order, records, { classes, side }, options)),
      }),
    )
    // Waits for all of them, even if one fails, so that what the others allocated is released.
    await Promise.allSettled(making)
    const parts = await Promise.all(making)
    writeOrder(parts, data.indices)
    return { side, buffers, parts }
  } catch (error) {
    for (const resource of owned) resource.dispose()
    throw error
  }
}

/**
 * Cross-entropy of each row, logits, labels and predicted classes of the batch that the state points to; probabilities
 * too, if requested.
 */
function wantedOf(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  stateBuffer: DeviceBuffer,
  { flipAverage = false, probabilities = false }: EvaluateModelOptions = {},
): Wanted[] {
  const state = u32Leaf(stateBuffer, trainingStateWords)
  const { x, target: labels } = gatherInputs(model, data, order, state)
  let logits = model.logits(x)
  if (flipAverage) {
    const mirrored = gatherInputs(model, data, order, state, { flip: 'always', seed: model.seed })
    logits = averagedLogits(logits, model.logits(mirrored.x))
  }
  const rows = softmaxCrossEntropy(logits, labels, { reduction: 'none' })
  const wanted = [rows, logits, labels, argmax(logits), ...(probabilities ? [softmax(logits)] : [])]
  return wanted.map(({ value }) => ({ value }))
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

/** 256, or as many images as fit their logits into one binding. */
function defaultBatch({ limits }: Device, classes: number): number {
  return Math.max(1, Math.min(defaultBatchSize, Math.floor(limits.maxStorageBufferBindingSize / (4 * classes))))
}

/** The graph's kernels of an evaluation's whole batches, for tuning. */
export function evaluationTasks(model: Model, data: Dataset): readonly KernelTask[] {
  const { device } = data
  const batchSize = defaultBatch(device, classesOf(model))
  using state = device.allocate(trainingStateWords * 4, 'evaluation state')
  const order = new BatchOrder(device, Math.min(batchSize, data.count), 1)
  using _buffer = order.buffer
  return planFor(device, wantedOf(model, data, order, state), { record: true }).tasks
}

async function createPart(
  model: Model,
  data: Dataset,
  order: BatchOrder,
  { steps, ...buffers }: { state: DeviceBuffer; record: DeviceBuffer; confusion: DeviceBuffer; steps: number },
  { classes, side }: { classes: number; side: number },
  options: EvaluateModelOptions,
): Promise<Program> {
  const { device } = data
  const { variants = {} } = options
  const wanted = wantedOf(model, data, order, buffers.state, options)
  const target = targetOf(device)
  const key = { batch: order.batch, classes }
  return Program.create(device, planFor(device, wanted, { variants }), `evaluation of ${order.batch}`, (results) => [
    ...(side === 0
      ? []
      : [
          {
            plan: planKernel(confusion, key, target),
            inputs: results.slice(1, 3),
            outputs: [buffers.confusion.slice()],
          },
        ]),
    {
      plan: planKernel(recordStep, key, target),
      inputs: results.slice(0, 3),
      outputs: [buffers.record.slice(0, steps * stepRecordColumns * 4), buffers.state.slice()],
    },
  ])
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

/** Means over the images of the first `steps` records; summed in float64. */
export function summarizeRecord(
  record: Float32Array,
  steps: number,
): { readonly loss: number; readonly accuracy: number } {
  let [loss, correct, images] = [0, 0, 0]
  for (let step = 0; step < steps; step++) {
    const [meanLoss = 0, hits = 0, batch = 0] = record.subarray(step * stepRecordColumns)
    loss += meanLoss * batch
    correct += hits
    images += batch
  }
  return { loss: loss / images, accuracy: correct / images }
}

/**
 * Loss, accuracy, confusion matrix and predictions of a model on a data set, counted on the device. The model may end
 * in logits or in a softmax: see {@link Model.logits}. Frees all its memory.
 * @throws WeftgradError as `Evaluator.create`; 'not-finite' if the loss is NaN or infinite; 'device-lost' if the device
 * is lost.
 */
export async function evaluate(model: Model, data: Dataset, options: EvaluateModelOptions = {}): Promise<Evaluation> {
  const evaluator = await Evaluator.create(model, data, options)
  try {
    const evaluation = await evaluator.run({ predictions: true })
    finiteNumbers([evaluation.loss], model.name)
    return evaluation
  } finally {
    evaluator.dispose()
  }
}

const anImageShape: Kind = [
  '[height, width, channels]',
  (value) => Array.isArray(value) && value.length === 3 && value.every(countFrom1[1]),
]

/**
 * Class probabilities [n, classes], row-major, for images of bytes [n, height, width, channels], which are divided by
 * 255 and padded to the model's input, as in image data sets. The model may end in logits or in a softmax: see {@link
 * Model.logits}.
 * @throws WeftgradError 'argument' for images that are not bytes, or another shape, 'shape' if they do not fit, 'not-finite' if a
 * probability is NaN.
 */
export async function predict(
  model: Model,
  images: Uint8Array,
  shape: readonly [height: number, width: number, channels: number],
  options: Pick<EvaluateModelOptions, 'flipAverage'> = {},
): Promise<Float32Array> {
  const { flipAverage = false } = checkOptions('predict', options, { flipAverage: aFlag })
  checkValue('predict: the images', images, theBytes)
  checkValue('predict: the shape', shape, anImageShape)
  const [height, width, channels] = shape
  const [outHeight, outWidth, modelChannels] = model.inputShape
  const count = images.length / (height * width * channels)
  const isCount = Number.isInteger(count) && count >= 1 && channels === modelChannels
  if (!isCount || outHeight === undefined || outWidth === undefined || height > outHeight || width > outWidth)
    throw new WeftgradError(
      'shape',
      `${images.length} bytes are not images of ${height}x${width}x${channels} that ${model.name} can take.`,
    )
  const [top, left] = [Math.floor((outHeight - height) / 2), Math.floor((outWidth - width) / 2)]
  const probabilitiesOf = (bytes: Uint8Array): Tensor => {
    const pixels = tensor(Float32Array.from(bytes), [count, height, width, channels])
    const padded = pad(div(pixels, 255), [
      [0, 0],
      [top, outHeight - height - top],
      [left, outWidth - width - left],
      [0, 0],
    ])
    return softmax(model.logits(padded))
  }
  const own = probabilitiesOf(images)
  const both = flipAverage ? mul(add(own, probabilitiesOf(mirroredImages(images, width, channels))), 0.5) : own
  return finiteNumbers(await both.data(), model.name)
}

/**
 * Checks a model's outputs: if one is NaN, no class is the most probable.
 * @throws WeftgradError 'not-finite' if one is NaN or infinite.
 */
export function finiteNumbers(numbers: Iterable<number>, model: string): Float32Array {
  const answers = Float32Array.from(numbers)
  if (answers.every(Number.isFinite)) return answers
  throw new WeftgradError(
    'not-finite',
    `${model} outputs NaN or infinite numbers: its weights or inputs are not finite, or far too large. Train it again with a lower learning rate, or use other weights.`,
    { model },
  )
}

/** Reverses every row of pixels. */
function mirroredImages(images: Uint8Array, width: number, channels: number): Uint8Array {
  return Uint8Array.from(images, (_, i) => {
    const channel = i % channels
    const pixel = (i - channel) / channels
    const column = pixel % width
    return images[(pixel - column + width - 1 - column) * channels + channel] ?? 0
  })
}
