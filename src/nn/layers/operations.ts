/**
 * The operators of the layer `operation`, by name, each with the kinds of its attributes. They are the engine's, and a few
 * composed ones, which other tools have as operators.
 */

import { WeftgradError } from '../../errors.ts'
import { gelu } from '../../operators/activation.ts'
import * as composed from '../../operators/composed-activations.ts'
import * as op from '../../operators/index.ts'
import type { Operand } from '../../operators/operator.ts'
import { Tensor } from '../../operators/tensor.ts'
import type { Pair } from '../../operators/window.ts'
import { poolKinds } from '../../operators/window.ts'
import { aFlag, aNumber, anArray, type Kind, required } from '../../options.ts'
import { type Interpolation, interpolate, interpolationKinds } from './interpolation.ts'
import { take } from './take.ts'

/** Settings of an operator, by name. */
export type Attributes = Readonly<Record<string, unknown>>

/** An operator of the layer `operation`. */
export interface Operation {
  readonly kinds: Readonly<Record<string, Kind>>
  apply(operands: readonly Operand[], attributes: Attributes): Tensor
}

const whole: Kind = ['a list of whole numbers', (value) => Array.isArray(value) && value.every(Number.isInteger)]
const aWhole: Kind = ['a whole number', Number.isInteger]

/** The kinds are checked when the layer is made, so the casts promise nothing new. */
const operator = <A extends object>(
  kinds: { readonly [Name in keyof A]-?: Kind },
  apply: (operands: readonly Operand[], attributes: A) => Tensor,
): Operation => ({ kinds, apply: (operands, attributes) => apply(operands, attributes as A) })

const unary = (apply: (x: Tensor) => Tensor): Operation => operator<object>({}, ([x]) => apply(tensorOf(x)))
const binary = (apply: (a: Operand, b: Operand) => Tensor): Operation =>
  operator<object>({}, ([a, b]) => apply(present(a), present(b)))
const reduction = (
  apply: (x: Tensor, options: { readonly axes: number[]; readonly keepDims?: boolean }) => Tensor,
): Operation =>
  operator({ axes: required(whole), keepDims: aFlag }, ([x], options: { axes: number[]; keepDims?: boolean }) =>
    apply(tensorOf(x), options),
  )

function present(operand: Operand | undefined): Operand {
  if (operand === undefined) throw new WeftgradError('shape', 'operation: an operand is missing.')
  return operand
}

function tensorOf(operand: Operand | undefined): Tensor {
  const given = present(operand)
  return given instanceof Tensor ? given : op.constant(given)
}

/** 1 for 0, and 0 for anything else. */
const isFalse = (x: Operand): Tensor => op.equal(x, 0)
const isTrue = (x: Operand): Tensor => isFalse(isFalse(x))

