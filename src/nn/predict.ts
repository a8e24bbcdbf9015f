/** What a model makes of examples in host memory, or of a data set. */

import { aDataset, type Dataset } from '../data/contract.ts'
import { examplesAt } from '../data/examples.ts'
import { WeftgradError } from '../errors.ts'
import { elementCount } from '../kernels/kernel.ts'
import { add, div, mul, pad, reshape, slice, softmax } from '../operators/index.ts'
import { Tensor, tensor } from '../operators/tensor.ts'
import { aFlag, checkOptions, checkValue, countFrom1, type Kind, theBytes } from '../options.ts'
import { withFittingBatch } from './fitting-batch.ts'
import { batchedShapeText } from './layers.ts'
import type { Model } from './model.ts'

/** Options of {@link predict} for images. */
export interface PredictOptions {
  /** Whether to average the probabilities of an image and its mirror image. False by default. */
  readonly flipAverage?: boolean
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
export function predict(
  model: Model,
  images: Uint8Array,
  shape: readonly [height: number, width: number, channels: number],
  options?: PredictOptions,
): Promise<Float32Array>
/**
 * The model's outputs [n, ...outputShape], row-major, for examples [n, ...inputShape], which it gets as they are: no
 * division, no padding, and nothing is added to its end.
 * @throws WeftgradError 'shape' if the numbers are not whole examples of the model, 'not-finite' if an output is NaN or
 * infinite.
 */
export function predict(model: Model, examples: Float32Array | Tensor): Promise<Float32Array>
/**
 * The model's outputs [n, ...outputShape], row-major, for a data set's examples, in its order. Images of bytes are divided by
 * 255 and padded to the model's input; nothing is added to the model's end.
 * @throws WeftgradError 'shape' if the examples do not fit the model, 'argument' for a generator, 'not-finite' if an output is
 * NaN or infinite.
 */
export function predict(model: Model, data: Dataset): Promise<Float32Array>
export async function predict(
  model: Model,
  examples: Uint8Array | Float32Array | Tensor | Dataset,
  shape?: readonly [height: number, width: number, channels: number],
  options: PredictOptions = {},
): Promise<Float32Array> {
  if (shape === undefined && (examples instanceof Float32Array || examples instanceof Tensor))
    return outputsOf(model, examples)
  if (aDataset[1](examples)) return outputsOnData(model, examples as Dataset)
  return predictImages(model, examples as Uint8Array, shape as [number, number, number], options)
}

async function predictImages(
  model: Model,
  images: Uint8Array,
  shape: readonly [height: number, width: number, channels: number],
  options: PredictOptions,
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

/** The most examples that go through the model at once. */
const atOnce = 256

async function outputsOf(model: Model, examples: Float32Array | Tensor): Promise<Float32Array> {
  const { inputShape, name } = model
  const size = elementCount(inputShape)
  const given = examples instanceof Tensor ? examples.size : examples.length
  const count = given / size
  const fits = examples instanceof Float32Array || (examples.dtype === 'f32' && examples.shape[0] === count)
  if (!Number.isInteger(count) || count < 1 || !fits)
    throw new WeftgradError(
      'shape',
      `${name} takes examples of shape ${batchedShapeText(inputShape)}, ${size} numbers each; got ${examples instanceof Tensor ? examples : `${given} numbers`}.`,
    )
  return outputsInParts(model, count, (first, rows) => {
    const part =
      examples instanceof Float32Array
        ? tensor(examples.subarray(first * size, (first + rows) * size), [rows, size])
        : slice(reshape(examples, [count, size]), [first, 0], [rows, size])
    return reshape(part, [rows, ...inputShape])
  })
}

async function outputsOnData(model: Model, data: Dataset): Promise<Float32Array> {
  return await outputsInParts(model, data.count, (first, rows) => {
    const indices = tensor(data.indices.subarray(first, first + rows), [rows], 'u32')
    return examplesAt(data, indices, model.inputShape).x
  })
}

/** The outputs for `count` examples, as many at once as memory allows; `partAt` traces some of them. */
function outputsInParts(
  model: Model,
  count: number,
  partAt: (first: number, rows: number) => Tensor,
): Promise<Float32Array> {
  const width = elementCount(model.outputShape)
  return withFittingBatch(Math.min(atOnce, count), async (size) => {
    const outputs = new Float32Array(count * width)
    for (let first = 0; first < count; first += size) {
      const y = await model.call(partAt(first, Math.min(size, count - first))).data()
      outputs.set(finiteNumbers(y, model.name), first * width)
    }
    return outputs
  })
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
