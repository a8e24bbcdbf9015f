/** Dropout. */

import { outputOf } from '../graph/node.ts'
import { dropout as dropoutKernels } from '../kernels/elementwise/dropout.ts'
import { elementCount } from '../kernels/kernel.ts'
import { aNumber, checkOptions, fraction, required } from '../options.ts'
import { f32, take } from './checks.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'
import { aTensor, tensor } from './tensor.ts'

interface DropoutAttributes {
  readonly rate: number
  readonly seed: number
  readonly stream: number
}

/** Dropout. Inputs: x and a u32 counter; the same counter gives the same mask. */
const dropoutOp: Operator<DropoutAttributes, [x: Tensor, counter: Tensor]> = {
  name: 'dropout',
  shape(inputs) {
    take('dropout', inputs, [{}, { dtype: 'u32' }])
    return [f32(inputs[0].shape)]
  },
  lower: (node, kernels) =>
    kernels.plan(dropoutKernels, { count: elementCount(outputOf(node).type.shape), ...node.attributes }),
  vjp: ({ cotangent, inputs: [, counter], attributes }) => [apply(dropoutOp, [cotangent, counter], attributes)],
}

/** Options of {@link dropout}. */
export interface DropoutOptions {
  /** Share of the elements to set to zero, in [0, 1); the others are scaled by 1 / (1 - rate). */
  readonly rate: number
  /** Random seed, a whole number. */
  readonly seed: number
  /** Tells apart the dropouts of one network. 0 by default. */
  readonly stream?: number
  /** A u32 tensor whose first element counts steps; the same count gives the same mask. 0 by default. */
  readonly counter?: Tensor
}

/**
 * Sets a random share of x to zero and scales the rest by 1 / (1 - rate) (Srivastava et al., "Dropout", 2014). The mask
 * comes from a counter-based generator (Threefry; Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011):
 * the same seed, stream and counter give the same mask, in the gradient too.
 * @throws WeftgradError 'argument' for a rate outside [0, 1), 'shape' if x is not f32.
 */
export function dropout(x: Tensor, options: DropoutOptions): Tensor {
  const kinds = { rate: required(fraction), seed: required(aNumber), stream: aNumber, counter: aTensor }
  const { rate, seed, stream = 0, counter } = checkOptions('dropout', options, kinds)
  return apply(dropoutOp, [x, counter ?? tensor([0], [1], 'u32')], { rate, seed, stream })
}
