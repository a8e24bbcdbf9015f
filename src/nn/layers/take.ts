/** Positions along an axis, in any order and any number of times: strided and reversed slices, reflections, repetitions. */

import { WeftgradError } from '../../errors.ts'
import { shapeText } from '../../graph/node.ts'
import { concatenate, gather, slice, transpose } from '../../operators/index.ts'
import { type Tensor, tensor } from '../../operators/tensor.ts'

/** Up to this number of runs of neighbours are slices; more are gathered, which moves the axis to the front and back. */
const mostSlices = 8

/**
 * x at these positions of an axis.
 * @throws WeftgradError 'shape' for a position outside the axis, or none.
 */
export function take(x: Tensor, axis: number, indices: readonly number[]): Tensor {
  const extent = x.shape[axis] ?? 0
  if (indices.length === 0 || !indices.every((i) => Number.isInteger(i) && i >= 0 && i < extent))
    throw new WeftgradError(
      'shape',
      `take: the positions [${indices.slice(0, 9)}] must lie within axis ${axis} of ${shapeText(x.shape)}.`,
    )
  const runs: { from: number; count: number }[] = []
  for (const i of indices) {
    const last = runs.at(-1)
    if (last !== undefined && i === last.from + last.count) last.count += 1
    else runs.push({ from: i, count: 1 })
  }
  if (runs.length > mostSlices) return gathered(x, axis, indices)
  const parts = runs.map(({ from, count }) =>
    slice(
      x,
      x.shape.map((_, i) => (i === axis ? from : 0)),
      x.shape.map((all, i) => (i === axis ? count : all)),
    ),
  )
  return parts.length === 1 ? (parts[0] ?? x) : concatenate(parts, axis)
}

function gathered(x: Tensor, axis: number, indices: readonly number[]): Tensor {
  const rest = x.shape.map((_, i) => i).filter((i) => i !== axis)
  const order = [axis, ...rest]
  const front = transpose(x, order)
  const rows = gather(front, tensor(Uint32Array.from(indices)))
  return transpose(
    rows,
    x.shape.map((_, i) => order.indexOf(i)),
  )
}
