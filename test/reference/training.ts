/** The parts of a training step outside the network: gathering a batch of images, and Adam's update. */
import type { Array64 } from './array64.ts'
import { define, indexIn4 } from './array64.ts'

/** Images of bytes, and the larger frame that they are placed in. */
export interface BatchFrame {
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly padTop: number
  readonly padLeft: number
  readonly outHeight: number
  readonly outWidth: number
  /** Divisor of the bytes. */
  readonly divisor: number
}

/** How augmentation changes an image: mirrored first, then shifted. */
export interface Move {
  readonly isFlipped: boolean
  readonly down: number
  readonly right: number
}

const unmoved: Move = { isFlipped: false, down: 0, right: 0 }

/** The images with the numbers `items`, zero outside. An image that does not exist is NaN. */
export function gatherBatch(
  dataset: ArrayLike<number>,
  items: ArrayLike<number>,
  frame: BatchFrame,
  moves: readonly Move[] = [],
): Array64 {
  const { height, width, channels, padTop, padLeft, outHeight, outWidth, divisor } = frame
  const shape = [items.length, outHeight, outWidth, channels]
  return define(shape, (offset) => {
    const [i, outY, outX, channel] = indexIn4(shape, offset)
    const { isFlipped, down, right } = moves[i] ?? unmoved
    const y = outY - padTop - down
    const column = outX - padLeft - right
    if (y < 0 || y >= height || column < 0 || column >= width) return 0
    const x = isFlipped ? width - 1 - column : column
    return (dataset[(((items[i] ?? Number.NaN) * height + y) * width + x) * channels + channel] ?? Number.NaN) / divisor
  })
}

export interface AdamOptions {
  readonly learningRate: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  /** AdamW's decay: the share of the parameters to subtract, times the learning rate. */
  readonly weightDecay?: number
}

export interface AdamState {
  readonly parameters: Float64Array
  /** The running means of the gradients and of their squares. */
  readonly first: Float64Array
  readonly second: Float64Array
}

/**
 * Step `t`, from 1, of Adam (Kingma and Ba, 2015) as in Keras: epsilon is added before the correction of the moments,
 * so it is epsilon / sqrt(1 - beta2^t) in the paper's notation.
 */
export function adamStep(state: AdamState, gradients: ArrayLike<number>, options: AdamOptions, t: number): AdamState {
  const { learningRate, beta1, beta2, epsilon, weightDecay = 0 } = options
  const first = state.first.map((m, i) => beta1 * m + (1 - beta1) * (gradients[i] ?? Number.NaN))
  const second = state.second.map((v, i) => beta2 * v + (1 - beta2) * (gradients[i] ?? Number.NaN) ** 2)
  const parameters = state.parameters.map((p, i) => {
    const mean = (first[i] ?? 0) / (1 - beta1 ** t)
    const square = (second[i] ?? 0) / (1 - beta2 ** t)
    const step = mean / (Math.sqrt(square) + epsilon / Math.sqrt(1 - beta2 ** t))
    return p * (1 - learningRate * weightDecay) - learningRate * step
  })
  return { parameters, first, second }
}
