/**
 * The tiles and matrices of Winograd's minimal filtering for 3x3 taps: tiles of n x n output pixels come from
 * (n + 2) x (n + 2) input pixels as a product per *point* of a transformed space. Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015, section 4, gives the algorithm and the matrices.
 */

import { at } from '../../extents.ts'

/** The side of a tile of outputs. */
export type TileSide = 2 | 4

export type Matrix = readonly (readonly number[])[]

/** F(n x n, 3 x 3): the sides of a tile of outputs and of inputs, and the matrices B^T, G and A^T of the paper. */
export interface Transform {
  readonly outputs: number
  readonly inputs: number
  readonly input: Matrix
  readonly filter: Matrix
  readonly output: Matrix
}

export const transforms: Readonly<Record<TileSide, Transform>> = {
  2: {
    outputs: 2,
    inputs: 4,
    input: [
      [1, 0, -1, 0],
      [0, 1, 1, 0],
      [0, -1, 1, 0],
      [0, 1, 0, -1],
    ],
    filter: [
      [1, 0, 0],
      [0.5, 0.5, 0.5],
      [0.5, -0.5, 0.5],
      [0, 0, 1],
    ],
    output: [
      [1, 1, 1, 0],
      [0, 1, -1, -1],
    ],
  },
  4: {
    outputs: 4,
    inputs: 6,
    input: [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ],
    filter: [
      [1 / 4, 0, 0],
      [-1 / 6, -1 / 6, -1 / 6],
      [-1 / 6, 1 / 6, -1 / 6],
      [1 / 24, 1 / 12, 1 / 6],
      [1 / 24, -1 / 12, 1 / 6],
      [0, 0, 1],
    ],
    output: [
      [1, 1, 1, 1, 1, 0],
      [0, 1, -1, 2, -2, 0],
      [0, 1, 1, 4, 4, 0],
      [0, 1, -1, 8, -8, 1],
    ],
  },
}

export function transposed(matrix: Matrix): Matrix {
  return at(matrix, 0).map((_, column) => matrix.map((row) => at(row, column)))
}

/** Floats of the transformed filters for one channel and filter. */
export function pointsOf(tile: TileSide): number {
  return transforms[tile].inputs ** 2
}

/** Rows and columns of tiles that cover an image of outputs. */
export function tilesOf(outHeight: number, outWidth: number, tile: number): [rows: number, columns: number] {
  return [Math.ceil(outHeight / tile), Math.ceil(outWidth / tile)]
}

/** With fewer channels or filters, the transforms cost what they save. */
export const fewestChannels = 32

/** Multiplications per channel and filter for an image of outputs. */
function productsOf(outHeight: number, outWidth: number, tile: TileSide): number {
  const [rows, columns] = tilesOf(outHeight, outWidth, tile)
  return rows * columns * pointsOf(tile)
}

/** Whether a tile has clearly less arithmetic than the direct convolution: the transforms take their share. */
export function isLessWork(outHeight: number, outWidth: number, tile: TileSide): boolean {
  return productsOf(outHeight, outWidth, tile) * leastGain <= outHeight * outWidth * 9
}

const leastGain = 1.5

/**
 * The tile with the least arithmetic for outputs of this size; undefined where the direct convolution has little more.
 */
export function bestTile(outHeight: number, outWidth: number): TileSide | undefined {
  const tile = productsOf(outHeight, outWidth, 4) < productsOf(outHeight, outWidth, 2) ? 4 : 2
  return isLessWork(outHeight, outWidth, tile) ? tile : undefined
}

/** The filters [3, 3, channels, filters] as [points, channels, filters]: G g G^T, in float64. */
export function transformFilters(kernel: Float32Array, tile: TileSide): Float32Array {
  const { inputs, filter } = transforms[tile]
  const each = kernel.length / 9
  const half = new Float64Array(inputs * 3 * each)
  const result = new Float32Array(inputs * inputs * each)
  const sum = new Float64Array(each)
  /** The sum of three runs of `from`, each times a factor, in `sum`. */
  const combine = (from: Float32Array | Float64Array, runs: readonly number[], factors: readonly number[]): void => {
    sum.fill(0)
    runs.forEach((run, k) => {
      const factor = at(factors, k)
      if (factor === 0) return
      for (let i = 0; i < each; i++) sum[i] = (sum[i] ?? 0) + factor * (from[run * each + i] ?? 0)
    })
  }
  for (let y = 0; y < inputs; y++) {
    for (let b = 0; b < 3; b++) {
      combine(kernel, [b, 3 + b, 6 + b], at(filter, y))
      half.set(sum, (y * 3 + b) * each)
    }
    for (let x = 0; x < inputs; x++) {
      combine(half, [y * 3, y * 3 + 1, y * 3 + 2], at(filter, x))
      result.set(sum, (y * inputs + x) * each)
    }
  }
  return result
}
