/**
 * Convolutions with small kernels (LeNet's) by *quads*: two by two outputs at a time. A subgroup loads the patch of the
 * image under a quad, one vector a lane, and holds the kernel's taps for its filters in a function-scope array whose
 * indices are constants wherever it is hot.
 *
 * Each of the three kernels comes in two forms. Plain, it is a variant of the convolution families in conv2d.ts. Pooled,
 * convolution, bias, relu and 2x2 max-pooling are one kernel, and the gradients start from the pooled numbers' gradient
 * and a *code* that the forward kernel leaves for each: which of the four positions won (0-3, row-major), or 4 where relu
 * cut it off and no gradient passes. Where a convolution does not fit, the graph keeps it and its pooling apart.
 */

import type { Family, Target, Variant } from '../../kernel.ts'
import { prefersSubgroups } from '../../schedule/occupancy.ts'
import type { Conv2dKey } from '../plain.ts'
import { checkConv } from '../plain.ts'
import { filterGradient } from './filter-gradient.ts'
import { forward } from './forward.ts'
import { inputGradient, inputGradientFits } from './input-gradient.ts'
import { oneChannelFilterGradient, oneChannelForward } from './one-channel.ts'
import type { Conv2dPoolKey } from './quad.ts'
import { fits } from './quad.ts'

export type { Conv2dPoolKey } from './quad.ts'

/** Whether the three kernels of this file can serve a convolution that is pooled. */
export function canFusePool(key: Conv2dPoolKey, target: Target): boolean {
  return fits('pooled', key, target) && inputGradientFits('pooled', key, target)
}

/** Quads, and image columns where a CPU's images have one channel. */
function withOneChannel(
  name: string,
  quads: Variant<Conv2dPoolKey, 'quads'>,
  oneChannel: Variant<Conv2dPoolKey, 'oneChannel'>,
): Family<Conv2dPoolKey, 'quads' | 'oneChannel'> {
  return {
    name,
    variants: [quads, oneChannel],
    prefer(key, target) {
      checkConv(key)
      return prefersSubgroups(target) && oneChannel.supports(key, target) ? 'oneChannel' : 'quads'
    },
  }
}

/** Variants of the families in conv2d.ts. */
export const forwardByQuads: Variant<Conv2dKey, 'quads'> = forward('plain')
export const inputGradientByQuads: Variant<Conv2dKey, 'quads'> = inputGradient('plain')
export const filterGradientByQuads: Variant<Conv2dKey, 'quads'> = filterGradient('plain')

/** Inputs image, kernel and maybe bias; outputs [batch, outHeight / 2, outWidth / 2, filters] and the codes (u32). */
export const conv2dPool = withOneChannel('conv2dPool', forward('pooled'), oneChannelForward)

/** Inputs image, gradient of the pooled numbers, codes; outputs the gradients of kernel and bias. */
export const conv2dPoolFilterGradient = withOneChannel(
  'conv2dPool.filterGradient',
  filterGradient('pooled'),
  oneChannelFilterGradient,
)

/** Inputs gradient of the pooled numbers, codes, kernel; output the image's gradient. */
export const conv2dPoolInputGradient: Family<Conv2dPoolKey, 'quads'> = {
  name: 'conv2dPool.inputGradient',
  variants: [inputGradient('pooled')],
  prefer(key) {
    checkConv(key)
    return 'quads'
  },
}
