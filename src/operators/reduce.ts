/** Reductions over axes: sum, mean, max, min, argmax. The result lacks the reduced axes. */

import { WeftgradError } from '../errors.ts'
import type { Shape, TensorType } from '../graph/node.ts'
import { inputOf, shapeText } from '../graph/node.ts'
import { argmax as argmaxKernels } from '../kernels/reduce/argmax.ts'
import { reduce } from '../kernels/reduce/reduce.ts'
import { aFlag, aNumber, anything, checkOptions } from '../options.ts'
import { extentOf, f32, refuse, take, u32 } from './checks.ts'
import { div, equal, mul, where } from './elementwise.ts'
import { broadcastTo, reshape } from './movement.ts'
import type { Derivation, Operator } from './operator.ts'
import { apply, noDerivative } from './operator.ts'
import type { Tensor } from './tensor.ts'

export interface ReduceAttributes {
  /** The reduced axes, sorted and unique. */
  readonly axes: readonly number[]
}

function reducedShape(name: string, inputs: readonly [x: TensorType], axes: readonly number[]): TensorType[] {
  take(name, inputs, [])
  const [{ shape }] = inputs
  axes.forEach((axis, i) => {
    const previous = axes[i - 1] ?? -1
    if (!Number.isInteger(axis) || axis <= previous || axis >= shape.length)
      refuse(name, inputs, `axes [${axes.join(', ')}] must be different axes of it, in order`)
  })
  return [f32(shape.filter((_, axis) => !axes.includes(axis)))]
}

/** `scale` is a factor of the sum; 1 / count makes it a mean. */
export const sumOp: Operator<ReduceAttributes & { readonly scale: number }, [x: Tensor]> = {
  name: 'sum',
  shape: (inputs, { axes }) => reducedShape('sum', inputs, axes),
  lower: (node, kernels) =>
    kernels.plan(reduce, { operation: 'sum', shape: inputOf(node, 0).type.shape, ...node.attributes }),
  vjp({ cotangent, inputs: [x], attributes: { axes, scale } }) {
    const scaled = scale === 1 ? cotangent : mul(cotangent, scale)
    return [broadcastTo(restoreAxes(scaled, x.shape, axes), x.shape)]
  },
}

function extremum(name: 'max' | 'min'): Operator<ReduceAttributes, [x: Tensor]> {
  return {
    name,
    shape: (inputs, { axes }) => reducedShape(name, inputs, axes),
    lower: (node, kernels) =>
      kernels.plan(reduce, { operation: name, shape: inputOf(node, 0).type.shape, ...node.attributes }),
    vjp: shareAmongTies,
  }
}
const maxOp = /* @__PURE__ */ extremum('max')
const minOp = /* @__PURE__ */ extremum('min')

/** The derivative of an extremum; equal extrema share the cotangent evenly. */
function shareAmongTies({
  cotangent,
  inputs: [x],
  y,
  attributes: { axes },
}: Derivation<ReduceAttributes, [x: Tensor]>): readonly Tensor[] {
  const ties = equal(x, restoreAxes(y, x.shape, axes))
  const count = sum(ties, { axes })
  const share = restoreAxes(div(cotangent, count), x.shape, axes)
  // Selected, not multiplied by 0: the share may be infinite. If the extremum is NaN, nothing equals it, and 0 / 0
  // passes NaN on.
  return [where(div(ties, restoreAxes(count, x.shape, axes)), mul(ties, share), 0)]
}

/** Puts reduced axes back with extent 1, so that the tensor broadcasts against the operand. */
function restoreAxes(y: Tensor, shape: Shape, axes: readonly number[]): Tensor {
  return reshape(
    y,
    shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent)),
  )
}

const argmaxOp: Operator<{ readonly axis: number }, [x: Tensor]> = {
  name: 'argmax',
  shape(inputs, { axis }) {
    take('argmax', inputs, [])
    const [{ shape }] = inputs
    if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length)
      refuse('argmax', inputs, `axis ${axis} must be one of its axes`)
    return [u32(shape.filter((_, i) => i !== axis))]
  },
  lower: (node, kernels) => kernels.plan(argmaxKernels, { shape: inputOf(node, 0).type.shape, ...node.attributes }),
  vjp: noDerivative,
}

/** Options of {@link sum}, {@link mean}, {@link max} and {@link min}. */
export interface ReduceOptions {
  /** Axes to reduce, negative ones counting from the end; all by default. */
  readonly axes?: number | readonly number[]
  /** Keeps the reduced axes with extent 1, so that the result broadcasts against the operand. False by default. */
  readonly keepDims?: boolean
}

function normalizeAxes(operator: string, x: Tensor, axes: ReduceOptions['axes']): number[] {
  const rank = x.shape.length
  const wanted = axes === undefined ? x.shape.map((_, axis) => axis) : typeof axes === 'number' ? [axes] : [...axes]
  const normal = wanted.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b)
  if (normal.some((axis, i) => !Number.isInteger(axis) || axis < 0 || axis >= rank || axis === normal[i - 1]))
    throw new WeftgradError(
      'shape',
      `${operator}: axes [${wanted.join(', ')}] must be different axes of ${shapeText(x.shape)}.`,
    )
  return normal
}

/** Reduces by `over`, which gets the axes and the number of elements along them. */
function reduced(
  operator: 'sum' | 'mean' | 'max' | 'min',
  x: Tensor,
  options: ReduceOptions,
  over: (axes: readonly number[], count: number) => Tensor,
): Tensor {
  const { axes, keepDims = false } = checkOptions(operator, options, { axes: anything, keepDims: aFlag })
  const normal = normalizeAxes(operator, x, axes)
  if (normal.length === 0) return x
  const count = normal.reduce((product, axis) => product * extentOf(x.shape, axis), 1)
  const result = over(normal, count)
  if (!keepDims) return result
  return reshape(
    result,
    x.shape.map((extent, axis) => (normal.includes(axis) ? 1 : extent)),
  )
}

/**
 * The sum over the axes; over all by default, which gives shape []. Partial sums are added in a fixed order: the same
 * plan gives the same bits. Derivative: 1.
 * @throws WeftgradError 'shape' if x lacks an axis, an axis occurs twice, or x is not f32.
 */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor =>
  reduced('sum', x, options, (axes) => apply(sumOp, [x], { axes, scale: 1 }))

/**
 * The mean over the axes; over all by default, which gives shape []. Derivative: 1 / the number of elements averaged.
 * @throws WeftgradError 'shape' as {@link sum}.
 */
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor =>
  reduced('mean', x, options, (axes, count) => apply(sumOp, [x], { axes, scale: 1 / count }))

/**
 * The largest number along the axes; all by default. NaN wins. Equal maxima share the gradient evenly.
 * @throws WeftgradError 'shape' as {@link sum}.
 */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor =>
  reduced('max', x, options, (axes) => apply(maxOp, [x], { axes }))

/**
 * The smallest number along the axes; all by default. NaN wins. Equal minima share the gradient evenly.
 * @throws WeftgradError 'shape' as {@link sum}.
 */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor =>
  reduced('min', x, options, (axes) => apply(minOp, [x], { axes }))

/**
 * Index of the first maximum along an axis (by default the last; negative axes count from the end): u32, without that
 * axis. It has no gradient.
 * @throws WeftgradError 'shape' if x lacks the axis or is not f32.
 */
export function argmax(x: Tensor, options: { readonly axis?: number } = {}): Tensor {
  const { axis = -1 } = checkOptions('argmax', options, { axis: aNumber })
  return apply(argmaxOp, [x], { axis: axis < 0 ? axis + x.shape.length : axis })
}
