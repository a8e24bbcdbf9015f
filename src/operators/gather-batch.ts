/** The input of training: a batch of padded, scaled images with their labels, taken from a data set of bytes. */

import { inputOf } from '../graph/node.ts'
import type { GatherBatchKey } from '../kernels/training/gather-batch.ts'
import { gatherBatch as gatherBatchKernels } from '../kernels/training/gather-batch.ts'
import { extentsOf4, f32, refuse, take, u32 } from './checks.ts'
import type { Operator } from './operator.ts'
import { applyAll, noDerivative } from './operator.ts'
import type { Tensor } from './tensor.ts'

export type { Augmentation } from '../kernels/training/gather-batch.ts'

/** How to build a batch: see {@link GatherBatchKey}. */
export type BatchAttributes = Omit<GatherBatchKey, 'datasetCount' | 'height' | 'width' | 'channels'>

const gatherBatchOp: Operator<BatchAttributes, [images: Tensor, permutation: Tensor, state: Tensor, labels: Tensor]> = {
  name: 'gatherBatch',
  shape(inputs, { batch, padTop, padLeft, outHeight, outWidth }) {
    take('gatherBatch', inputs, [
      { dtype: 'u8', rank: 4 },
      { dtype: 'u32', rank: 1 },
      { dtype: 'u32', rank: 1 },
      { dtype: 'u32', rank: 1 },
    ])
    const [images, , , labels] = inputs
    const [count, height, width, channels] = extentsOf4(images)
    if (labels.shape[0] !== count) refuse('gatherBatch', inputs, 'it takes one label per image')
    if (outHeight < height + padTop || outWidth < width + padLeft)
      refuse('gatherBatch', inputs, `they do not fit into padded images of ${outHeight}x${outWidth}`)
    return [f32([batch, outHeight, outWidth, channels]), u32([batch])]
  },
  lower(node, kernels) {
    const [datasetCount, height, width, channels] = extentsOf4(inputOf(node, 0).type)
    return kernels.plan(gatherBatchKernels, { datasetCount, height, width, channels, ...node.attributes })
  },
  vjp: noDerivative,
}

/**
 * Takes a batch from a data set on the device. Operands: images [n, h, w, c] (u8), the permutation (u32), the training
 * state with the step (u32), and labels [n] (u32). Results: images `byte / divisor`, f32 [batch, outHeight, outWidth,
 * c], and labels, u32 [batch].
 */
export function gatherBatch(
  images: Tensor,
  permutation: Tensor,
  state: Tensor,
  labels: Tensor,
  attributes: BatchAttributes,
): { readonly x: Tensor; readonly labels: Tensor } {
  const [x, own] = applyAll(gatherBatchOp, [images, permutation, state, labels], attributes)
  if (x === undefined || own === undefined) throw new RangeError('gatherBatch has two results')
  return { x, labels: own }
}
