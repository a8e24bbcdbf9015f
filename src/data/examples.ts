/** Examples of any data set as tensors: for loops of one's own, and for what goes over a whole set piece by piece. */

import { WeftgradError } from '../errors.ts'
import type { Shape } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { gather } from '../operators/index.ts'
import { aTensor, type Tensor, tensor } from '../operators/tensor.ts'
import { checkValue } from '../options.ts'
import { aDataset, type Batch, type Dataset } from './contract.ts'

/**
 * Traces examples of a data set, with their targets and weights: those at the positions `rows`, u32 [n], or all in order. Nothing
 * is copied from the host. A position out of range gives NaN and an invalid class number. Images of bytes are divided by 255, and
 * padded to `inputShape`; it is by default the shape of the set's examples.
 *
 * ```ts
 * const loss = ({ rows }, training) => {
 *   const { x, target } = data.examples(train, rows)
 *   return softmaxCrossEntropy(model.logits(x, training), target)
 * }
 * ```
 * @throws WeftgradError 'argument' for a generator, whose examples have an order of their own; 'shape' if the examples do not
 * become inputs of this shape, or the positions are not u32 [n].
 */
export function examples(set: Dataset, rows?: Tensor, inputShape: Shape = set.shape): Batch {
  checkValue('examples: the data', set, aDataset)
  if (rows !== undefined) checkValue('examples: the rows', rows, aTensor)
  const indices = tensor(set.indices, [set.count], 'u32')
  return examplesAt(set, rows === undefined ? indices : gather(indices, rows), inputShape)
}

/** The same by resident indices, u32 [n]: some of the set's `indices`. */
export function examplesAt(set: Dataset, indices: Tensor, inputShape: Shape): Batch {
  if (set.source !== undefined)
    throw new WeftgradError(
      'argument',
      'The examples of a generator are made while training, in their own order. Give data.arrays with some of them.',
    )
  set.refuseMisfits(inputShape, 'examples')
  return set.batch({ batch: indices.size, tensor: indices }, tensor([0], [1], 'u32'), inputShape)
}

/** 16 MiB: enough to keep a device busy. */
const numbersAtOnce = 2 ** 22

/**
 * The indices of a set in pieces to work on one after the other, of equal size but for the last: a plan made for one serves the
 * others.
 */
export function* pieces(set: Dataset): Generator<Tensor> {
  const size = Math.max(1, Math.floor(numbersAtOnce / elementCount(set.shape)))
  for (let first = 0; first < set.count; first += size) {
    const indices = set.indices.subarray(first, first + size)
    yield tensor(indices, [indices.length], 'u32')
  }
}
