/**
 * Convolutions with small kernels (LeNet's) by *quads*: two by two outputs at a time. A subgroup loads the patch of the
 * image under a quad, one vector per lane. Each lane holds the taps of its filters in a function-scope array, whose
 * indices are constants in every hot loop.
 *
 * Each of the three kernels has two forms. The plain form is a variant of the convolution families in conv2d.ts. The
 * pooled form computes convolution, bias, relu and 2x2 max-pooling in one kernel. Its gradients start from the gradient
 * of the pooled output and from a *code* that the forward kernel writes for each pooled element: which of the four
 * positions won (0-3, row-major), or 4 if relu cut it off and no gradient passes. If a convolution does not fit, the
 * graph keeps convolution and pooling separate.
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

/** Uses the kernels of one-channel.ts on a CPU for one-channel images, and quads otherwise. */
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

/** The plain form: variants of the families in conv2d.ts. */
export const forwardByQuads: Variant<Conv2dKey, 'quads'> = forward('plain')
export const inputGradientByQuads: Variant<Conv2dKey, 'quads'> = inputGradient('plain')
export const filterGradientByQuads: Variant<Conv2dKey, 'quads'> = filterGradient('plain')

/**
 * The pooled convolution. Inputs: image, kernel, optional bias. Outputs: [batch, outHeight / 2, outWidth / 2, filters]
 * and the codes (u32).
 */
export const conv2dPool = withOneChannel('conv2dPool', forward('pooled'), oneChannelForward)

/**
 * The filter gradient. Inputs: image, gradient of the pooled output, codes. Outputs: the gradients of kernel and bias.
 */
export const conv2dPoolFilterGradient = withOneChannel(
  'conv2dPool.filterGradient',
  filterGradient('pooled'),
  oneChannelFilterGradient,
)

/** The input gradient. Inputs: gradient of the pooled output, codes, kernel. Output: the image's gradient. */
export const conv2dPoolInputGradient: Family<Conv2dPoolKey, 'quads'> = {
  name: 'conv2dPool.inputGradient',
  variants: [inputGradient('pooled')],
  prefer(key) {
    checkConv(key)
    return 'quads'
  },
}
