/** Sliding windows: padding and output extents of convolutions and pools, as in TensorFlow. */

import { WeftgradError } from '../errors.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import type { ConvGeometry } from '../kernels/geometry.ts'
import { checkValue, type Kind } from '../options.ts'

export type { ConvGeometry } from '../kernels/geometry.ts'

/** [vertical, horizontal], or [before, after]. */
export type Pair = readonly [number, number]
/** Pixels around an image: [[top, bottom], [left, right]], non-negative whole numbers. */
export type ExplicitPadding = readonly [Pair, Pair]
/**
 * Zeros around an image: 'same' adds enough for ceil(extent / stride) windows, as in TensorFlow; 'valid' adds none; or
 * explicit pixels.
 */
export type Padding = 'same' | 'valid' | ExplicitPadding

export interface WindowOptions {
  readonly strides?: number | Pair
  readonly padding?: Padding
  readonly dilationRate?: number | Pair
}

const arePair = (value: unknown, least: number): boolean =>
  Array.isArray(value) && value.length === 2 && value.every((n) => Number.isInteger(n) && n >= least)

const aPair: Kind = ['one or two positive whole numbers', (value) => arePair([value, value], 1) || arePair(value, 1)]
const aPadding: Kind = [
  "'same', 'valid' or [[top, bottom], [left, right]]",
  (value) =>
    value === 'same' ||
    value === 'valid' ||
    (Array.isArray(value) && value.length === 2 && value.every((sides) => arePair(sides, 0))),
]

export const convKinds = { strides: aPair, padding: aPadding, dilationRate: aPair }
export const poolKinds = { poolSize: aPair, strides: aPair, padding: aPadding }

/**
 * A pair from one number for both directions, or from one each. Throws 'argument' unless they are positive whole
 * numbers; `what` names the option.
 */
export function pairOf(what: string, value: number | Pair): Pair {
  checkValue(what, value, aPair)
  return typeof value === 'number' ? [value, value] : value
}

/** The padding before, and the output extent, along one axis. */
export function outExtents(
  extent: number,
  window: number,
  stride: number,
  dilation: number,
  padding: 'same' | 'valid' | Pair,
): { readonly before: number; readonly out: number } {
  const reach = (window - 1) * dilation + 1
  if (padding === 'same') {
    const out = Math.ceil(extent / stride)
    const total = Math.max(0, (out - 1) * stride + reach - extent)
    return { before: Math.floor(total / 2), out }
  }
  const [before, after] = padding === 'valid' ? [0, 0] : padding
  return { before, out: Math.floor((extent + before + after - reach) / stride) + 1 }
}

/**
 * The extents of a transposed convolution's result: those of an image that a convolution of these options makes the input
 * from, the largest where several would do. Explicit padding is subtracted.
 */
export function transposedExtents(extents: Pair, kernel: Pair, options: WindowOptions): Pair {
  const stride = pairOf('strides', options.strides ?? 1)
  const dilation = pairOf('dilationRate', options.dilationRate ?? 1)
  const { padding = 'valid' } = options
  const grown = (axis: 0 | 1): number => {
    const least = extents[axis] * stride[axis]
    if (padding === 'same') return least
    const reach = (kernel[axis] - 1) * dilation[axis] + 1
    const [before, after] = padding === 'valid' ? [0, 0] : padding[axis]
    return least + Math.max(reach - stride[axis], 0) - before - after
  }
  return [grown(0), grown(1)]
}

/**
 * The geometry of a window of size `kernel` that slides over images, including the padding. Throws 'shape' or
 * 'argument'.
 */
export function convGeometry(operator: string, image: Shape, kernel: Shape, options: WindowOptions): ConvGeometry {
  const [batch, inputHeight, inputWidth, channels] = image
  const [kernelHeight, kernelWidth] = kernel
  if (
    image.length !== 4 ||
    batch === undefined ||
    inputHeight === undefined ||
    inputWidth === undefined ||
    channels === undefined
  )
    throw new WeftgradError(
      'shape',
      `${operator}: got an image of shape ${shapeText(image)}; images are [batch, height, width, channels].`,
    )
  if (kernel.length !== 4 || kernelHeight === undefined || kernelWidth === undefined)
    throw new WeftgradError(
      'shape',
      `${operator}: got a kernel of shape ${shapeText(kernel)}; kernels are [height, width, channels, filters].`,
    )
  const strides = pairOf('strides', options.strides ?? 1)
  const dilation = pairOf('dilationRate', options.dilationRate ?? 1)
  const padding = options.padding ?? 'valid'
  const [vertical, horizontal] = typeof padding === 'string' ? [padding, padding] : padding
  const y = outExtents(inputHeight, kernelHeight, strides[0], dilation[0], vertical)
  const x = outExtents(inputWidth, kernelWidth, strides[1], dilation[1], horizontal)
  if (y.out < 1 || x.out < 1)
    throw new WeftgradError(
      'shape',
      `${operator}: a window of ${kernelHeight}x${kernelWidth} does not fit into an image of ${shapeText(image)}; use padding 'same' or a smaller window.`,
    )
  return {
    ...{ batch, inputHeight, inputWidth, channels, kernelHeight, kernelWidth, strides, dilation },
    ...{ padTop: y.before, padLeft: x.before, outHeight: y.out, outWidth: x.out },
  }
}
