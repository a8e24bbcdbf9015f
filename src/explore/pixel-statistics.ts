/**
 * Pixel statistics, computed on the device a few thousand images at a time: mean and variance images of the classes,
 * and the correlation of every pixel with every other. Sums over such a chunk are float32; chunks are added up here, in
 * float64. No result is the difference of two large sums: squares are taken about means computed before.
 */

import { evaluate } from '../autograd/tensors.ts'
import type { ImageDataset } from '../data/dataset.ts'
import { WeftgradError } from '../errors.ts'
import { gather, matmul, max, min, mul, reshape, square, sub } from '../operators/index.ts'
import { type Tensor, tensor } from '../operators/tensor.ts'

export interface PixelStatistics {
  /** Pixels of an image; all arrays below have one number per pixel, row by row. Values are bytes, 0 to 255. */
  readonly pixels: number
  /** Number of images of each class. */
  readonly classCounts: readonly number[]
  /** Mean image of each class; zeros for a class without images. */
  readonly classMeans: readonly Float64Array[]
  /**
   * Variance image of each class: mean squared distance from the mean (divided by n, not n - 1); zeros for a class
   * without images.
   */
  readonly classVariances: readonly Float64Array[]
  /** Mean over all images. */
  readonly mean: Float64Array
  readonly standardDeviation: Float64Array
  /** Pixels with the same value in every image, in increasing order; exact, by minimum and maximum. */
  readonly constant: readonly number[]
}

export interface StatisticsOptions {
  /** Images per chunk. 5000 by default: divides the published counts, and a chunk takes 16 MB in float32. */
  readonly chunk?: number
  readonly signal?: AbortSignal | undefined
}

/** A chunk of images on the device. */
interface Chunk {
  /** f32 [images, pixels], from 0 to 1. */
  readonly x: Tensor
  /** u32 [images] */
  readonly labels: Tensor
}

/** The byte value that becomes 1 in a chunk. */
const white = 255

export async function pixelStatistics(set: ImageDataset, options: StatisticsOptions = {}): Promise<PixelStatistics> {
  const { classes } = set
  const pixels = pixelsOf(set)
  const classCounts = new Array<number>(classes).fill(0)
  for (const label of set.labelsOf()) classCounts[label] = (classCounts[label] ?? 0) + 1
  const identity = tensor(
    Float32Array.from({ length: classes ** 2 }, (_, i) => (i % (classes + 1) === 0 ? 1 : 0)),
    [classes, classes],
  )
  const oneHot = (labels: Tensor): Tensor => gather(identity, labels)

  const sums = new Float64Array(classes * pixels)
  const least = new Float32Array(pixels).fill(Number.POSITIVE_INFINITY)
  const greatest = new Float32Array(pixels).fill(Number.NEGATIVE_INFINITY)
  for (const { x, labels } of chunksOf(set, options)) {
    const ofClasses = matmul(oneHot(labels), x, { transposeA: true })
    const [added = [], low = [], high = []] = await evaluate([ofClasses, min(x, { axes: 0 }), max(x, { axes: 0 })])
    addTo(sums, added)
    for (const [i, value] of low.entries()) least[i] = Math.min(least[i] ?? value, value)
    for (const [i, value] of high.entries()) greatest[i] = Math.max(greatest[i] ?? value, value)
  }
  const means = sums.map((sum, i) => sum / Math.max(1, classCounts[Math.floor(i / pixels)] ?? 0))

  const squares = new Float64Array(classes * pixels)
  const meansOnDevice = tensor(Float32Array.from(means), [classes, pixels])
  for (const { x, labels } of chunksOf(set, options)) {
    const distance = sub(x, gather(meansOnDevice, labels))
    const [added = []] = await evaluate([matmul(oneHot(labels), square(distance), { transposeA: true })])
    addTo(squares, added)
  }

  const constant = [...least.keys()].filter((pixel) => least[pixel] === greatest[pixel])
  const mean = new Float64Array(pixels)
  const variance = new Float64Array(pixels)
  for (let i = 0; i < sums.length; i++) mean[i % pixels] = (mean[i % pixels] ?? 0) + (sums[i] ?? 0) / set.count
  for (let i = 0; i < sums.length; i++) {
    // The law of total variance: within the classes, and between them.
    const between = (classCounts[Math.floor(i / pixels)] ?? 0) * ((means[i] ?? 0) - (mean[i % pixels] ?? 0)) ** 2
    variance[i % pixels] = (variance[i % pixels] ?? 0) + ((squares[i] ?? 0) + between) / set.count
  }
  for (const pixel of constant) variance[pixel] = 0
  const rows = (numbers: Float64Array, scale: (label: number) => number): Float64Array[] =>
    classCounts.map((_, label) => numbers.slice(label * pixels, (label + 1) * pixels).map((n) => n * scale(label)))
  return {
    pixels,
    classCounts,
    classMeans: rows(means, () => white),
    classVariances: rows(squares, (label) => white ** 2 / Math.max(1, classCounts[label] ?? 0)),
    mean: mean.map((value) => value * white),
    standardDeviation: variance.map((value) => Math.sqrt(value) * white),
    constant,
  }
}

