/**
 * Convolutions with small kernels (LeNet's) by *quads*: two by two outputs at a time. On a CPU with subgroups, a subgroup
 * loads the patch of the image under a quad, one vector per lane. Each lane holds the taps of its filters in a
 * function-scope array, whose indices are constants in every hot loop. Elsewhere, lanes take quads: see pixels.ts.
 *
 * Each of the three kernels has two forms. The plain form is a variant of the convolution families in conv2d.ts. The
 * pooled form computes convolution, bias, relu and 2x2 max-pooling in one kernel. Its gradients start from the gradient
 * of the pooled output and from a *code* that the forward kernel writes for each pooled element: which of the four
 * positions won (0-3, row-major), or 4 if relu cut it off and no gradient passes. If a convolution does not fit, the
 * graph keeps convolution and pooling separate. If it fits, tuning on a GPU may still choose kernels that do the same
 * one after the other: see separate.ts.
 */

import type { Family, Target, Variant } from '../../kernel.ts'
import { checkConv } from '../plain.ts'
import { filterGradient } from './filter-gradient.ts'
import { forward } from './forward.ts'
import { inputGradient } from './input-gradient.ts'
import { oneChannelFilterGradient, oneChannelForward } from './one-channel.ts'
import { pixelsForward, pixelsInputGradient } from './pixels.ts'
import { pixelsFilterGradient } from './pixels-filter-gradient.ts'
import type { Conv2dPoolKey } from './quad.ts'
import { separateFilterGradient, separateForward, separateInputGradient } from './separate.ts'

export type { Conv2dPoolKey } from './quad.ts'

/**
 * Whether each of the three kernels has a variant for a convolution that is pooled. `separate` alone is none: it
 * supports only what `pixels` does.
 */
export function canFusePool(key: Conv2dPoolKey, target: Target): boolean {
  return [conv2dPool, conv2dPoolFilterGradient, conv2dPoolInputGradient].every(({ variants }) =>
    variants.some((variant) => variant.supports(key, target)),
  )
}

type PoolVariant = 'quads' | 'oneChannel' | 'pixels' | 'separate'

/**
 * Prefers, on a CPU with subgroups, the kernels of one-channel.ts for one-channel images and quads otherwise; pixels
 * elsewhere, if the kernel is as small as they need.
 */
function pooledFamily(
  name: string,
  variants: readonly Variant<Conv2dPoolKey, PoolVariant>[],
): Family<Conv2dPoolKey, PoolVariant> {
  return {
    name,
    variants,
    prefer(key, target) {
      checkConv(key)
      const order = ['pixels', 'oneChannel', 'quads'] as const
      return order.find((wish) => variants.some((v) => v.name === wish && v.supports(key, target))) ?? 'quads'
    },
  }
}

/**
 * The pooled convolution. Inputs: image, kernel, optional bias. Outputs: [batch, outHeight / 2, outWidth / 2, filters]
 * and the codes (u32).
 */
export const conv2dPool = pooledFamily('conv2dPool', [
  forward('pooled'),
  oneChannelForward,
  pixelsForward,
  separateForward,
])

/**
 * The filter gradient. Inputs: image, gradient of the pooled output, codes. Outputs: the gradients of kernel and bias.
 */
export const conv2dPoolFilterGradient = pooledFamily('conv2dPool.filterGradient', [
  filterGradient('pooled'),
  oneChannelFilterGradient,
  pixelsFilterGradient,
  separateFilterGradient,
])

/** The input gradient. Inputs: gradient of the pooled output, codes, kernel. Output: the image's gradient. */
export const conv2dPoolInputGradient = pooledFamily('conv2dPool.inputGradient', [
  inputGradient('pooled'),
  pixelsInputGradient,
  separateInputGradient,
])
