/** Makes pictures from numbers (images in a grid, a matrix as a heatmap) and inlines a PNG in a page. */
import type { PngImage } from '../format/png.ts'
import { divergingColor, greyRgb } from './colors.ts'

export interface ImageGridOptions {
  /** Width of each image, in pixels. */
  readonly width: number
  readonly height: number
  readonly columns: number
  /** Scale factor: each pixel becomes a square of this width; 2 by default. */
  readonly scale?: number
}

/** Width of the black gap between images, before scaling. */
const gap = 2

/** Draws grey images, `height * width` bytes each, row by row in a grid on black. Empty places stay black. */
export function imageGrid(
  images: readonly (Uint8Array | undefined)[],
  { width, height, columns, scale = 2 }: ImageGridOptions,
): PngImage {
  const rows = Math.ceil(images.length / columns)
  const gridWidth = (columns * (width + gap) - gap) * scale
  const gridHeight = (rows * (height + gap) - gap) * scale
  const data = new Uint8Array(gridWidth * gridHeight)
  for (const [k, image] of images.entries()) {
    const left = (k % columns) * (width + gap) * scale
    const top = Math.floor(k / columns) * (height + gap) * scale
    for (let y = 0; y < height * scale; y++)
      for (let x = 0; x < width * scale; x++)
        data[(top + y) * gridWidth + left + x] = image?.[Math.floor(y / scale) * width + Math.floor(x / scale)] ?? 0
  }
  return { width: gridWidth, height: gridHeight, channels: 1, data }
}

/** Draws a square matrix of numbers in [-1, 1], one pixel each; rows and columns named in `undefinedAt` are grey. */
export function matrixPicture(matrix: Float32Array, size: number, undefinedAt: readonly number[]): PngImage {
  const isUndefined = new Set(undefinedAt)
  const data = new Uint8Array(size * size * 3)
  for (const [at, value] of matrix.entries()) {
    const [row, column] = [Math.floor(at / size), at % size]
    data.set(isUndefined.has(row) || isUndefined.has(column) ? greyRgb : divergingColor(value), at * 3)
  }
  return { width: size, height: size, channels: 3, data }
}

/** A data URI of the picture. */
export function pngDataUri(png: Uint8Array): string {
  let binary = ''
  // The number of arguments of a call is limited.
  for (let at = 0; at < png.length; at += 32768) binary += String.fromCharCode(...png.subarray(at, at + 32768))
  return `data:image/png;base64,${btoa(binary)}`
}
