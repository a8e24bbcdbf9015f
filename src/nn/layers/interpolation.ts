/**
 * Resampling along one axis, linear or cubic, with ONNX's settings: each output is a weighted sum of inputs, so all of them are
 * a product with a matrix. https://onnx.ai/onnx/operators/onnx__Resize.html
 */

import { WeftgradError } from '../../errors.ts'
import { elementCount } from '../../kernels/kernel.ts'
import { matmul, reshape } from '../../operators/index.ts'
import { type Tensor, tensor } from '../../operators/tensor.ts'
import { aFlag, aNumber, countFrom1, oneOf, positive, required } from '../../options.ts'

/** How positions of the output correspond to positions of the input. */
export type Coordinates =
  | 'half_pixel'
  | 'half_pixel_symmetric'
  | 'pytorch_half_pixel'
  | 'align_corners'
  | 'asymmetric'
  | 'tf_crop_and_resize'

export interface Interpolation {
  readonly axis: number
  /** The extent of the output. */
  readonly size: number
  /** The output's extent over the input's, before that was rounded. */
  readonly scale: number
  readonly kind: 'linear' | 'cubic'
  readonly coordinates: Coordinates
  /** The coefficient of cubic interpolation. -0.75 by default. */
  readonly cubic?: number
  /** Whether positions beyond the edges are left out, and the rest scaled up; else the edge counts for them. False by default. */
  readonly excludeOutside?: boolean
  /** Whether shrinking averages over as many inputs as an output stands for. False by default. */
  readonly antialias?: boolean
  /** Where the crop of `tf_crop_and_resize` begins and ends, as a share of the input. 0 and 1 by default. */
  readonly start?: number
  readonly end?: number
}

export const interpolationKinds = {
  ...{ axis: required(countFrom1), size: required(countFrom1), scale: required(positive) },
  kind: required(oneOf('linear', 'cubic')),
  coordinates: required(
    oneOf(
      'half_pixel',
      'half_pixel_symmetric',
      'pytorch_half_pixel',
      'align_corners',
      'asymmetric',
      'tf_crop_and_resize',
    ),
  ),
  ...{ cubic: aNumber, excludeOutside: aFlag, antialias: aFlag, start: aNumber, end: aNumber },
}

type Mapping = Pick<Interpolation, 'size' | 'scale' | 'coordinates' | 'start' | 'end'>

/** The position in the input, of `extent` pixels, of a pixel of the output. */
export function sourcePosition(
  i: number,
  extent: number,
  { size, scale, coordinates, start = 0, end = 1 }: Mapping,
): number {
  if (coordinates === 'asymmetric') return i / scale
  // The length that the scale gives, which need not be whole.
  const length = extent * scale
  if (coordinates === 'align_corners') return size === 1 ? 0 : (i * (extent - 1)) / (length - 1)
  if (coordinates === 'pytorch_half_pixel') return size === 1 ? -0.5 : (i + 0.5) / scale - 0.5
  if (coordinates === 'tf_crop_and_resize')
    return size === 1
      ? 0.5 * (start + end) * (extent - 1)
      : start * (extent - 1) + (i * (end - start) * (extent - 1)) / (length - 1)
  if (coordinates === 'half_pixel') return (i + 0.5) / scale - 0.5
  const adjustment = size / (scale * extent)
  const center = extent / 2
  return center * (1 - adjustment) + (i + 0.5) / scale - 0.5
}

/** Resamples x along an axis. @throws WeftgradError 'shape' if x lacks it. */
export function interpolate(x: Tensor, options: Interpolation): Tensor {
  const { axis, size } = options
  const extent = x.shape[axis]
  if (extent === undefined)
    throw new WeftgradError('shape', `interpolate: there is no axis ${axis} of [${x.shape.join(', ')}].`)
  const before = elementCount(x.shape.slice(0, axis))
  const after = elementCount(x.shape.slice(axis + 1))
  const weights = tensor(interpolationMatrix(extent, options), [size, extent])
  const y = matmul(weights, reshape(x, [before, extent, after]))
  return reshape(y, [...x.shape.slice(0, axis), size, ...x.shape.slice(axis + 1)])
}

/** [size, extent]: the share of each input in each output. */
export function interpolationMatrix(extent: number, options: Interpolation): Float32Array {
  const { size, scale, kind, cubic = -0.75, excludeOutside = false, antialias = false } = options
  const matrix = new Float32Array(size * extent)
  const filter = kind === 'linear' ? (t: number) => Math.max(0, 1 - Math.abs(t)) : cubicFilter(cubic)
  // A wider filter sees all the inputs that an output of a smaller image stands for.
  const stretch = antialias && scale < 1 ? scale : 1
  const reach = (kind === 'linear' ? 1 : 2) / stretch
  for (let i = 0; i < size; i++) {
    const position = sourcePosition(i, extent, options)
    const shares: [number, number][] = []
    for (let at = Math.ceil(position - reach); at <= position + reach; at++) {
      const isInside = at >= 0 && at < extent
      if (!isInside && excludeOutside) continue
      shares.push([Math.min(Math.max(at, 0), extent - 1), filter((at - position) * stretch)])
    }
    const total = excludeOutside || antialias ? shares.reduce((sum, [, share]) => sum + share, 0) : 1
    for (const [at, share] of shares) {
      const place = i * extent + at
      matrix[place] = (matrix[place] ?? 0) + share / total
    }
  }
  return matrix
}

/** Keys' cubic convolution (1981). */
function cubicFilter(a: number): (t: number) => number {
  return (signed) => {
    const t = Math.abs(signed)
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0
  }
}
