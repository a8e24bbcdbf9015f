/** Builds the three families of conv2d.ts: adds the variants that all of them have, and picks the preferred one. */

import type { Family, Variant } from '../kernel.ts'
import { prefersSubgroups } from '../schedule/occupancy.ts'
import type { TiledName } from '../schedule/workgroup-tile.ts'
import { preferredBlock } from '../schedule/workgroup-tile.ts'
import type { Conv2dKey } from './plain.ts'
import { checkConv } from './plain.ts'
import { gainsByWinograd } from './winograd/variants.ts'
import type { ConvProduct } from './workgroup.ts'
import { productOf, tiledConvs } from './workgroup.ts'

/** Variants for subgroups, named after the rows of a tile; with few columns, a tile has twice as many rows. */
export type SubgroupName = 'subgroupRows16' | 'subgroupRows8'

type OwnVariant = 'plain' | SubgroupName | 'quads' | 'winograd'
type ConvVariant = OwnVariant | TiledName

/**
 * Makes the family of one product from its `own` variants (plain, two for subgroups, quads, Winograd's) and the shared
 * ones. Its `prefer` throws 'shape' for an empty key. It prefers:
 * - a block of workgroup memory, on GPUs and where subgroups are missing;
 * - on a CPU with subgroups: Winograd's algorithm where it gains, quads if the kernel is small enough, else subgroups.
 */
export function convFamily(
  product: ConvProduct,
  own: readonly Variant<Conv2dKey, OwnVariant>[],
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
      const wishes = ['winograd', 'quads', 'subgroupRows16'] as const
      const bySubgroups = wishes.find((name) => suits(name) && (name !== 'winograd' || gainsByWinograd(product, key)))
      return prefersSubgroups(target) && bySubgroups !== undefined ? bySubgroups : 'plain'
    },
  }
}
