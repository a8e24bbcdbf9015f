/** Operators that move numbers: reshape, transpose, slice, pad, concatenate, broadcast. */

import { WeftgradError } from '../errors.ts'
import type { Shape, TensorType } from '../graph/node.ts'
import { inputOf, noKernel, sameShape, shapeText } from '../graph/node.ts'
import { planStep } from '../graph/rewrite/elementwise-chain.ts'
import { copy } from '../kernels/elementwise/steps.ts'
import { elementCount } from '../kernels/kernel.ts'
import { concatenate as concatenateKernels } from '../kernels/movement/concatenate.ts'
import { pad as padKernels, slice as sliceKernels } from '../kernels/movement/copy.ts'
import { transpose as transposeKernels } from '../kernels/movement/transpose.ts'
import { broadcastShapes, extentOf, f32, refuse, take } from './checks.ts'
import type { Operator } from './operator.ts'
import { apply, constant } from './operator.ts'
import type { Tensor } from './tensor.ts'
import type { Pair } from './window.ts'

export const reshapeOp: Operator<{ readonly shape: Shape }, [x: Tensor]> = {
  name: 'reshape',
  half: 0,
  shape(inputs, { shape }) {
    const [x] = inputs
    if (elementCount(x.shape) !== elementCount(shape))
      refuse('reshape', inputs, `it cannot become ${shapeText(shape)}, which has a different number of elements`)
    return [{ shape, dtype: x.dtype }]
  },
  lower: noKernel,
  view: () => 0,
  uniform: (x) => x,
  vjp: ({ cotangent, inputs: [x] }) => [reshape(cotangent, x.shape)],
}

export const broadcastOp: Operator<{ readonly shape: Shape }, [x: Tensor]> = {
  name: 'broadcast',
  shape(inputs, { shape }) {
    const [x] = inputs
    if (!sameShape(broadcastShapes('broadcastTo', [x, f32(shape)]), shape))
      refuse('broadcastTo', inputs, `it cannot be broadcast to ${shapeText(shape)}`)
    return [{ shape, dtype: x.dtype }]
  },
  lower: planStep,
  step: () => ({ kind: 'copy', rule: copy }),
  uniform: (x) => x,
  vjp: ({ cotangent }) => [cotangent],
}

