/**
 * Plans of convolutions by Winograd's algorithm, with filters that are transformed already. Some rows of tiles at a time
 * pass through three kernels: the input's transform, a matrix product for each point, which sums the channels, and the
 * output's transform.
 */

import type { KernelPlan, Operand, Target } from '../../kernel.ts'
import { input, output, placed, planKernel, scratch } from '../../kernel.ts'
import type { MatmulKey } from '../../matmul/key.ts'
import { matmul } from '../../matmul/matmul.ts'
import { transformedBytes } from '../../schedule/occupancy.ts'
import { range } from '../../wgsl/text.ts'
import type { Conv2dKey } from '../plain.ts'
import type { TileSide } from './tiles.ts'
import { pointsOf, tilesOf, transforms } from './tiles.ts'
import type { Finish, Images, ImageTransform, TileRows } from './transforms.ts'
import { transformImages, transformOutputs } from './transforms.ts'

export const directFlops = ({ batch, outHeight, outWidth, channels, filters }: Conv2dKey): number =>
  2 * batch * outHeight * outWidth * filters * 9 * channels

export const inputsOf = (key: Conv2dKey): Images => ({
  height: key.inputHeight,
  width: key.inputWidth,
  channels: key.channels,
})
export const outputsOf = (key: Conv2dKey): Images => ({
  height: key.outHeight,
  width: key.outWidth,
  channels: key.filters,
})

/** The images that a convolution reads and makes. */
export interface Extents {
  readonly batch: number
  readonly from: Images
  readonly to: Images
  readonly pad: readonly [top: number, left: number]
}

export const forwardOf = (key: Conv2dKey): Extents => ({
  ...{ batch: key.batch, from: inputsOf(key), to: outputsOf(key), pad: [key.padTop, key.padLeft] },
})

export interface Convolution extends Extents {
  readonly label: string
  readonly tile: TileSide
  /** The transformed filters: [points, from, to], or [points, to, from] if transposed. */
  readonly filters: Operand
  readonly transposed: boolean
  /** Whether they are stored as f16. */
  readonly halfKernel?: boolean | undefined
  readonly finish: Finish
}

/** Cuts the tiles of a batch into passes of whole rows, with at most `channels` numbers for each point of a tile. */
export function passesOf(
  { batch, height, width }: { batch: number; height: number; width: number },
  channels: number,
  tile: TileSide,
  target: Target,
): TileRows[] {
  const grid = tilesOf(height, width, tile)
  const rowBytes = pointsOf(tile) * grid[1] * channels * 4
  const rows = batch * grid[0]
  const passes = Math.ceil(rows / Math.max(1, Math.floor(transformedBytes(target) / rowBytes)))
  const each = Math.ceil(rows / passes)
  return range(Math.ceil(rows / each)).map((pass) => ({
    transform: transforms[tile],
    grid,
    first: pass * each,
    count: Math.min(each, rows - pass * each),
  }))
}

export type Passes = Pick<KernelPlan, 'dispatches' | 'scratchBytes'>

/** Plans a convolution with transformed filters; `before` is scratch memory that is in use, from number 0. */
export function planPasses(work: Convolution, before: readonly number[], target: Target): Passes {
  const { batch, from, to, tile } = work
  const [transformed, product] = [scratch(before.length), scratch(before.length + 1)]
  const points = pointsOf(tile)
  const matmulKey = {
    ...plainProduct,
    ...{ batch: points, n: to.channels, k: from.channels, transposeB: work.transposed, halfB: work.halfKernel },
  }
  return joined(
    passesOf({ batch, ...to }, Math.max(from.channels, to.channels), tile, target).map((rows) => {
      const tiles = rows.count * rows.grid[1]
      const bytes = [...before, points * tiles * from.channels * 4, points * tiles * to.channels * 4]
      const placed = { left: transformed, right: work.filters, result: product }
      const { dispatches, scratchBytes } = planProduct({ ...matmulKey, m: tiles }, placed, bytes, target)
      const images: ImageTransform = {
        ...{ label: `${work.label}/input`, images: from, matrix: rows.transform.input, pad: work.pad },
        ...{ from: input(0), to: transformed },
      }
      const outputs = { label: work.label, images: to, finish: work.finish, from: product, to: output(0) }
      return {
        dispatches: [transformImages(rows, images, target), ...dispatches, transformOutputs(rows, outputs, target)],
        scratchBytes,
      }
    }),
  )
}

/** One pass after another, in the same scratch memory. */
export function joined(passes: readonly Passes[]): Passes {
  const pieces = Math.max(...passes.map(({ scratchBytes }) => scratchBytes.length))
  return {
    dispatches: passes.flatMap(({ dispatches }) => dispatches),
    scratchBytes: range(pieces).map((i) => Math.max(...passes.map(({ scratchBytes }) => scratchBytes[i] ?? 0))),
  }
}

export const plainProduct: Omit<MatmulKey, 'batch' | 'm' | 'n' | 'k'> = {
  ...{ transposeA: false, transposeB: false, batchedA: true, batchedB: true },
  ...{ bias: false, activation: 'linear' },
}

/** A product whose operands are elsewhere; its own scratch memory comes after that of `bytes`. */
export function planProduct(
  key: MatmulKey,
  { left, right, result }: { left: Operand; right: Operand; result: Operand },
  bytes: readonly number[],
  target: Target,
): Passes {
  const plan = planKernel(matmul, key, target)
  return {
    dispatches: placed(plan, { input: [left, right], output: [result] }, bytes.length),
    scratchBytes: [...bytes, ...plan.scratchBytes],
  }
}
