/**
 * 3x3 convolutions with less arithmetic, by Winograd's minimal filtering (see tiles.ts): the channels are summed by
 * matrix products, one per point, with 2.25 (tiles of 2x2) or 4 (4x4) times fewer multiplications.
 *
 * Some rows of tiles at a time pass through three kernels: the input's transform, a matrix product for each point, and
 * the output's transform with bias and activation. A frozen network's filters are transformed once, before. The variants
 * of the convolution families transform them in each run:
 * - forward:          y = A^T [(G g G^T) . (B^T x B)] A
 * - input gradient:   the same of dy, with the filters turned by half a circle
 * - filter gradient:  dg = G^T [sum over tiles (B^T x B) . (A dy A^T)] G, the transpose of the first in g
 *
 * These take tiles of 2x2, whose error is that of a direct sum (2e-7 to 1.2e-6 of the largest number; tiles of 4x4: 2e-6
 * to 1e-5). A number that is not finite makes every output of its tile NaN, not only those whose windows hold it.
 */

import type { Family, KernelPlan, Operand, Target, Variant } from '../../kernel.ts'
import { flopsOf, input, output, planKernel, scratch } from '../../kernel.ts'
import type { MatmulKey } from '../../matmul/key.ts'
import { matmul } from '../../matmul/matmul.ts'
import { transformedBytes } from '../../schedule/occupancy.ts'
import { range } from '../../wgsl/text.ts'
import type { Conv2dKey } from '../plain.ts'
import { conv2dSupports } from '../plain.ts'
import type { TileSide, Transform } from './tiles.ts'
import { fewestChannels, isLessWork, pointsOf, tilesOf, transforms, transposed } from './tiles.ts'
import type { Finish, Images, ImageTransform, TileRows } from './transforms.ts'
import { transformImages, transformOutputs, transformTapGradient, transformTaps } from './transforms.ts'

/** A convolution of 3x3 taps at stride 1 without dilation, and the side of a tile of outputs. */
export interface WinogradKey extends Conv2dKey {
  readonly tile: TileSide
  /** Whether the result is the largest of each whole block of 2x2 outputs. */
  readonly pooled?: boolean
}

/** The convolution, with its filters already transformed. Inputs: image, filters [points, channels, filters], bias. */
export const winograd: Family<WinogradKey, 'passes'> = {
  name: 'conv2d.winograd',
  variants: [
    {
      name: 'passes',
      supports: () => true,
      plan(key, target) {
        const { tile, activation, pooled = false } = key
        const finish: Finish = { bias: key.bias ? input(2) : undefined, activation, pooled }
        const work: Convolution = { ...forwardOf(key), tile, filters: input(1), transposed: false, finish }
        return { variant: 'passes', flops: directFlops(key), ...planPasses(work, [], target) }
      },
    },
  ],
  prefer: () => 'passes',
}

const directFlops = ({ batch, outHeight, outWidth, channels, filters }: Conv2dKey): number =>
  2 * batch * outHeight * outWidth * filters * 9 * channels

const inputsOf = (key: Conv2dKey): Images => ({
  height: key.inputHeight,
  width: key.inputWidth,
  channels: key.channels,
})
const outputsOf = (key: Conv2dKey): Images => ({ height: key.outHeight, width: key.outWidth, channels: key.filters })

/** The images that a convolution reads and makes. */
interface Extents {
  readonly batch: number
  readonly from: Images
  readonly to: Images
  readonly pad: readonly [top: number, left: number]
}

const forwardOf = (key: Conv2dKey): Extents => ({
  ...{ batch: key.batch, from: inputsOf(key), to: outputsOf(key), pad: [key.padTop, key.padLeft] },
})

interface Convolution extends Extents {
  readonly tile: TileSide
  /** The transformed filters: [points, from, to], or [points, to, from] if transposed. */
  readonly filters: Operand
  readonly transposed: boolean
  readonly finish: Finish
}

