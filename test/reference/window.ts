/** Operators that slide a window over an image: convolutions and pooling. Images NHWC, kernels HWIO. */
import type { Array64 } from './array64.ts'
import type { Activation } from './elementwise.ts'
import { activate, add } from './elementwise.ts'
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

/** How many positions a window takes along one axis, and how much padding comes before the first element. */
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

export function conv2d(x: Array64, kernel: Array64, bias: Array64 | undefined, options: ConvOptions = {}): Array64 {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  const [kernelHeight = 0, kernelWidth = 0, , filters = 0] = kernel.shape
  const strides = pair(options.strides ?? 1)
  const dilation = pair(options.dilationRate ?? 1)
  const padding = options.padding ?? 'valid'
  const { rows, columns } = slideBoth(x.shape, [kernelHeight, kernelWidth], strides, dilation, padding)
  const data = new Float64Array(batch * rows.out * columns.out * filters)
  for (let b = 0; b < batch; b++) {
    for (let row = 0; row < rows.out; row++) {
      for (let column = 0; column < columns.out; column++) {
        for (let filter = 0; filter < filters; filter++) {
          let sum = 0
          for (let i = 0; i < kernelHeight; i++) {
            const y = row * strides[0] + i * dilation[0] - rows.before
            if (y < 0 || y >= height) continue
            for (let j = 0; j < kernelWidth; j++) {
              const z = column * strides[1] + j * dilation[1] - columns.before
              if (z < 0 || z >= width) continue
              for (let c = 0; c < channels; c++) {
                const pixel = x.data[((b * height + y) * width + z) * channels + c] ?? Number.NaN
                const weight = kernel.data[((i * kernelWidth + j) * channels + c) * filters + filter] ?? Number.NaN
                sum += pixel * weight
              }
            }
          }
          data[((b * rows.out + row) * columns.out + column) * filters + filter] = sum
        }
      }
    }
  }
  const y: Array64 = { shape: [batch, rows.out, columns.out, filters], data }
  return activate(bias === undefined ? y : add(y, bias), options.activation)
}

/** Kernel [kh, kw, channels, multiplier]; output channel c * multiplier + q. */
export function depthwiseConv2d(x: Array64, kernel: Array64, options: ConvOptions = {}): Array64 {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape
  const [kernelHeight = 0, kernelWidth = 0, , multiplier = 0] = kernel.shape
  const strides = pair(options.strides ?? 1)
  const dilation = pair(options.dilationRate ?? 1)
  const padding = options.padding ?? 'valid'
  const { rows, columns } = slideBoth(x.shape, [kernelHeight, kernelWidth], strides, dilation, padding)
  const outChannels = channels * multiplier
  const data = new Float64Array(batch * rows.out * columns.out * outChannels)
  for (let b = 0; b < batch; b++) {
    for (let row = 0; row < rows.out; row++) {
      for (let column = 0; column < columns.out; column++) {
        for (let c = 0; c < channels; c++) {
          for (let q = 0; q < multiplier; q++) {
            let sum = 0
            for (let i = 0; i < kernelHeight; i++) {
              const y = row * strides[0] + i * dilation[0] - rows.before
              if (y < 0 || y >= height) continue
              for (let j = 0; j < kernelWidth; j++) {
                const z = column * strides[1] + j * dilation[1] - columns.before
                if (z < 0 || z >= width) continue
                const pixel = x.data[((b * height + y) * width + z) * channels + c] ?? Number.NaN
                const weight = kernel.data[((i * kernelWidth + j) * channels + c) * multiplier + q] ?? Number.NaN
                sum += pixel * weight
              }
            }
            data[((b * rows.out + row) * columns.out + column) * outChannels + c * multiplier + q] = sum
          }
        }
      }
    }
  }
  return { shape: [batch, rows.out, columns.out, outChannels], data }
}

/** Visits every window of a pooling with the offsets of the image's elements in it; padding is left out. */
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
