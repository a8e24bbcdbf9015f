/** Rows by index, and the gradient. */

import type { NoAttributes } from '../graph/node.ts'
import { inputOf } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { gatherRows, gatherRowsGradient } from '../kernels/movement/gather.ts'
import { extentOf, f32, refuse, take } from './checks.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'

const gatherOp: Operator<NoAttributes, [x: Tensor, indices: Tensor]> = {
  name: 'gather',
  shape(inputs) {
    const [x, indices] = inputs
    if (x.dtype === 'u8' || x.shape.length < 1 || indices.dtype !== 'u32' || indices.shape.length !== 1)
      refuse('gather', inputs, 'it takes a tensor of at least one axis and u32 indices [n]')
    return [{ shape: [extentOf(indices.shape, 0), ...x.shape.slice(1)], dtype: x.dtype }]
  },
  lower(node, kernels) {
    const [rows, row] = rowsOf(inputOf(node, 0).type.shape)
    return kernels.plan(gatherRows, { rows, rowElements: row, count: extentOf(inputOf(node, 1).type.shape, 0) })
  },
  vjp: ({ cotangent, inputs: [x, indices] }) => [
    apply(gatherGradientOp, [cotangent, indices], { rows: extentOf(x.shape, 0) }),
  ],
}

const gatherGradientOp: Operator<{ readonly rows: number }, [dy: Tensor, indices: Tensor]> = {
  name: 'gatherGradient',
  shape(inputs, { rows }) {
    take('gatherGradient', inputs, [{}, { dtype: 'u32', rank: 1 }])
    return [f32([rows, ...inputs[0].shape.slice(1)])]
  },
  lower(node, kernels) {
    const [count, row] = rowsOf(inputOf(node, 0).type.shape)
    return kernels.plan(gatherRowsGradient, { rows: node.attributes.rows, rowElements: row, count })
  },
  vjp: ({ cotangent, inputs: [, indices] }) => [gather(cotangent, indices)],
}

/** The number of rows, and of elements in each. */
function rowsOf(shape: readonly number[]): [rows: number, elements: number] {
  return [extentOf(shape, 0), elementCount(shape.slice(1))]
}

/**
 * Gathers rows of x [rows, ...] by u32 indices [n]: [n, ...]; NaN where an index is out of range. The gradients of a
 * row that occurs several times are added in a fixed order.
 * @throws WeftgradError 'shape' if x has no axis, or the indices are not u32 of rank 1.
 */
export function gather(x: Tensor, indices: Tensor): Tensor {
  return apply(gatherOp, [x, indices], {})
}