/** Cuts the tiles of a batch into passes of whole rows, with at most `channels` numbers for each point of a tile. */
function passesOf(
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

type Passes = Pick<KernelPlan, 'dispatches' | 'scratchBytes'>

/** Plans a convolution with transformed filters; `before` is scratch memory that is in use, from number 0. */
function planPasses(work: Convolution, before: readonly number[], target: Target): Passes {
  const { batch, from, to, tile } = work
  const [transformed, product] = [scratch(before.length), scratch(before.length + 1)]
  const points = pointsOf(tile)
  const matmulKey = {
    ...plainProduct,
    ...{ batch: points, n: to.channels, k: from.channels, transposeB: work.transposed },
  }
  return joined(
    passesOf({ batch, ...to }, Math.max(from.channels, to.channels), tile, target).map((rows) => {
      const tiles = rows.count * rows.grid[1]
      const bytes = [...before, points * tiles * from.channels * 4, points * tiles * to.channels * 4]
      const placed = { left: transformed, right: work.filters, result: product }
      const { dispatches, scratchBytes } = planProduct({ ...matmulKey, m: tiles }, placed, bytes, target)
      const images: ImageTransform = {
        ...{ label: 'conv2d/winograd/input', images: from, matrix: rows.transform.input, pad: work.pad },
        ...{ from: input(0), to: transformed },
      }
      const outputs = { images: to, finish: work.finish, from: product, to: output(0) }
      return {
        dispatches: [transformImages(rows, images, target), ...dispatches, transformOutputs(rows, outputs, target)],
        scratchBytes,
      }
    }),
  )
}

/** One pass after another, in the same scratch memory. */
function joined(passes: readonly Passes[]): Passes {
  const pieces = Math.max(...passes.map(({ scratchBytes }) => scratchBytes.length))
  return {
    dispatches: passes.flatMap(({ dispatches }) => dispatches),
    scratchBytes: range(pieces).map((i) => Math.max(...passes.map(({ scratchBytes }) => scratchBytes[i] ?? 0))),
  }
}

const plainProduct: Omit<MatmulKey, 'batch' | 'm' | 'n' | 'k'> = {
  ...{ transposeA: false, transposeB: false, batchedA: true, batchedB: true },
  ...{ bias: false, activation: 'linear' },
}

/** A product whose operands are elsewhere; its own scratch memory comes after that of `bytes`. */
function planProduct(
  key: MatmulKey,
  { left, right, result }: { left: Operand; right: Operand; result: Operand },
  bytes: readonly number[],
  target: Target,
): Passes {
  const plan = planKernel(matmul, key, target)
  const place = ({ role, index }: Operand): Operand => {
    if (role === 'scratch') return scratch(bytes.length + index)
    return role === 'output' ? result : index === 0 ? left : right
  }
  return {
    dispatches: plan.dispatches.map(({ splitSum: _, ...own }) => ({
      ...own,
      flops: flopsOf(plan, own),
      bindings: own.bindings.map((binding) => ({ ...binding, operand: place(binding.operand) })),
    })),
    scratchBytes: [...bytes, ...plan.scratchBytes],
  }
}

/** The tiles of training. */
const tile = 2
const transform: Transform = transforms[tile]
/** WebGPU binds at least this much at once. */
const mostFilterBytes = 128 * 2 ** 20

const supports = /* @__PURE__ */ conv2dSupports(
  { strides: false, dilation: false, padTop: true, padLeft: true, groups: false, bias: true, activation: true },
  ({ kernelHeight, kernelWidth, channels, filters, outHeight, outWidth }) =>
    kernelHeight === 3 &&
    kernelWidth === 3 &&
    Math.min(channels, filters) >= fewestChannels &&
    pointsOf(tile) * channels * filters * 4 <= mostFilterBytes &&
    isLessWork(outHeight, outWidth, tile),
)

const filterBytes = ({ channels, filters }: Conv2dKey): number => pointsOf(tile) * channels * filters * 4

type Variants = Variant<Conv2dKey, 'winograd'>

export const winogradForward: Variants = {
  name: 'winograd',
  supports,
  plan(key, target) {
    const finish: Finish = { bias: key.bias ? input(2) : undefined, activation: key.activation, pooled: false }
    const work: Convolution = { ...forwardOf(key), tile, filters: scratch(0), transposed: false, finish }
    return withFilters(key, false, planPasses(work, [filterBytes(key)], target), target)
  },
}

export const winogradInputGradient: Variants = {
  name: 'winograd',
  supports,
  plan(key, target) {
    const pad = [2 - key.padTop, 2 - key.padLeft] as const
    const extents: Extents = { batch: key.batch, from: outputsOf(key), to: inputsOf(key), pad }
    const finish: Finish = { bias: undefined, activation: 'linear', pooled: false }
    const work: Convolution = { ...extents, tile, filters: scratch(0), transposed: true, finish }
    return withFilters(key, true, planPasses(work, [filterBytes(key)], target), target)
  },
}

/** Transforms the filters into scratch 0 first. */
function withFilters(
  key: Conv2dKey,
  turned: boolean,
  { dispatches, scratchBytes }: Passes,
  target: Target,
): KernelPlan {
  const { channels, filters } = key
  const work = { channels, filters, turned, from: input(1), to: scratch(0) }
  return {
    variant: 'winograd',
    flops: directFlops(key),
    scratchBytes,
    dispatches: [transformTaps(transform, work, target), ...dispatches],
  }
}

export const winogradFilterGradient: Variants = {
  name: 'winograd',
  supports,
  plan(key, target) {
    const { batch, channels, filters } = key
    const [left, right, product] = [scratch(0), scratch(1), scratch(2)]
    const matmulKey = { ...plainProduct, batch: pointsOf(tile), m: channels, n: filters, transposeA: true }
    const passes = passesOf({ batch, ...outputsOf(key) }, Math.max(channels, filters), tile, target)
    const plans = passes.map((rows, i): Passes => {
      const tiles = rows.count * rows.grid[1]
      const bytes = [channels, filters].map((depth) => pointsOf(tile) * tiles * depth * 4)
      const placed = { left, right, result: product }
      const own = planProduct({ ...matmulKey, k: tiles }, placed, [...bytes, filterBytes(key)], target)
      const label = 'conv2d.filterGradient/winograd'
      const image: ImageTransform = {
        ...{ label: `${label}/input`, images: inputsOf(key), matrix: transform.input },
        ...{ pad: [key.padTop, key.padLeft], from: input(0), to: left },
      }
      const gradient: ImageTransform = {
        ...{ label: `${label}/gradient`, images: outputsOf(key), matrix: transposed(transform.output) },
        ...{ pad: [0, 0], from: input(1), to: right },
      }
      const taps = { channels, filters, isFirst: i === 0, from: product, to: output(0) }
      return {
        dispatches: [
          transformImages(rows, image, target),
          transformImages(rows, gradient, target),
          ...own.dispatches,
          transformTapGradient(transform, taps, target),
        ],
        scratchBytes: own.scratchBytes,
      }
    })
    return { variant: 'winograd', flops: directFlops(key), ...joined(plans) }
  },
}
