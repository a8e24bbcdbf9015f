/**
 * Converts any picture to a small grey square on black. As in Fashion-MNIST (section 2 of the paper), the longer side
 * is scaled to the full extent, and the picture is centred and padded with black.
 */
import { type ByteImage, resize } from '../data/resize.ts'

export interface GreySquare {
  /** `size * size` bytes. */
  readonly pixels: Uint8Array
  /** Whether the border is light, as in a photograph on white: such a picture needs `invert`. */
  readonly lightBackground: boolean
}

export interface GreySquareOptions {
  /** Whether to invert the picture, for dark objects on a light background. */
  readonly invert?: boolean
  /** Pixels per side. */
  readonly size: number
}

export function greySquare(image: ByteImage, { invert = false, size }: GreySquareOptions): GreySquare {
  const scale = size / Math.max(image.width, image.height)
  const width = Math.max(1, Math.round(image.width * scale))
  const height = Math.max(1, Math.round(image.height * scale))
  const { data } = resize({ ...image, channels: 1, data: greyOf(image, invert) }, { width, height })
  const pixels = new Uint8Array(size * size)
  const left = Math.floor((size - width) / 2)
  const top = Math.floor((size - height) / 2)
  for (let y = 0; y < height; y++) pixels.set(data.subarray(y * width, (y + 1) * width), (top + y) * size + left)
  return { pixels, lightBackground: rimMean(data, width, height) > 127 }
}

/** The luma of ITU-R BT.601. Transparent pixels become black, after inversion. */
function greyOf({ data, channels, width, height }: ByteImage, invert: boolean): Uint8Array {
  const grey = new Uint8Array(width * height)
  const colour = channels >= 3
  const opaque = channels === 1 || channels === 3
  for (let i = 0; i < grey.length; i++) {
    const at = i * channels
    const [first = 0, second = 0, third = 0, fourth = 0] = [data[at], data[at + 1], data[at + 2], data[at + 3]]
    const luma = colour ? 0.299 * first + 0.587 * second + 0.114 * third : first
    const alpha = opaque ? 1 : (colour ? fourth : second) / 255
    grey[i] = Math.round((invert ? 255 - luma : luma) * alpha)
  }
  return grey
}

function rimMean(data: Uint8Array, width: number, height: number): number {
  let sum = 0
  let count = 0
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (y > 0 && y < height - 1 && x > 0 && x < width - 1) continue
      sum += data[y * width + x] ?? 0
      count++
    }
  }
  return sum / count
}
