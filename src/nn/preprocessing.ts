/** Prepares images as the pretrained networks expect them, and turns their outputs into class names. */

import { WeftgradError } from '../errors.ts'
import { shapeText } from '../graph/node.ts'
import { broadcastTo, dense, div, sub } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { tensor } from '../operators/tensor.ts'
import { checkOptions, checkValue, countFrom1, oneOf } from '../options.ts'

/**
 * The preprocessing of a network's images. 'caffe': BGR order, minus ImageNet's means. 'tf': scaled to -1 to 1. 'torch': scaled
 * to 0 to 1, minus ImageNet's means, divided by its standard deviations. '0..1': scaled to 0 to 1. 'none': values from 0 to
 * 255 as they are, for a network that begins with layers such as `rescaling`.
 */
export type PreprocessingMode = 'none' | '0..1' | 'caffe' | 'tf' | 'torch'

/** @internal */
export const preprocessingModes: readonly PreprocessingMode[] = ['none', '0..1', 'caffe', 'tf', 'torch']

/** ImageNet's means of blue, green and red, which Caffe's networks subtract. */
const means = [103.939, 116.779, 123.68]

/** ImageNet's means and standard deviations of red, green and blue, of values from 0 to 1. */
const torch = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] }

/**
 * Prepares a batch of images [n, h, w, 3] (RGB) or [n, h, w, 1] (grey), with values from 0 to 255. It uses elementwise
 * operators (and, for the channel order of 'caffe', a product with a permutation). Returns f32 [n, h, w, 3].
 * @throws WeftgradError 'shape' for anything but images of 1 or 3 channels, 'argument' for another mode.
 */
export function preprocessInput(x: Tensor, mode: PreprocessingMode): Tensor {
  const channels = x.shape.at(-1)
  if (x.shape.length !== 4 || (channels !== 1 && channels !== 3))
    throw new WeftgradError(
      'shape',
      `preprocessInput: got ${shapeText(x.shape)}; images are [batch, height, width, 3], or 1 for grey.`,
    )
  checkValue('preprocessInput: the mode', mode, oneOf(...preprocessingModes))
  if (mode === 'torch') return div(sub(div(coloured(x), 255), tensor(torch.mean)), tensor(torch.deviation))
  if (mode !== 'caffe') return scaledPixels(coloured(x), mode)
  if (channels === 1) return sub(coloured(x), tensor(means))
  const swap = tensor([
    [0, 0, 1],
    [0, 1, 0],
    [1, 0, 0],
  ])
  return dense(x, swap, tensor(means.map((mean) => -mean)))
}

/**
 * Pixels from 0 to 255, scaled by a mode that treats all channels alike.
 * @internal
 */
export function scaledPixels(x: Tensor, mode: Exclude<PreprocessingMode, 'caffe' | 'torch'>): Tensor {
  if (mode === 'none') return x
  return mode === 'tf' ? sub(div(x, 127.5), 1) : div(x, 255)
}

/** Repeats grey to three channels. */
function coloured(x: Tensor): Tensor {
  return broadcastTo(x, [...x.shape.slice(0, -1), 3])
}

/** A class and its probability. */
export interface Prediction {
  /** The class number. */
  readonly index: number
  /** WordNet's id: `n02123045`. */
  readonly classId: string
  /** The class name: `tabby`. */
  readonly className: string
  /** In [0, 1]. */
  readonly probability: number
}

/**
 * The most probable classes of each image, in descending order, from probabilities [images, classes], row-major, and
 * Keras' parsed imagenet_class_index.json: `{ "0": ["n01440764", "tench"], ... }`. `top` is the number of classes, 5 by
 * default.
 * @throws WeftgradError 'format' for another index, 'argument' if the probabilities are not rows of its classes.
 */
export function decodePredictions(
  probabilities: Float32Array,
  classIndex: unknown,
  options: { readonly top?: number } = {},
): Prediction[][] {
  const { top = 5 } = checkOptions('decodePredictions', options, { top: countFrom1 })
  const classes = classesOf(classIndex)
  if (probabilities.length === 0 || probabilities.length % classes.length !== 0)
    throw new WeftgradError(
      'argument',
      `decodePredictions: ${probabilities.length} probabilities are not rows of ${classes.length} classes.`,
    )
  return Array.from({ length: probabilities.length / classes.length }, (_, image) => {
    const row = probabilities.subarray(image * classes.length, (image + 1) * classes.length)
    return classes
      .map(([classId, className], index) => ({ index, classId, className, probability: row[index] ?? 0 }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, top)
  })
}

function classesOf(index: unknown): (readonly [id: string, name: string])[] {
  const entries = typeof index === 'object' && index !== null && !Array.isArray(index) ? Object.entries(index) : []
  const classes = new Map<string, unknown>(entries)
  const rows = entries.map((_, i) => classes.get(String(i)))
  const isClass = (row: unknown): row is readonly [string, string] =>
    Array.isArray(row) && row.length === 2 && row.every((text) => typeof text === 'string')
  if (rows.length === 0 || !rows.every(isClass))
    throw new WeftgradError(
      'format',
      'decodePredictions: the class index is not like Keras\' imagenet_class_index.json: { "0": ["n01440764", "tench"], ... }.',
    )
  return rows
}
