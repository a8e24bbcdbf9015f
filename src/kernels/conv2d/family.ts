/** What the families of conv2d.ts have in common: the variants that serve all three products, and which one is preferred. */

import type { Family, Target, Variant } from '../kernel.ts'
import { prefersSubgroups } from '../schedule/occupancy.ts'
import { preferredBlock } from '../schedule/workgroup-tile.ts'
import { convByProduct } from './as-matmul.ts'
import type { Conv2dKey } from './plain.ts'
import { checkConv } from './plain.ts'
import type { ConvProduct } from './workgroup.ts'
import { productOf, tiledConvs } from './workgroup.ts'

/**
 * The family of one product: its `own` variants (the plain one, two for subgroups, quads) and those that all three have.
 * Its `prefer` throws 'shape' for an empty key. Preferred is:
 * - a plain product where it is one (1x1, 64 channels and filters on lavapipe, GFLOP/s against the best other variant:
 *   forward 21 and 18, input gradient 20 and 13, filter gradient 26 and 19);
 * - a block, on GPUs and where subgroups are missing;
 * - on a CPU with subgroups quads, where the kernel is small enough for them, else subgroups.
 */
export function convFamily(product: ConvProduct, own: readonly Variant<Conv2dKey>[]): Family<Conv2dKey> {
  const variants = [...own, ...tiledConvs(product), convByProduct(product)]
  const preferred = (key: Conv2dKey, target: Target): string => {
    const suits = (name: string): boolean => variants.some((v) => v.name === name && v.supports(key, target))
    if (suits('product')) return 'product'
    const block = preferredBlock(productOf(product, key), target)
    if (block !== undefined) return block.name
    return ['quads', own[1]?.name ?? ''].find((name) => prefersSubgroups(target) && suits(name)) ?? 'plain'
  }
  return {
    name: product,
    variants,
    prefer(key, target) {
      checkConv(key)
      const name = preferred(key, target)
      return variants.findIndex((variant) => variant.name === name)
    },
  }
}
