/** What the families of conv2d.ts have in common: the variants that serve all three products, and which one is preferred. */

import type { Family, Variant } from '../kernel.ts'
import { prefersSubgroups } from '../schedule/occupancy.ts'
import type { TiledName } from '../schedule/workgroup-tile.ts'
import { preferredBlock } from '../schedule/workgroup-tile.ts'
import type { Conv2dKey } from './plain.ts'
import { checkConv } from './plain.ts'
import type { ConvProduct } from './workgroup.ts'
import { productOf, tiledConvs } from './workgroup.ts'

/** Named by the rows of the tile; where columns are few it has twice as many. */
export type SubgroupName = 'subgroupRows16' | 'subgroupRows8'

type ConvVariant = 'plain' | SubgroupName | 'quads' | TiledName

/**
 * The family of one product: its `own` variants (the plain one, two for subgroups, quads) and those that all three have.
 * Its `prefer` throws 'shape' for an empty key. Preferred is:
 * - a block, on GPUs and where subgroups are missing;
 * - on a CPU with subgroups quads, where the kernel is small enough for them, else subgroups.
 */
export function convFamily(
  product: ConvProduct,
  own: readonly Variant<Conv2dKey, 'plain' | SubgroupName | 'quads'>[],
): Family<Conv2dKey, ConvVariant> {
  const variants: readonly Variant<Conv2dKey, ConvVariant>[] = [...own, ...tiledConvs(product)]
  return {
    name: product,
    variants,
    prefer(key, target) {
      checkConv(key)
      const suits = (name: ConvVariant): boolean => variants.some((v) => v.name === name && v.supports(key, target))
      const block = preferredBlock(productOf(product, key), target)
      if (block !== undefined && suits(block.name)) return block.name
      const bySubgroups = (['quads', 'subgroupRows16'] as const).find(suits)
      return prefersSubgroups(target) && bySubgroups !== undefined ? bySubgroups : 'plain'
    },
  }
}
