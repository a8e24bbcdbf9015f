/**
 * Converts a picture to what the network takes: 28x28 grey bytes, bright on black, centred by its bounding box and as
 * large as the objects in the data (garments reach the border, handwritten digits do not).
 *
 * A picture of 28x28 pixels keeps its place; only its background is adjusted. Throws a refusal for an empty picture.
 */
import { refusal } from './refusals.ts'

export const side = 28

/** RGBA bytes, as in ImageData. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Uint8ClampedArray
}

interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** A tenth of the range above the background: camera noise and scanner shadows stay below. */
const visible = 0.1

export function modelPixels(picture: Picture, extent: number = side): Uint8Array {
  const { width, height } = picture
  const grey = brightOnBlack(greyOf(picture), width, height)
  if (grey === undefined)
    throw refusal('data', 'This picture is empty: it has the same brightness everywhere. Choose another one.')
  if (width === side && height === side) return Uint8Array.from(grey, (value) => Math.round(255 * value))
  return placed(grey, width, boundingBox(grey, width, height), extent)
}

/** The median over the images of the longer side of their object; the full side if there are no images. */
export function typicalExtent(images: readonly Uint8Array[]): number {
  const extents = images.map((pixels) => {
    const box = boundingBox(
      Float32Array.from(pixels, (value) => value / 255),
      side,
      side,
    )
    return Math.max(box.width, box.height)
  })
  return extents.sort((a, b) => a - b)[extents.length >> 1] ?? side
}

/** Grey in [0, 1]. Transparent pixels get the background that contrasts with the rest. */
function greyOf({ width, height, data }: Picture): Float32Array {
  const own = new Float32Array(width * height)
  let [weighted, opaque] = [0, 0]
  for (let i = 0; i < own.length; i++) {
    // ITU-R BT.601, the usual weights for grey.
    const value = 0.299 * (data[4 * i] ?? 0) + 0.587 * (data[4 * i + 1] ?? 0) + 0.114 * (data[4 * i + 2] ?? 0)
    const alpha = (data[4 * i + 3] ?? 255) / 255
    own[i] = value / 255
    weighted += (value / 255) * alpha
    opaque += alpha
  }
  const ground = weighted > opaque / 2 ? 0 : 1
  return own.map((value, i) => {
    const alpha = (data[4 * i + 3] ?? 255) / 255
    return value * alpha + ground * (1 - alpha)
  })
}

/** Inverts the picture if its border is bright, then maps the border to black and the brightest pixel to white. */
function brightOnBlack(grey: Float32Array, width: number, height: number): Float32Array | undefined {
  const border: number[] = []
  for (let x = 0; x < width; x++) border.push(grey[x] ?? 0, grey[(height - 1) * width + x] ?? 0)
  for (let y = 1; y < height - 1; y++) border.push(grey[y * width] ?? 0, grey[y * width + width - 1] ?? 0)
  const ground = border.sort((a, b) => a - b)[border.length >> 1] ?? 0
  const lifted = grey.map((value) => Math.max(0, ground > 0.5 ? ground - value : value - ground))
  const most = lifted.reduce((found, value) => Math.max(found, value), 0)
  // Less contrast than this is noise, not an object.
  return most < 0.02 ? undefined : lifted.map((value) => value / most)
}

function boundingBox(grey: Float32Array, width: number, height: number): Box {
  let [left, top, right, bottom] = [width, height, 0, 0]
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if ((grey[y * width + x] ?? 0) >= visible) {
        left = Math.min(left, x)
        right = Math.max(right, x + 1)
        top = Math.min(top, y)
        bottom = Math.max(bottom, y + 1)
      }
  return right === 0 ? { left: 0, top: 0, width, height } : { left, top, width: right - left, height: bottom - top }
}

/** Scales the box to the extent by area averages and centres it on a black square. */
function placed(grey: Float32Array, stride: number, box: Box, extent: number): Uint8Array {
  const scale = Math.max(box.width, box.height) / extent
  const [columns, rows] = [box.width, box.height].map((length) => Math.max(1, Math.round(length / scale))) as [
    number,
    number,
  ]
  const result = new Uint8Array(side * side)
  const [left, top] = [Math.floor((side - columns) / 2), Math.floor((side - rows) / 2)]
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const value = areaMean(grey, stride, {
        left: box.left + (column * box.width) / columns,
        top: box.top + (row * box.height) / rows,
        width: box.width / columns,
        height: box.height / rows,
      })
      result[(top + row) * side + left + column] = Math.round(255 * value)
    }
  return result
}

function areaMean(grey: Float32Array, stride: number, { left, top, width, height }: Box): number {
  const covered = (from: number, to: number, pixel: number): number =>
    Math.max(0, Math.min(to, pixel + 1) - Math.max(from, pixel))
  let sum = 0
  for (let y = Math.floor(top); y < top + height; y++)
    for (let x = Math.floor(left); x < left + width; x++)
      sum += (grey[y * stride + x] ?? 0) * covered(left, left + width, x) * covered(top, top + height, y)
  return sum / (width * height)
}