export const transposeOp: Operator<{ readonly permutation: readonly number[] }, [x: Tensor]> = {
  name: 'transpose',
  shape(inputs, { permutation }) {
    const [x] = inputs
    const sorted = [...permutation].sort((a, b) => a - b)
    if (sorted.length !== x.shape.length || sorted.some((axis, i) => axis !== i))
      refuse('transpose', inputs, `[${permutation.join(', ')}] must name each axis once`)
    return [{ shape: permutation.map((axis) => extentOf(x.shape, axis)), dtype: x.dtype }]
  },
  lower: (node, kernels) => kernels.plan(transposeKernels, { shape: inputOf(node, 0).type.shape, ...node.attributes }),
  vjp: ({ cotangent, attributes: { permutation } }) => [
    transpose(
      cotangent,
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ],
}

export interface SliceAttributes {
  readonly begin: readonly number[]
  readonly size: readonly number[]
}

export const sliceOp: Operator<SliceAttributes, [x: Tensor]> = {
  name: 'slice',
  half: 0,
  shape(inputs, { begin, size }) {
    const [x] = inputs
    const { shape } = x
    const isWithin = (extent: number, axis: number): boolean => {
      const [from = Number.NaN, length = Number.NaN] = [begin[axis], size[axis]]
      return Number.isInteger(from) && Number.isInteger(length) && from >= 0 && length >= 1 && from + length <= extent
    }
    if (begin.length !== shape.length || size.length !== shape.length || !shape.every(isWithin))
      refuse('slice', inputs, `begin ${shapeText(begin)} and size ${shapeText(size)} must lie within it`)
    return [{ shape: size, dtype: x.dtype }]
  },
  lower: (node, kernels) => kernels.plan(sliceKernels, { shape: inputOf(node, 0).type.shape, ...node.attributes }),
  // A slice of whole rows along the first axis is contiguous.
  view({ shape }, { begin, size }) {
    const isRun = shape.every((extent, axis) => axis === 0 || size[axis] === extent)
    const [first] = begin
    return isRun && first !== undefined ? first * elementCount(shape.slice(1)) : undefined
  },
  vjp: ({ cotangent, inputs: [x], attributes: { begin, size } }) => [
    pad(
      cotangent,
      x.shape.map((extent, axis) => {
        const before = extentOf(begin, axis)
        return [before, extent - before - extentOf(size, axis)] as const
      }),
    ),
  ],
}

export interface PadAttributes {
  readonly before: readonly number[]
  readonly after: readonly number[]
  readonly value: number
}

export const padOp: Operator<PadAttributes, [x: Tensor]> = {
  name: 'pad',
  shape(inputs, { before, after }) {
    take('pad', inputs, [])
    const [{ shape }] = inputs
    const fits = [before, after].every(
      (p) => p.length === shape.length && p.every((extent) => Number.isInteger(extent) && extent >= 0),
    )
    if (!fits) refuse('pad', inputs, 'paddings are non-negative whole numbers, two for each axis')
    return [f32(shape.map((extent, axis) => extent + extentOf(before, axis) + extentOf(after, axis)))]
  },
  lower: (node, kernels) => kernels.plan(padKernels, { shape: inputOf(node, 0).type.shape, ...node.attributes }),
  vjp: ({ cotangent, inputs: [x], attributes: { before } }) => [slice(cotangent, before, x.shape)],
}

export const concatenateOp: Operator<{ readonly axis: number }> = {
  name: 'concatenate',
  shape(inputs, { axis }) {
    const [first] = inputs
    if (first === undefined) refuse('concatenate', inputs, 'it takes at least one tensor')
    const fits = ({ dtype, shape }: TensorType): boolean =>
      dtype === first.dtype &&
      shape.length === first.shape.length &&
      shape.every((extent, i) => i === axis || extent === first.shape[i])
    if (!(axis >= 0 && axis < first.shape.length && inputs.every(fits)))
      refuse('concatenate', inputs, `shapes may differ along axis ${axis} only`)
    const total = inputs.reduce((sum, t) => sum + extentOf(t.shape, axis), 0)
    return [{ shape: first.shape.map((extent, i) => (i === axis ? total : extent)), dtype: first.dtype }]
  },
  lower: ({ inputs, attributes }, kernels) =>
    kernels.plan(concatenateKernels, { shapes: inputs.map((value) => value.type.shape), axis: attributes.axis }),
  vjp({ cotangent, inputs, attributes: { axis } }) {
    let start = 0
    return inputs.map(({ shape }) => {
      const begin = shape.map((_, i) => (i === axis ? start : 0))
      start += extentOf(shape, axis)
      return slice(cotangent, begin, shape)
    })
  },
}

/**
 * The same numbers in another shape, row-major; one extent may be -1 and is computed. Copies nothing: the result shares
 * x's memory.
 * @throws WeftgradError 'shape' if the numbers of elements differ.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = elementCount(shape.filter((extent) => extent !== -1))
  const whole = shape.map((extent) => (extent === -1 ? x.size / known : extent))
  if (whole.some((extent) => !Number.isInteger(extent)))
    throw new WeftgradError(
      'shape',
      `reshape: got ${shapeText(x.shape)}; its ${x.size} elements do not divide into ${shapeText(shape)}.`,
    )
  if (sameShape(whole, x.shape)) return x
  return apply(reshapeOp, [x], { shape: whole })
}

/** [n, ...] -> [n, everything else]; see {@link reshape}. */
export const flatten = (x: Tensor): Tensor => reshape(x, [x.shape[0] ?? 1, -1])

/**
 * Reorders the axes: axis i of the result is axis `permutation[i]` of x. Reverses them by default. A product can read
 * transposed operands without this: see {@link matmul}.
 * @throws WeftgradError 'shape' if the permutation does not name each axis once.
 */
export function transpose(
  x: Tensor,
  permutation: readonly number[] = x.shape.map((_, axis) => axis).reverse(),
): Tensor {
  return apply(transposeOp, [x], { permutation })
}

/**
 * `size` elements from `begin` along each axis; a size of -1 means up to the end. The gradient is 0 outside the slice.
 * @throws WeftgradError 'shape' if the slice does not lie within x.
 */
export function slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor {
  const whole = size.map((extent, axis) => (extent === -1 ? (x.shape[axis] ?? 0) - (begin[axis] ?? 0) : extent))
  return apply(sliceOp, [x], { begin, size: whole })
}

/**
 * x with `value` around it (0 by default); `paddings` is [before, after] for each axis.
 * @throws WeftgradError 'shape' unless paddings are non-negative whole numbers, two per axis, and x is f32.
 */
export function pad(x: Tensor, paddings: readonly Pair[], value = 0): Tensor {
  return apply(padOp, [x], { before: paddings.map((p) => p[0]), after: paddings.map((p) => p[1]), value })
}

/**
 * Joins tensors along an axis (negative ones count from the end), in order.
 * @throws WeftgradError 'shape' if the dtypes differ, the shapes differ along another axis, or the list is empty.
 */
export function concatenate(tensors: readonly Tensor[], axis: number): Tensor {
  const rank = tensors[0]?.shape.length ?? 0
  return apply(concatenateOp, tensors, { axis: axis < 0 ? axis + rank : axis })
}

/**
 * Repeats x to a larger shape, as elementwise operators do: axes are aligned at the last, and an extent of 1 repeats.
 * @throws WeftgradError 'shape' if x does not broadcast to it.
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : apply(broadcastOp, [x], { shape })
}

/**
 * A tensor with one number in every element: f32, of the given shape.
 * @throws WeftgradError 'shape' if an extent is not a positive whole number.
 */
export function fill(shape: Shape, value: number): Tensor {
  return broadcastTo(constant(value), shape)
}

/** A tensor of zeros. Throws as {@link fill}. */
export const zeros = (shape: Shape): Tensor => fill(shape, 0)
/** A tensor of ones. Throws as {@link fill}. */
export const ones = (shape: Shape): Tensor => fill(shape, 1)
