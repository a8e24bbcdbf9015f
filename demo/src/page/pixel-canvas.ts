/** Paints small images on canvases, which the style sheet enlarges without smoothing. */
import { divergingColor } from '../../../src/plots/colors.ts'

function paint(canvas: HTMLCanvasElement, width: number, height: number, rgba: Uint8ClampedArray<ArrayBuffer>): void {
  // Setting the size clears a canvas and triggers layout.
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== height) canvas.height = height
  canvas.getContext('2d')?.putImageData(new ImageData(rgba, width, height), 0, 0)
}

/** Paints bytes as grey. */
export function paintGrey(canvas: HTMLCanvasElement, pixels: ArrayLike<number>, width: number, height: number): void {
  const rgba = new Uint8ClampedArray(4 * width * height)
  for (let i = 0; i < width * height; i++) rgba.fill(pixels[i] ?? 0, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4)
  paint(canvas, width, height, rgba)
}

/** Paints blue at -extreme, near white at 0 and orange at extreme. */
export function paintSigned(
  canvas: HTMLCanvasElement,
  values: ArrayLike<number>,
  width: number,
  height: number,
  extreme: number,
): void {
  const rgba = new Uint8ClampedArray(4 * width * height)
  for (let i = 0; i < width * height; i++)
    rgba.set([...divergingColor(extreme === 0 ? 0 : (values[i] ?? 0) / extreme), 255], 4 * i)
  paint(canvas, width, height, rgba)
}

/** One channel of [height, width, channels]. */
export function channelOf(values: Float32Array, channels: number, channel: number): Float32Array {
  return Float32Array.from({ length: values.length / channels }, (_, i) => values[i * channels + channel] ?? 0)
}

export const largest = (values: Float32Array): number =>
  values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY)
export const smallest = (values: Float32Array): number =>
  values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY)
export const mean = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length
