/**
 * Resizes 8-bit images on the host, each axis separately: shrinking averages the area that a new pixel covers, growing
 * interpolates between the two nearest pixel centres (edges repeat). Pixel centres are at halves, as in TensorFlow and
 * Pillow, so the image does not shift.
 */
import { WeftgradError } from '../errors.ts'

export interface ByteImage {
  /** In pixels. */
  readonly width: number
  /** In pixels. */
  readonly height: number
  readonly channels: number
  /** `height * width * channels` samples from 0 to 255, row by row, channels innermost. */
  readonly data: Uint8Array
}

/** The weights of old pixels, from `first` on, in one new pixel. They sum to 1. */
interface Tap {
  readonly first: number
  readonly weights: readonly number[]
}

/** Resizes an image; values are rounded to the nearest. Throws WeftgradError 'argument' for a size below 1 pixel. */
export function resize(image: ByteImage, size: { readonly width: number; readonly height: number }): ByteImage {
  const { width, height, channels, data } = image
  for (const extent of [width, height, size.width, size.height]) {
    if (!Number.isSafeInteger(extent) || extent < 1) {
      throw new WeftgradError('argument', `An image's width and height must be at least 1 pixel, not ${extent}.`, {
        from: { width, height },
        to: size,
      })
    }
  }
  if (data.length !== width * height * channels) {
    throw new WeftgradError(
      'argument',
      `An image of ${width}x${height} with ${channels} channels has ${width * height * channels} samples, not ${data.length}.`,
    )
  }
  const columns = taps(width, size.width)
  const rows = taps(height, size.height)
  // Rows first, so that a tall photograph needs no intermediate of its full height.
  const band = new Float64Array(width * channels)
  const result = new Uint8Array(size.width * size.height * channels)
  for (const [y, { first, weights }] of rows.entries()) {
    band.fill(0)
    for (const [i, weight] of weights.entries()) {
      const start = (first + i) * band.length
      for (let x = 0; x < band.length; x++) band[x] = (band[x] ?? 0) + weight * (data[start + x] ?? 0)
    }
    for (const [x, tap] of columns.entries()) {
      for (let c = 0; c < channels; c++) {
        let value = 0
        for (const [i, weight] of tap.weights.entries()) value += weight * (band[(tap.first + i) * channels + c] ?? 0)
        result[(y * size.width + x) * channels + c] = Math.round(value)
      }
    }
  }
  return { ...size, channels, data: result }
}

function taps(from: number, to: number): Tap[] {
  const scale = from / to
  return Array.from({ length: to }, (_, i) => (scale > 1 ? areaTap(i, scale, from) : linearTap(i, scale, from)))
}

/** The old pixels in [i * scale, (i + 1) * scale), weighted by the covered length. */
function areaTap(i: number, scale: number, from: number): Tap {
  const begin = i * scale
  const end = Math.min((i + 1) * scale, from)
  const first = Math.floor(begin)
  const last = Math.min(Math.ceil(end), from)
  const covered = Array.from(
    { length: last - first },
    (_, k) => Math.min(end, first + k + 1) - Math.max(begin, first + k),
  )
  const total = covered.reduce((sum, length) => sum + length, 0)
  return { first, weights: covered.map((length) => length / total) }
}

function linearTap(i: number, scale: number, from: number): Tap {
  const centre = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), from - 1)
  const first = Math.floor(centre)
  const fraction = centre - first
  return { first, weights: fraction === 0 ? [1] : [1 - fraction, fraction] }
}
