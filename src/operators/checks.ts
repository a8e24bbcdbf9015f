/** Helpers for shape rules: types, checks, and errors that name the operator, what it got and what it takes. */

import { WeftgradError } from '../errors.ts'
import type { DType, Shape, TensorType } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'

export const f32 = (shape: Shape): TensorType => ({ shape, dtype: 'f32' })
export const u32 = (shape: Shape): TensorType => ({ shape, dtype: 'u32' })

/** Throws 'shape', naming what the operator got and what it `expected`. */
export function refuse(operator: string, inputs: readonly (TensorType | undefined)[], expected: string): never {
  const given = inputs.filter((type) => type !== undefined)
  const shapes = given.map((t) => (t.dtype === 'f32' ? shapeText(t.shape) : `${t.dtype}${shapeText(t.shape)}`))
  throw new WeftgradError('shape', `${operator}: got ${shapes.join(' and ') || 'nothing'}; ${expected}.`, {
    operator,
    shapes: given.map((t) => t.shape),
  })
}

/**
 * Checks the dtypes and, if given, the ranks of the operands present. Throws 'shape'. An f16 tensor passes for f32:
 * `makeNode` refuses it where the operation does not read it.
 */
export function take(
  operator: string,
  inputs: readonly (TensorType | undefined)[],
  wanted: readonly { readonly dtype?: DType; readonly rank?: number }[],
): void {
  const given = inputs.filter((type) => type !== undefined)
  const fits = given.every((type, i) => {
    const { dtype = 'f32', rank = type.shape.length } = wanted[i] ?? {}
    return (type.dtype === 'f16' ? 'f32' : type.dtype) === dtype && type.shape.length === rank
  })
  if (fits) return
  const names = given.map((_, i) => {
    const { dtype = 'f32', rank } = wanted[i] ?? {}
    return `${dtype}${rank === undefined ? '' : ` of rank ${rank}`}`
  })
  refuse(operator, inputs, `it takes ${names.join(', ')}`)
}

/** The shape after numpy's broadcasting; undefined if the shapes do not broadcast. */
export function broadcast(shapes: readonly Shape[]): Shape | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length))
  const extents = Array.from({ length: rank }, (_, axis) => shapes.map((s) => s[s.length - rank + axis] ?? 1))
  const shape = extents.map((own) => own.find((extent) => extent !== 1) ?? 1)
  const fits = extents.every((own, axis) => own.every((extent) => extent === 1 || extent === shape[axis]))
  return fits ? shape : undefined
}

/** The shape to which all broadcast. Throws 'shape'. */
export function broadcastShapes(operator: string, types: readonly TensorType[]): Shape {
  const shape = broadcast(types.map((t) => t.shape))
  return shape ?? refuse(operator, types, 'extents must be equal or 1, counted from the last axis')
}

/** Whether a kernel is in half precision; undefined if not, so that the keys of others have no such field. */
export const isHalf = ({ dtype }: Pick<TensorType, 'dtype'>): true | undefined => dtype === 'f16' || undefined

export type Shape4 = readonly [number, number, number, number]

/** The extents of a tensor whose rank of 4 a shape rule has checked. */
export function extentsOf4({ shape }: TensorType): Shape4 {
  const [a, b, c, d, ...rest] = shape
  if (a === undefined || b === undefined || c === undefined || d === undefined || rest.length > 0)
    throw new RangeError(`${shapeText(shape)} is not of rank 4`)
  return [a, b, c, d]
}

/** The extent of an axis that a shape rule has checked; negative axes count from the end. */
export function extentOf(shape: Shape, axis: number): number {
  const extent = shape.at(axis)
  if (extent === undefined) throw new RangeError(`${shapeText(shape)} has no axis ${axis}`)
  return extent
}
