/** Operators that slide a window over an image: convolutions and pooling. Images NHWC, kernels HWIO. */
import type { Array64 } from './array64.ts'
import { define, elementOf, indexIn4 } from './array64.ts'
import type { Activation } from './elementwise.ts'
import { activations } from './elementwise.ts'
import { mean } from './reduce.ts'

type Pair = readonly [number, number]
export type Padding = 'same' | 'valid' | readonly [Pair, Pair]

export interface ConvOptions {
  readonly strides?: number | Pair
  readonly padding?: Padding
  readonly dilationRate?: number | Pair
  readonly activation?: Activation
}

export interface PoolOptions {
  readonly poolSize: number | Pair
  readonly strides?: number | Pair
  readonly padding?: Padding
}

const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value)

/** The number of window positions along one axis, and the padding before the first element. */
export function slide(
  extent: number,
  window: number,
  stride: number,
  dilation: number,
  padding: 'same' | 'valid' | Pair,
): { readonly out: number; readonly before: number } {
  const span = (window - 1) * dilation + 1
  if (padding === 'valid') return { out: Math.floor((extent - span) / stride) + 1, before: 0 }
  if (padding === 'same') {
    const out = Math.ceil(extent / stride)
    const missing = Math.max(0, (out - 1) * stride + span - extent)
    return { out, before: Math.floor(missing / 2) } // the odd one goes after, as in TensorFlow
  }
  const [before, after] = padding
  return { out: Math.floor((extent + before + after - span) / stride) + 1, before }
}

function slideBoth(image: readonly number[], window: Pair, strides: Pair, dilation: Pair, padding: Padding) {
  const [, height = 0, width = 0] = image
  const [vertical, horizontal] = typeof padding === 'string' ? [padding, padding] : padding
  return {
    rows: slide(height, window[0], strides[0], dilation[0], vertical),
    columns: slide(width, window[1], strides[1], dilation[1], horizontal),
  }
}

/** A convolution's geometry, from the shapes of its image and its kernel. */
function frameOf(image: readonly number[], kernel: readonly number[], options: ConvOptions) {
  const [batch = 0, height = 0, width = 0, channels = 0] = image
  const [kernelHeight = 0, kernelWidth = 0, , filters = 0] = kernel
  const strides = pair(options.strides ?? 1)
  const dilation = pair(options.dilationRate ?? 1)
  const padding = options.padding ?? 'valid'
  const { rows, columns } = slideBoth(image, [kernelHeight, kernelWidth], strides, dilation, padding)
  const result = [batch, rows.out, columns.out, filters]
  /** The row of the image that a row of the kernel meets, or undefined in the padding. */
  const rowAt = (row: number, i: number): number | undefined => {
    const y = row * strides[0] + i * dilation[0] - rows.before
    return y >= 0 && y < height ? y : undefined
  }
  const columnAt = (column: number, j: number): number | undefined => {
    const x = column * strides[1] + j * dilation[1] - columns.before
    return x >= 0 && x < width ? x : undefined
  }
  return { batch, height, width, channels, kernelHeight, kernelWidth, filters, rows, columns, result, rowAt, columnAt }
}

export function conv2d(x: Array64, kernel: Array64, bias?: Array64, options: ConvOptions = {}): Array64 {
  const frame = frameOf(x.shape, kernel.shape, options)
  const { height, width, channels, kernelHeight, kernelWidth, filters, rowAt, columnAt } = frame
  const [image, weights, offsets] = [x.data, kernel.data, bias?.data]
  const activation = activations[options.activation ?? 'linear']
  return define(frame.result, (offset) => {
    const [b, row, column, filter] = indexIn4(frame.result, offset)
    let sum = 0
    for (let i = 0; i < kernelHeight; i++) {
      const y = rowAt(row, i)
      if (y === undefined) continue
      for (let j = 0; j < kernelWidth; j++) {
        const z = columnAt(column, j)
        if (z === undefined) continue
        for (let c = 0; c < channels; c++) {
          const pixel = image[((b * height + y) * width + z) * channels + c] ?? Number.NaN
          const weight = weights[((i * kernelWidth + j) * channels + c) * filters + filter] ?? Number.NaN
          sum += pixel * weight
        }
      }
    }
    return activation(sum + (offsets?.[filter] ?? 0))
  })
}

