/**
 * Winograd's algorithm as a variant of the convolution families, for training: the filters change in each step, so a
 * dispatch of the plan transforms them.
 * - forward:          y = A^T [(G g G^T) . (B^T x B)] A
 * - input gradient:   the same of dy, with the filters turned by half a circle
 * - filter gradient:  dg = G^T [sum over tiles (B^T x B) . (A dy A^T)] G, the transpose of the first in g
 *
 * The tiles are of 2x2 outputs, whose error is that of a direct sum, so that a training's trajectory hardly depends on the
 * variant: at 64 to 512 channels 1.7e-7 to 3.7e-7 of the largest number, against float64; the direct kernels 1.4e-7 to
 * 3.5e-7; tiles of 4x4 2e-6 to 1e-5. A number that is not finite makes outputs NaN whose windows hold it, and others of the same
 * tile.
 */

import type { KernelPlan, Target, Variant } from '../../kernel.ts'
import { input, output, scratch, surelyBoundBytes } from '../../kernel.ts'
import type { Conv2dKey } from '../plain.ts'
import { conv2dSupports, oneGroupByOne } from '../plain.ts'
import type { ConvProduct } from '../workgroup.ts'
import type { Convolution, Passes } from './passes.ts'
import {
  directFlops,
  forwardOf,
  inputsOf,
  joined,
  outputsOf,
  passesOf,
  plainProduct,
  planPasses,
  planProduct,
} from './passes.ts'
import { fewestChannels, isLessWork, pointsOf, tilesOf, transforms, transposed } from './tiles.ts'
import type { Finish, Images, ImageTransform } from './transforms.ts'
import { transformImages, transformTapGradient, transformTaps } from './transforms.ts'

const tile = 2
const transform = transforms[tile]

/** The images whose tiles a kernel goes through: its result, or, for the filter gradient, dy. */
const tiledOf = (product: ConvProduct, key: Conv2dKey): Images =>
  product === 'conv2d.inputGradient' ? inputsOf(key) : outputsOf(key)

const supportsOf = (product: ConvProduct) =>
  conv2dSupports({ ...oneGroupByOne, padTop: true, padLeft: true }, (key) => {
    const { height, width } = tiledOf(product, key)
    return (
      key.kernelHeight === 3 &&
      key.kernelWidth === 3 &&
      Math.min(key.channels, key.filters) >= fewestChannels &&
      filterBytes(key) <= surelyBoundBytes &&
      isLessWork(height, width, tile)
    )
  })

/** From how many channels and filters, and how many tiles, Winograd's algorithm is preferred on a CPU. */
const preferredFrom = { channels: 64, tiles: 64 }

/**
 * Whether Winograd's algorithm is faster than the direct kernels for subgroups. Processor time of both in turn on
 * lavapipe, as ratios for forward, input gradient and filter gradient:
 * - 64 channels and filters: 32 tiles 1.1, 0.8, 0.8; 128 tiles 1.2, 1.0, 1.5; 4096 tiles 1.1, 1.8, 1.9
 * - 256 channels and filters: 16 tiles 1.1, 1.4, 1.1; 64 tiles 1.6, 1.8, 1.7; 128 tiles 2.1, 2.0, 2.3
 * - 32 channels and filters, 4096 tiles: 0.7, 1.3, 1.2
 */
export function gainsByWinograd(product: ConvProduct, key: Conv2dKey): boolean {
  const { height, width } = tiledOf(product, key)
  const [rows, columns] = tilesOf(height, width, tile)
  const { channels, tiles } = preferredFrom
  return Math.min(key.channels, key.filters) >= channels && key.batch * rows * columns >= tiles
}

const filterBytes = ({ channels, filters }: Conv2dKey): number => pointsOf(tile) * channels * filters * 4

type WinogradVariant = Variant<Conv2dKey, 'winograd'>

export const winogradForward: WinogradVariant = {
  name: 'winograd',
  supports: /* @__PURE__ */ supportsOf('conv2d'),
  plan(key, target) {
    const finish: Finish = { bias: key.bias ? input(2) : undefined, activation: key.activation, pooled: false }
    return planTransforming('conv2d', key, { ...forwardOf(key), transposed: false, finish }, target)
  },
}

export const winogradInputGradient: WinogradVariant = {
  name: 'winograd',
  supports: /* @__PURE__ */ supportsOf('conv2d.inputGradient'),
  plan(key, target) {
    const pad = [2 - key.padTop, 2 - key.padLeft] as const
    const images = { batch: key.batch, from: outputsOf(key), to: inputsOf(key), pad }
    const finish: Finish = { bias: undefined, activation: 'linear', pooled: false }
    return planTransforming('conv2d.inputGradient', key, { ...images, transposed: true, finish }, target)
  },
}

/** Transforms the filters into scratch 0, then runs the convolution with them. */
function planTransforming(
  product: ConvProduct,
  key: Conv2dKey,
  work: Omit<Convolution, 'label' | 'tile' | 'filters'>,
  target: Target,
): KernelPlan {
  const { channels, filters } = key
  const label = `${product}/winograd`
  // The input gradient reads the filters turned and transposed.
  const taps = { label, channels, filters, turned: work.transposed, from: input(1), to: scratch(0) }
  const passes = planPasses({ ...work, label, tile, filters: scratch(0) }, [filterBytes(key)], target)
  return {
    variant: 'winograd',
    flops: directFlops(key),
    scratchBytes: passes.scratchBytes,
    dispatches: [transformTaps(transform, taps, target), ...passes.dispatches],
  }
}

export const winogradFilterGradient: WinogradVariant = {
  name: 'winograd',
  supports: /* @__PURE__ */ supportsOf('conv2d.filterGradient'),
  plan(key, target) {
    const { batch, channels, filters } = key
    const [left, right, product] = [scratch(0), scratch(1), scratch(2)]
    const matmulKey = { ...plainProduct, batch: pointsOf(tile), m: channels, n: filters, transposeA: true }
    const passes = passesOf({ batch, ...outputsOf(key) }, Math.max(channels, filters), tile, target)
    const label = 'conv2d.filterGradient/winograd'
    const plans = passes.map((rows, i): Passes => {
      const tiles = rows.count * rows.grid[1]
      const bytes = [channels, filters].map((depth) => pointsOf(tile) * tiles * depth * 4)
      const placed = { left, right, result: product }
      const own = planProduct({ ...matmulKey, k: tiles }, placed, [...bytes, filterBytes(key)], target)
      const image: ImageTransform = {
        ...{ label: `${label}/input`, images: inputsOf(key), matrix: transform.input },
        ...{ pad: [key.padTop, key.padLeft], from: input(0), to: left },
      }
      const gradient: ImageTransform = {
        ...{ label: `${label}/gradient`, images: outputsOf(key), matrix: transposed(transform.output) },
        ...{ pad: [0, 0], from: input(1), to: right },
      }
      const taps = { label, channels, filters, isFirst: i === 0, from: product, to: output(0) }
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
