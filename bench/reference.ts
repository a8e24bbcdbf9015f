/**
 * What every benchmarked operator gives at one place of its result, in float64 and by its definition. Slow and plain on
 * purpose: a benchmark asks for some thousand places of the numbers its kernel left behind.
 */

import type { Conv2dKey } from '../src/kernels/conv2d/conv2d.ts'
import type { DepthwiseKey } from '../src/kernels/depthwise/depthwise.ts'
import type { MatmulKey } from '../src/kernels/matmul/matmul.ts'
import type { GatherBatchKey } from '../src/kernels/movement/gather.ts'
import type { PoolKey } from '../src/kernels/pool/pool.ts'
import type { FusedActivation } from '../src/kernels/wgsl/activation.ts'

type Numbers = ArrayLike<number>
/** The number at a row-major offset of the result. */
export type Definition = (index: number) => number

const at = (numbers: Numbers, index: number): number => numbers[index] ?? Number.NaN

/** The coordinates of a row-major offset; the first axis may be of any extent. */
function coordinates(index: number, extents: readonly [number, number, number]): [number, number, number, number] {
  const [b, c, d] = extents
  return [Math.floor(index / (b * c * d)), Math.floor(index / (c * d)) % b, Math.floor(index / d) % c, index % d]
}

function activated(value: number, activation: FusedActivation): number {
  switch (activation) {
    case 'linear':
      return value
    case 'relu':
      return Math.max(value, 0)
    case 'sigmoid':
      return 1 / (1 + Math.exp(-value))
    case 'tanh':
      return Math.tanh(value)
  }
}

export function matmulAt(key: MatmulKey, left: Numbers, right: Numbers, bias?: Numbers): Definition {
  const { m, n, k } = key
  const [rowStep, rowK] = key.transposeA ? [1, m] : [k, 1]
  const [columnStep, columnK] = key.transposeB ? [k, 1] : [1, n]
  return (index) => {
    const column = index % n
    const row = Math.floor(index / n) % m
    const batch = Math.floor(index / (m * n))
    const leftStart = (key.batchedA ? batch * m * k : 0) + row * rowStep
    const rightStart = (key.batchedB ? batch * k * n : 0) + column * columnStep
    let sum = bias === undefined ? 0 : at(bias, column)
    for (let i = 0; i < k; i++) sum += at(left, leftStart + i * rowK) * at(right, rightStart + i * columnK)
    return activated(sum, key.activation)
  }
}

export function convAt(key: Conv2dKey, image: Numbers, kernel: Numbers, bias?: Numbers): Definition {
  return (index) => {
    const [sample, outY, outX, filter] = coordinates(index, [key.outHeight, key.outWidth, key.filters])
    let sum = bias === undefined ? 0 : at(bias, filter)
    for (let ky = 0; ky < key.kernelHeight; ky++) {
      const y = outY * key.strides[0] + ky * key.dilation[0] - key.padTop
      if (y < 0 || y >= key.inputHeight) continue
      for (let kx = 0; kx < key.kernelWidth; kx++) {
        const x = outX * key.strides[1] + kx * key.dilation[1] - key.padLeft
        if (x < 0 || x >= key.inputWidth) continue
        const from = ((sample * key.inputHeight + y) * key.inputWidth + x) * key.channels
        const tap = (ky * key.kernelWidth + kx) * key.channels
        for (let c = 0; c < key.channels; c++) sum += at(image, from + c) * at(kernel, (tap + c) * key.filters + filter)
      }
    }
    return activated(sum, key.activation)
  }
}

export function convInputGradientAt(key: Conv2dKey, gradient: Numbers, kernel: Numbers): Definition {
  return (index) => {
    const [sample, y, x, channel] = coordinates(index, [key.inputHeight, key.inputWidth, key.channels])
    let sum = 0
    for (let ky = 0; ky < key.kernelHeight; ky++) {
      const outY = (y + key.padTop - ky * key.dilation[0]) / key.strides[0]
      if (!Number.isInteger(outY) || outY < 0 || outY >= key.outHeight) continue
      for (let kx = 0; kx < key.kernelWidth; kx++) {
        const outX = (x + key.padLeft - kx * key.dilation[1]) / key.strides[1]
        if (!Number.isInteger(outX) || outX < 0 || outX >= key.outWidth) continue
        const from = ((sample * key.outHeight + outY) * key.outWidth + outX) * key.filters
        const tap = ((ky * key.kernelWidth + kx) * key.channels + channel) * key.filters
        for (let f = 0; f < key.filters; f++) sum += at(gradient, from + f) * at(kernel, tap + f)
      }
    }
    return sum
  }
}

export function convFilterGradientAt(key: Conv2dKey, image: Numbers, gradient: Numbers): Definition {
  return (index) => {
    const [ky, kx, channel, filter] = coordinates(index, [key.kernelWidth, key.channels, key.filters])
    let sum = 0
    for (let sample = 0; sample < key.batch; sample++) {
      for (let outY = 0; outY < key.outHeight; outY++) {
        const y = outY * key.strides[0] + ky * key.dilation[0] - key.padTop
        if (y < 0 || y >= key.inputHeight) continue
        for (let outX = 0; outX < key.outWidth; outX++) {
          const x = outX * key.strides[1] + kx * key.dilation[1] - key.padLeft
          if (x < 0 || x >= key.inputWidth) continue
          const pixel = at(image, ((sample * key.inputHeight + y) * key.inputWidth + x) * key.channels + channel)
          sum += pixel * at(gradient, ((sample * key.outHeight + outY) * key.outWidth + outX) * key.filters + filter)
        }
      }
    }
    return sum
  }
}

