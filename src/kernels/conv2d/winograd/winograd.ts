/**
 * 3x3 convolutions with less arithmetic, by Winograd's minimal filtering (see tiles.ts), for frozen networks: their
 * filters are transformed once, when they are loaded. Tiles of 2x2 outputs take 2.25 times fewer multiplications, those of
 * 4x4 four times. The output's transform adds the bias, and applies activation and 2x2 max-pooling.
 */

import type { Family } from '../../kernel.ts'
import { input } from '../../kernel.ts'
import type { Conv2dKey } from '../plain.ts'
import type { Convolution } from './passes.ts'
import { directFlops, forwardOf, planPasses } from './passes.ts'
import type { TileSide } from './tiles.ts'
import type { Finish } from './transforms.ts'

/** A convolution of 3x3 taps at stride 1 without dilation, and the side of a tile of outputs. */
export interface WinogradKey extends Conv2dKey {
  readonly tile: TileSide
  /** Whether the result is the largest number of each whole block of 2x2 outputs: an odd last row or column is dropped. */
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
        const { tile, activation, pooled = false, halfKernel } = key
        const finish: Finish = { bias: key.bias ? input(2) : undefined, activation, pooled }
        const filters = { filters: input(1), transposed: false, halfKernel }
        const work: Convolution = { label: 'conv2d/winograd', ...forwardOf(key), tile, ...filters, finish }
        return { variant: 'passes', flops: directFlops(key), ...planPasses(work, [], target) }
      },
    },
  ],
  prefer: () => 'passes',
}
