/** Numbers that an ONNX graph holds or that follow from them alone: weights, shapes, axes. */

import type { OnnxTensor } from '../../format/onnx-graph.ts'
import { elementCount } from '../../kernels/kernel.ts'

export type Numbers = Float32Array | Float64Array

/** A tensor known when the model is built. Its numbers may still be in the file. */
export interface Constant {
  readonly kind: 'constant'
  readonly shape: readonly number[]
  /** `'float'` numbers are weights and settings; the others are shapes, axes, indices and conditions. */
  readonly type: 'float' | 'integer' | 'boolean'
  /** Computes or reads its numbers, row-major, each time. */
  readonly read: () => Numbers
  /** Its name in the file, if it is a tensor of the file as it is: a weight. */
  readonly name?: string
  /** Whether it depends on the number of examples, which a model leaves open. */
  readonly countsExamples?: boolean
}

export function constantOf(tensor: OnnxTensor, isWeight: boolean): Constant {
  const { name, shape, dtype, read } = tensor
  const type = /float/.test(dtype) ? 'float' : dtype === 'bool' ? 'boolean' : 'integer'
  return { kind: 'constant', shape, type, read, ...(isWeight ? { name } : {}) }
}

/** A constant of numbers at hand. */
export function known(
  numbers: readonly number[] | Numbers,
  shape: readonly number[],
  type: Constant['type'],
): Constant {
  const held = type === 'float' ? Float32Array.from(numbers) : Float64Array.from(numbers)
  return { kind: 'constant', shape, type, read: () => held }
}

/** Strides of a row-major tensor. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1)
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (shape[i + 1] ?? 1)
  return strides
}

/**
 * The numbers at `shape`'s positions, in order: that of position [i, j, ...] is at `start + i strides[0] + j strides[1] ...` of
 * `numbers`. Transposes, slices and broadcasts are all of this kind.
 */
export function strided(numbers: Numbers, shape: readonly number[], strides: readonly number[], start = 0): Numbers {
  const result =
    numbers instanceof Float32Array ? new Float32Array(elementCount(shape)) : new Float64Array(elementCount(shape))
  const position = shape.map(() => 0)
  let at = start
  for (let i = 0; i < result.length; i++) {
    result[i] = numbers[at] ?? Number.NaN
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (position[axis] ?? 0) + 1
      at += strides[axis] ?? 0
      if (next < (shape[axis] ?? 0)) {
        position[axis] = next
        break
      }
      at -= next * (strides[axis] ?? 0)
      position[axis] = 0
    }
  }
  return result
}

/** The constant with changed numbers, which are read when they are needed. It stays the weight that it was. */
export function changed(constant: Constant, shape: readonly number[], change: (numbers: Numbers) => Numbers): Constant {
  return { ...constant, shape, read: () => change(constant.read()) }
}

export const reshaped = (constant: Constant, shape: readonly number[]): Constant => ({ ...constant, shape })

/** Axis i of the result is axis `permutation[i]`. */
export function transposed(constant: Constant, permutation: readonly number[]): Constant {
  if (permutation.every((axis, i) => axis === i)) return constant
  const strides = stridesOf(constant.shape)
  const shape = permutation.map((axis) => constant.shape[axis] ?? 1)
  return changed(constant, shape, (numbers) =>
    strided(
      numbers,
      shape,
      permutation.map((axis) => strides[axis] ?? 0),
    ),
  )
}

/** Repeats extents of 1 to those of `shape`, aligned at the last axis. */
export function broadcasted(constant: Constant, shape: readonly number[]): Constant {
  const missing = shape.length - constant.shape.length
  const own = stridesOf(constant.shape)
  const strides = shape.map((_, i) => (i < missing || constant.shape[i - missing] === 1 ? 0 : (own[i - missing] ?? 0)))
  if (shape.length === constant.shape.length && shape.every((extent, i) => extent === constant.shape[i]))
    return constant
  return changed(constant, shape, (numbers) => strided(numbers, shape, strides))
}

/** The only number of a constant; undefined if it has another number of them. */
export function numberOf(constant: Constant): number | undefined {
  return elementCount(constant.shape) === 1 ? constant.read()[0] : undefined
}