/** A depthwise convolution as `channels` convolutions of one channel each, which share `convAt` and its gradients. */
function oneChannel(key: DepthwiseKey): Conv2dKey {
  return {
    batch: key.batch,
    inputHeight: key.inputHeight,
    inputWidth: key.inputWidth,
    channels: 1,
    outHeight: key.outHeight,
    outWidth: key.outWidth,
    filters: 1,
    kernelHeight: key.kernelHeight,
    kernelWidth: key.kernelWidth,
    strides: key.strides,
    dilation: key.dilation,
    padTop: key.padTop,
    padLeft: key.padLeft,
    bias: false,
    activation: 'linear',
  }
}

/** Every `step`-th number from `first` on. */
function channelOf(numbers: Numbers, channels: number, channel: number): Numbers {
  return Float32Array.from({ length: numbers.length / channels }, (_, i) => at(numbers, i * channels + channel))
}

/** Depthwise convolution or a gradient of it; for a multiplier of 1. `define` is one of the three above. */
export function depthwiseAt(
  define: (key: Conv2dKey, a: Numbers, b: Numbers) => Definition,
  key: DepthwiseKey,
  a: Numbers,
  b: Numbers,
): Definition {
  const { channels } = key
  const made = new Map<number, Definition>()
  return (index) => {
    const channel = index % channels
    let definition = made.get(channel)
    if (definition === undefined) {
      definition = define(oneChannel(key), channelOf(a, channels, channel), channelOf(b, channels, channel))
      made.set(channel, definition)
    }
    return definition(Math.floor(index / channels))
  }
}

/** The maximum of each window and the position it was taken from; for windows without padding. */
export function maxPoolAt(key: PoolKey, image: Numbers): { readonly value: Definition; readonly position: Definition } {
  const find = (index: number): { value: number; position: number } => {
    const [sample, outY, outX, channel] = coordinates(index, [key.outHeight, key.outWidth, key.channels])
    let value = Number.NEGATIVE_INFINITY
    let position = 0
    for (let wy = 0; wy < key.kernelHeight; wy++) {
      for (let wx = 0; wx < key.kernelWidth; wx++) {
        const y = outY * key.strides[0] + wy
        const x = outX * key.strides[1] + wx
        const pixel = at(image, ((sample * key.inputHeight + y) * key.inputWidth + x) * key.channels + channel)
        if (pixel > value) {
          value = pixel
          position = wy * key.kernelWidth + wx
        }
      }
    }
    return { value, position }
  }
  return { value: (index) => find(index).value, position: (index) => find(index).position }
}

/** The gradient of pooling with windows side by side. */
export function maxPoolGradientAt(key: PoolKey, gradient: Numbers, positions: Numbers): Definition {
  return (index) => {
    const [sample, y, x, channel] = coordinates(index, [key.inputHeight, key.inputWidth, key.channels])
    const outY = Math.floor(y / key.kernelHeight)
    const outX = Math.floor(x / key.kernelWidth)
    if (outY >= key.outHeight || outX >= key.outWidth) return 0
    const from = ((sample * key.outHeight + outY) * key.outWidth + outX) * key.channels + channel
    const own = (y - outY * key.kernelHeight) * key.kernelWidth + (x - outX * key.kernelWidth)
    return at(positions, from) === own ? at(gradient, from) : 0
  }
}

function logSumExp(logits: Numbers, row: number, classes: number): number {
  let sum = 0
  for (let c = 0; c < classes; c++) sum += Math.exp(at(logits, row * classes + c))
  return Math.log(sum)
}

export function crossEntropyAt(classes: number, logits: Numbers, labels: Numbers): Definition {
  return (row) => logSumExp(logits, row, classes) - at(logits, row * classes + at(labels, row))
}

export function crossEntropyGradientAt(
  classes: number,
  logits: Numbers,
  labels: Numbers,
  gradient: Numbers,
): Definition {
  return (index) => {
    const row = Math.floor(index / classes)
    const probability = Math.exp(at(logits, index) - logSumExp(logits, row, classes))
    return (probability - (index % classes === at(labels, row) ? 1 : 0)) * at(gradient, row)
  }
}

/** Images without an offset, padded by zeros. */
export function gatherBatchAt(key: GatherBatchKey, dataset: Numbers, permutation: Numbers): Definition {
  return (index) => {
    const [item, outY, outX, channel] = coordinates(index, [key.outHeight, key.outWidth, key.channels])
    const [y, x] = [outY - key.padTop, outX - key.padLeft]
    if (y < 0 || y >= key.height || x < 0 || x >= key.width) return 0
    const image = at(permutation, item)
    return at(dataset, ((image * key.height + y) * key.width + x) * key.channels + channel) / key.divisor
  }
}

/** The sum over everything but the last axis. */
export function sumToLastAxisAt(numbers: Numbers, last: number): Definition {
  return (index) => {
    let sum = 0
    for (let i = index; i < numbers.length; i += last) sum += at(numbers, i)
    return sum
  }
}
