/** Elementwise operators with numpy's broadcasting. */
import type { Array64 } from './array64.ts'
import { at, build } from './array64.ts'
import * as errorFunction from './error-function.ts'

export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  const shape: number[] = []
  for (let axis = 0; axis < rank; axis++) {
    const extentA = a[axis - (rank - a.length)] ?? 1
    const extentB = b[axis - (rank - b.length)] ?? 1
    if (extentA !== extentB && extentA !== 1 && extentB !== 1)
      throw new RangeError(`[${a}] and [${b}] do not broadcast`)
    shape.push(extentA === 1 ? extentB : extentA)
  }
  return shape
}

/** Repeats x along axes that are missing or of extent 1. */
export function broadcastTo(x: Array64, shape: readonly number[]): Array64 {
  if (x.shape.join() === shape.join()) return x
  const missing = shape.length - x.shape.length
  return build(shape, (index) =>
    at(
      x,
      x.shape.map((extent, axis) => (extent === 1 ? 0 : (index[axis + missing] ?? -1))),
    ),
  )
}

export function unary(f: (x: number) => number): (x: Array64) => Array64 {
  return (x) => ({ shape: x.shape, data: x.data.map(f) })
}

export function binary(f: (a: number, b: number) => number): (a: Array64, b: Array64) => Array64 {
  return (a, b) => {
    const shape = broadcastShape(a.shape, b.shape)
    const wideB = broadcastTo(b, shape)
    const wideA = broadcastTo(a, shape)
    return { shape, data: wideA.data.map((value, i) => f(value, wideB.data[i] ?? Number.NaN)) }
  }
}

export const add = binary((a, b) => a + b)
export const sub = binary((a, b) => a - b)
export const mul = binary((a, b) => a * b)
export const div = binary((a, b) => a / b)
export const pow = binary((a, b) => a ** b)
// Math.max and Math.min give NaN if either is NaN, as required.
export const maximum = binary((a, b) => Math.max(a, b))
export const minimum = binary((a, b) => Math.min(a, b))
// Comparisons with NaN are false.
export const greater = binary((a, b) => (a > b ? 1 : 0))
export const greaterEqual = binary((a, b) => (a >= b ? 1 : 0))
export const less = binary((a, b) => (a < b ? 1 : 0))
export const lessEqual = binary((a, b) => (a <= b ? 1 : 0))
export const equal = binary((a, b) => (a === b ? 1 : 0))

export const neg = unary((x) => -x)
export const abs = unary((x) => Math.abs(x))
export const sign = unary((x) => Math.sign(x))
export const exp = unary((x) => Math.exp(x))
export const log = unary((x) => Math.log(x))
export const sqrt = unary((x) => Math.sqrt(x))
export const square = unary((x) => x * x)
export const reciprocal = unary((x) => 1 / x)
export const clip = (x: Array64, min: number, max: number): Array64 =>
  unary((value) => Math.min(Math.max(value, min), max))(x)

/** a where the condition is not zero, b elsewhere. */
export function where(condition: Array64, a: Array64, b: Array64): Array64 {
  const shape = broadcastShape(broadcastShape(condition.shape, a.shape), b.shape)
  const wideCondition = broadcastTo(condition, shape)
  const wideA = broadcastTo(a, shape)
  const wideB = broadcastTo(b, shape)
  return build(shape, (index) => (at(wideCondition, index) !== 0 ? at(wideA, index) : at(wideB, index)))
}

export type Activation = 'linear' | 'relu' | 'sigmoid' | 'tanh'

/** The activations that a layer can apply to its sums. */
export const activations: Readonly<Record<Activation, (x: number) => number>> = {
  linear: (x) => x,
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: (x) => Math.tanh(x),
}

export const erf = unary(errorFunction.erf)
export const gelu = unary(errorFunction.gelu)
export const geluTanh = unary(errorFunction.geluTanh)
export const relu = unary(activations.relu)
export const sigmoid = unary(activations.sigmoid)
export const tanh = unary(activations.tanh)
