/** The function at the end of a network, which losses leave out. */

import { isNode } from '../graph/node.ts'
import { sigmoidOp } from '../operators/activation.ts'
import { reshape, reshapeOp } from '../operators/movement.ts'
import { softmaxOp } from '../operators/softmax.ts'
import { Tensor } from '../operators/tensor.ts'

const headOps = { softmax: softmaxOp, sigmoid: sigmoidOp }

/**
 * The input of a final softmax or sigmoid, even if reshapes follow that keep a softmax's axis; the tensor itself if it
 * is not the result of one.
 */
export function beforeHead(y: Tensor, head: 'softmax' | 'sigmoid'): Tensor {
  const { node } = y.value
  const [input] = node.inputs
  if (input === undefined) return y
  const x = new Tensor(input)
  if (isNode(node, headOps[head])) return x
  const keepsAxis = head === 'sigmoid' || x.shape.at(-1) === y.shape.at(-1)
  if (!isNode(node, reshapeOp) || !keepsAxis) return y
  const inner = beforeHead(x, head)
  return inner === x ? y : reshape(inner, y.shape)
}