export const operations: Readonly<Record<string, Operation>> = {
  abs: unary(op.abs),
  add: binary(op.add),
  and: binary((a, b) => op.mul(isTrue(a), isTrue(b))),
  argmax: operator({ axis: required(aWhole), last: aFlag }, ([x], options: Extreme) =>
    extremePlace(tensorOf(x), options),
  ),
  argmin: operator({ axis: required(aWhole), last: aFlag }, ([x], options: Extreme) =>
    extremePlace(op.neg(tensorOf(x)), options),
  ),
  broadcast: operator({ shape: required(whole) }, ([x], { shape }: { shape: number[] }) => {
    const given = tensorOf(x)
    return op.broadcastTo(given, [given.shape[0] ?? 1, ...shape])
  }),
  clip: operator(
    { min: aNumber, max: aNumber },
    ([x], { min = -largest, max = largest }: { min?: number; max?: number }) => op.clip(present(x), min, max),
  ),
  concatenate: operator({ axis: required(aWhole) }, (parts, { axis }: { axis: number }) => concatenated(parts, axis)),
  div: binary(op.div),
  elu: operator({ alpha: aNumber }, ([x], options: { alpha?: number }) => op.elu(present(x), options)),
  equal: binary(op.equal),
  erf: unary(op.erf),
  exp: unary(op.exp),
  gelu: operator({ approximate: aFlag }, ([x], options: { approximate?: boolean }) => gelu(present(x), options)),
  greater: binary(op.greater),
  greaterEqual: binary(op.greaterEqual),
  interpolate: operator<Interpolation>(interpolationKinds, ([x], options) => interpolate(tensorOf(x), options)),
  leakyRelu: operator({ negativeSlope: aNumber }, ([x], options: { negativeSlope?: number }) =>
    op.leakyRelu(present(x), options),
  ),
  less: binary(op.less),
  lessEqual: binary(op.lessEqual),
  log: unary(op.log),
  logSoftmax: unary(op.logSoftmax),
  matmul: operator({ transposeA: aFlag, transposeB: aFlag }, ([a, b], options: object) =>
    op.matmul(tensorOf(a), tensorOf(b), options),
  ),
  max: reduction(op.max),
  maximum: binary(op.maximum),
  maxPool: operator({ ...poolKinds, dilationRate: poolKinds.poolSize }, ([x], options: DilatedPool) =>
    dilatedMaxPool(tensorOf(x), options),
  ),
  mean: reduction(op.mean),
  min: reduction(op.min),
  minimum: binary(op.minimum),
  mish: unary(composed.mish),
  mul: binary(op.mul),
  neg: unary(op.neg),
  not: unary(isFalse),
  or: binary((a, b) => isTrue(op.add(isTrue(a), isTrue(b)))),
  pad: operator(
    { paddings: required(anArray), value: aNumber },
    ([x], { paddings, value }: { paddings: Pair[]; value?: number }) => op.pad(tensorOf(x), paddings, value),
  ),
  pow: binary(op.pow),
  reciprocal: unary(op.reciprocal),
  relu: unary(op.relu),
  selu: unary(composed.selu),
  sigmoid: unary(op.sigmoid),
  sign: unary(op.sign),
  slice: operator(
    { begin: required(whole), size: required(whole) },
    ([x], { begin, size }: { begin: number[]; size: number[] }) => op.slice(tensorOf(x), begin, size),
  ),
  softmax: unary(op.softmax),
  softplus: unary(composed.softplus),
  sqrt: unary(op.sqrt),
  square: unary(op.square),
  sub: binary(op.sub),
  sum: reduction(op.sum),
  take: operator(
    { axis: required(aWhole), indices: required(whole) },
    ([x], { axis, indices }: { axis: number; indices: number[] }) => take(tensorOf(x), axis, indices),
  ),
  tanh: unary(op.tanh),
  transpose: operator({ permutation: required(whole) }, ([x], { permutation }: { permutation: number[] }) =>
    op.transpose(tensorOf(x), permutation),
  ),
  where: operator<object>({}, ([condition, a, b]) => op.where(present(condition), present(a), present(b))),
  xor: binary((a, b) => isTrue(op.sub(isTrue(a), isTrue(b)))),
}

/** The largest float32. */
const largest = 3.4028234663852886e38

/** A weight, which has no batch, is repeated for each example. */
function concatenated(parts: readonly Operand[], axis: number): Tensor {
  const tensors = parts.map(tensorOf)
  const rank = Math.max(...tensors.map(({ shape }) => shape.length))
  const batch = tensors.find(({ shape }) => shape.length === rank)?.shape[0] ?? 1
  return op.concatenate(
    tensors.map((one) => (one.shape.length === rank ? one : op.broadcastTo(one, [batch, ...one.shape]))),
    axis,
  )
}

interface Extreme {
  readonly axis: number
  /** Whether the last of equal extremes counts; the first by default. */
  readonly last?: boolean
}

function extremePlace(x: Tensor, { axis, last = false }: Extreme): Tensor {
  if (!last) return op.toF32(op.argmax(x, { axis }))
  const end = (x.shape[axis] ?? 1) - 1
  const reversed = take(
    x,
    axis,
    Array.from({ length: end + 1 }, (_, i) => end - i),
  )
  return op.sub(end, op.toF32(op.argmax(reversed, { axis })))
}

interface DilatedPool extends op.PoolOptions {
  readonly dilationRate?: number | Pair
}

/** The largest number of windows whose taps are apart: the maximum of as many moved images as a window has taps. */
function dilatedMaxPool(x: Tensor, { dilationRate = 1, padding = 'valid', ...window }: DilatedPool): Tensor {
  const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value)
  const [size, strides, dilation] = [pair(window.poolSize), pair(window.strides ?? window.poolSize), pair(dilationRate)]
  if (typeof padding === 'string' && padding !== 'valid')
    throw new WeftgradError('argument', 'operation maxPool: padding is explicit or valid.')
  const padded = padding === 'valid' ? x : op.pad(x, [[0, 0], ...padding, [0, 0]], -largest)
  const taps = ([0, 1] as const).map((side) => {
    const extent = padded.shape[side + 1] ?? 0
    const count = Math.floor((extent - (size[side] - 1) * dilation[side] - 1) / strides[side]) + 1
    return Array.from({ length: size[side] }, (_, tap) =>
      Array.from({ length: count }, (_, i) => i * strides[side] + tap * dilation[side]),
    )
  })
  // One direction after the other: the maximum of a window is the maximum of its rows' maxima.
  const along = (image: Tensor, side: 0 | 1): Tensor => {
    const moved = (taps[side] ?? []).map((indices) => take(image, side + 1, indices))
    return moved.slice(1).reduce((most, one) => op.maximum(most, one), moved[0] ?? image)
  }
  return along(along(padded, 0), 1)
}