/** The gradient of a convolution's image: a pixel sums over every output that read it. */
export function conv2dInputGradient(
  gradient: Array64,
  kernel: Array64,
  image: readonly number[],
  options: ConvOptions = {},
): Array64 {
  const frame = frameOf(image, kernel.shape, options)
  const { channels, kernelHeight, kernelWidth, filters, rows, columns, rowAt, columnAt } = frame
  const [dy, weights] = [gradient.data, kernel.data]
  /** The outputs that read an image position through each row or column of the kernel. */
  const readersOf = (
    extent: number,
    taps: number,
    outs: number,
    at: (out: number, tap: number) => number | undefined,
  ) => {
    const readers = Array.from({ length: extent }, (): [out: number, tap: number][] => [])
    for (let out = 0; out < outs; out++)
      for (let tap = 0; tap < taps; tap++) readers[at(out, tap) ?? -1]?.push([out, tap])
    return readers
  }
  const rowReaders = readersOf(frame.height, kernelHeight, rows.out, rowAt)
  const columnReaders = readersOf(frame.width, kernelWidth, columns.out, columnAt)
  return define(image, (offset) => {
    const [b, y, x, channel] = indexIn4(image, offset)
    let sum = 0
    for (const [row, i] of rowReaders[y] ?? [])
      for (const [column, j] of columnReaders[x] ?? [])
        for (let filter = 0; filter < filters; filter++) {
          const cotangent = dy[((b * rows.out + row) * columns.out + column) * filters + filter] ?? Number.NaN
          const weight = weights[((i * kernelWidth + j) * channels + channel) * filters + filter] ?? Number.NaN
          sum += cotangent * weight
        }
    return sum
  })
}

/** The gradient of a convolution's kernel: a weight sums over every output. */
export function conv2dFilterGradient(
  x: Array64,
  gradient: Array64,
  kernel: readonly number[],
  options: ConvOptions = {},
): Array64 {
  const { batch, height, width, channels, filters, rows, columns, rowAt, columnAt } = frameOf(x.shape, kernel, options)
  const [image, dy] = [x.data, gradient.data]
  return define(kernel, (offset) => {
    const [i, j, channel, filter] = indexIn4(kernel, offset)
    let sum = 0
    for (let b = 0; b < batch; b++) {
      for (let row = 0; row < rows.out; row++) {
        const y = rowAt(row, i)
        if (y === undefined) continue
        for (let column = 0; column < columns.out; column++) {
          const z = columnAt(column, j)
          if (z === undefined) continue
          const pixel = image[((b * height + y) * width + z) * channels + channel] ?? Number.NaN
          sum += pixel * (dy[((b * rows.out + row) * columns.out + column) * filters + filter] ?? Number.NaN)
        }
      }
    }
    return sum
  })
}

/** `count` neighbours along the last axis, starting at `first`. */
function lastAxis({ shape, data }: Array64, first: number, count: number): Array64 {
  const width = shape.at(-1) ?? 1
  const part = Float64Array.from(
    { length: (data.length / width) * count },
    (_, i) => data[Math.floor(i / count) * width + first + (i % count)] ?? Number.NaN,
  )
  return { shape: [...shape.slice(0, -1), count], data: part }
}

/** The kernel of one channel, [kh, kw, 1, multiplier]. */
function kernelOf({ shape, data }: Array64, channel: number): Array64 {
  const [height = 0, width = 0, channels = 0, multiplier = 0] = shape
  const flat = { shape: [height, width, channels * multiplier], data }
  return { shape: [height, width, 1, multiplier], data: lastAxis(flat, channel * multiplier, multiplier).data }
}

/** Joins arrays, one per channel and each of `width`, along the last axis. */
function joinChannels(
  shape: readonly number[],
  channels: number,
  width: number,
  channelAt: (channel: number) => Array64,
): Array64 {
  const made = new Map<number, Array64>()
  return define(shape, (offset) => {
    const place = offset % (channels * width)
    const channel = Math.floor(place / width)
    const one = made.get(channel) ?? channelAt(channel)
    made.set(channel, one)
    return elementOf(one, Math.floor(offset / (channels * width)) * width + (place % width))
  })
}