/**
 * Pearson's correlation of all pairs of pixels: [pixels, pixels], row-major, symmetric, within [-1, 1]. Images are
 * standardised, then multiplied with themselves. A constant pixel has no correlation: its row and column are zeros.
 */
export async function correlationMatrix(
  set: ImageDataset,
  { pixels, mean, standardDeviation, constant }: PixelStatistics,
  options: StatisticsOptions = {},
): Promise<Float32Array> {
  const isConstant = new Set(constant)
  const center = tensor(Float32Array.from(mean, (value) => value / white))
  const scale = tensor(Float32Array.from(standardDeviation, (d, pixel) => (isConstant.has(pixel) ? 0 : white / d)))
  const sums = new Float64Array(pixels ** 2)
  for (const { x } of chunksOf(set, options)) {
    const standard = mul(sub(x, center), scale)
    const [added = []] = await evaluate([matmul(standard, standard, { transposeA: true })])
    addTo(sums, added)
  }
  const matrix = new Float32Array(pixels ** 2)
  for (let a = 0; a < pixels; a++) {
    if (isConstant.has(a)) continue
    matrix[a * pixels + a] = 1
    for (let b = 0; b < a; b++) {
      const r = Math.max(-1, Math.min(1, (sums[a * pixels + b] ?? 0) / set.count))
      matrix[a * pixels + b] = r
      matrix[b * pixels + a] = r
    }
  }
  return matrix
}

/** Yields the chunks. Throws 'aborted' between chunks once the signal has fired. */
function* chunksOf(set: ImageDataset, { chunk = 5000, signal }: StatisticsOptions): Generator<Chunk> {
  if (!Number.isInteger(chunk) || chunk < 1)
    throw new WeftgradError('argument', `A chunk is a whole number of images from 1, not ${chunk}.`, { chunk })
  const first = tensor([0], [1], 'u32')
  for (let start = 0; start < set.count; start += chunk) {
    if (signal?.aborted)
      throw new WeftgradError('aborted', 'Computing statistics of pixels was aborted.', {}, signal.reason)
    const rows = set.indices.slice(start, start + chunk)
    const { x, target: labels } = set.batch({ batch: rows.length, tensor: tensor(rows) }, first, set.imageShape)
    yield { x: reshape(x, [rows.length, pixelsOf(set)]), labels }
  }
}

function pixelsOf({ imageShape: [height, width, channels] }: ImageDataset): number {
  return height * width * channels
}

function addTo(sums: Float64Array, numbers: ArrayLike<number>): void {
  for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) + (numbers[i] ?? 0)
}