/**
 * Convolves each channel separately, from one channel to `multiplier` filters. Kernel [kh, kw, channels, multiplier];
 * output channel c * multiplier + q.
 */
export function depthwiseConv2d(x: Array64, kernel: Array64, options: ConvOptions = {}): Array64 {
  const [, , channels = 0, multiplier = 0] = kernel.shape
  const { result } = frameOf(x.shape, kernel.shape, options)
  return joinChannels(result.with(3, channels * multiplier), channels, multiplier, (channel) =>
    conv2d(lastAxis(x, channel, 1), kernelOf(kernel, channel), undefined, options),
  )
}

export function depthwiseConv2dInputGradient(
  gradient: Array64,
  kernel: Array64,
  image: readonly number[],
  options: ConvOptions = {},
): Array64 {
  const [, , channels = 0, multiplier = 0] = kernel.shape
  return joinChannels(image, channels, 1, (channel) => {
    const dy = lastAxis(gradient, channel * multiplier, multiplier)
    return conv2dInputGradient(dy, kernelOf(kernel, channel), image.with(3, 1), options)
  })
}

export function depthwiseConv2dFilterGradient(
  x: Array64,
  gradient: Array64,
  kernel: readonly number[],
  options: ConvOptions = {},
): Array64 {
  const [, , channels = 0, multiplier = 0] = kernel
  return joinChannels(kernel, channels, multiplier, (channel) => {
    const dy = lastAxis(gradient, channel * multiplier, multiplier)
    return conv2dFilterGradient(lastAxis(x, channel, 1), dy, kernel.with(2, 1), options)
  })
}

/** Visits every pooling window with the offsets of the image's elements in it; padding is excluded. */
function forEachWindow(x: Array64, options: PoolOptions, visit: (offsets: readonly number[], out: number) => void) {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  const window = pair(options.poolSize)
  const strides = pair(options.strides ?? options.poolSize)
  const { rows, columns } = slideBoth(x.shape, window, strides, [1, 1], options.padding ?? 'valid')
  let out = 0
  for (let b = 0; b < batch; b++) {
    for (let row = 0; row < rows.out; row++) {
      for (let column = 0; column < columns.out; column++) {
        for (let c = 0; c < channels; c++) {
          const offsets: number[] = []
          for (let i = 0; i < window[0]; i++) {
            const y = row * strides[0] + i - rows.before
            if (y < 0 || y >= height) continue
            for (let j = 0; j < window[1]; j++) {
              const z = column * strides[1] + j - columns.before
              if (z < 0 || z >= width) continue
              offsets.push(((b * height + y) * width + z) * channels + c)
            }
          }
          visit(offsets, out)
          out++
        }
      }
    }
  }
  return [batch, rows.out, columns.out, channels]
}

function pool(x: Array64, options: PoolOptions, combine: (values: readonly number[]) => number): Array64 {
  const results: number[] = []
  const shape = forEachWindow(x, options, (offsets) => {
    results.push(combine(offsets.map((offset) => x.data[offset] ?? Number.NaN)))
  })
  return { shape, data: Float64Array.from(results) }
}

/** Padding counts as minus infinity. */
export const maxPool = (x: Array64, options: PoolOptions): Array64 =>
  pool(x, options, (values) => values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY))

/** The mean of the elements that are inside the image, as in TensorFlow. */
export const averagePool = (x: Array64, options: PoolOptions): Array64 =>
  pool(x, options, (values) => values.reduce((a, b) => a + b, 0) / values.length)

/** The first maximum of a window takes its whole cotangent. */
export function maxPoolGradient(x: Array64, cotangent: Array64, options: PoolOptions): Array64 {
  const data = new Float64Array(x.data.length)
  forEachWindow(x, options, (offsets, out) => {
    let first = offsets[0] ?? -1
    for (const offset of offsets) {
      if ((x.data[offset] ?? Number.NaN) > (x.data[first] ?? Number.NaN)) first = offset
    }
    data[first] = (data[first] ?? 0) + (cotangent.data[out] ?? Number.NaN)
  })
  return { shape: x.shape, data }
}

/** [b, h, w, c] to [b, c]. */
export const globalAveragePool = (x: Array64): Array64 => mean(x, { axes: [1, 2] })
