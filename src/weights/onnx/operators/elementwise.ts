/** Operators on each number, or on two of them: Keras' layers where there is one, else operations. */

import * as layers from '../../../nn/layers.ts'
import { type Activation, gelu } from '../../../operators/activation.ts'
import { hardSigmoid, hardSilu, mish, selu, silu, softplus } from '../../../operators/composed-activations.ts'
import { combined } from '../broadcast.ts'
import { known, numberOf, reshaped } from '../constant.ts'
import type { Call, Handler } from '../node.ts'
import type { Operand, Value } from '../value.ts'

const activation =
  (kind: Activation): Handler =>
  (node) =>
    node.each(node.value(), (name) => layers.activation(name, kind))

const unary =
  (operator: string): Handler =>
  (node) =>
    node.unary(operator)

const binary =
  (operator: string): Handler =>
  (node) =>
    node.broadcast(operator)

/** Two or more operands: Keras' layer if layers compute them all, `Rescaling` for a number, else an operation. */
function merging(operator: string, layer: (name: string) => layers.Layer): Handler {
  return (node) => {
    const { operands } = node
    const [first] = operands
    if (operands.length === 1 && first !== undefined) return first
    if (operands.every((one): one is Value => one.kind === 'value')) {
      const together = combined(node.builder, operands, node.name)
      const places = together.operands.filter((one) => typeof one === 'number')
      return together.result(node.builder.add(layer(node.builder.freeName(node.name)), places))
    }
    if (operands.length === 2) return scaled(node, operator) ?? node.broadcast(operator)
    return operands.reduce((sum, one) => node.broadcast(operator, [sum, one]))
  }
}

/** The sum, product ... of a value and a number as Keras' `Rescaling`. */
function scaled(node: Call, operator: string): Value | undefined {
  const [a, b] = [node.operand(0), node.operand(1)]
  const [value, constant] = a.kind === 'value' ? [a, b] : [b, a]
  if (value.kind === 'constant' || constant.kind === 'value' || constant.countsExamples) return undefined
  const number = numberOf(constant)
  if (number === undefined || constant.shape.length > value.axes.length || !Number.isFinite(number)) return undefined
  const byOperator: Readonly<Record<string, readonly [scale: number, offset: number]>> = {
    add: [1, number],
    mul: [number, 0],
    sub: a === value ? [1, -number] : [-1, number],
  }
  const [scale, offset] = byOperator[operator] ?? []
  if (scale === undefined) return undefined
  return node.each(value, (name) => layers.rescaling(name, scale, offset === 0 ? {} : { offset: offset ?? 0 }))
}

const div: Handler = (node) => {
  const [a, b] = [node.operand(0), node.operand(1)]
  const divisor = b.kind === 'constant' && !b.countsExamples ? numberOf(b) : undefined
  // Exact only for powers of two: then it is a scale.
  if (a.kind === 'value' && divisor !== undefined && Number.isInteger(Math.log2(Math.abs(divisor))) && shapeFits(a, b))
    return node.each(a, (name) => layers.rescaling(name, 1 / divisor))
  return node.broadcast('div')
}

const shapeFits = (value: Value, other: Operand): boolean =>
  other.kind === 'constant' && other.shape.length <= value.axes.length

const leakyRelu: Handler = (node) =>
  node.each(node.value(), (name) => layers.leakyReLU(name, { negativeSlope: node.number('alpha', 0.01) }))

const elu: Handler = (node) => node.each(node.value(), (name) => layers.elu(name, { alpha: node.number('alpha', 1) }))

const isNear = (a: number, b: number): boolean => Math.abs(a - b) < 1e-6

/** max(0, min(1, alpha x + beta)). Keras' has alpha 1/6 and beta 1/2. */
const hardSigmoidOf: Handler = (node) => {
  const [alpha, beta] = [node.number('alpha', 0.2), node.number('beta', 0.5)]
  if (isNear(alpha, 1 / 6) && isNear(beta, 0.5)) return activation(hardSigmoid)(node)
  const line = node.each(node.value(), (name) => layers.rescaling(name, alpha, { offset: beta }))
  return node.unary('clip', { min: 0, max: 1 }, line)
}

/** Limits are inputs, or attributes in old files. */
const clip: Handler = (node) => {
  const limit = (i: number, name: string): number | undefined => {
    const given = node.constant(i)
    const number = given === undefined ? node.number(name, Number.NaN) : numberOf(given)
    if (number === undefined) throw node.refused('has limits that are no single numbers')
    return Number.isFinite(number) ? number : undefined
  }
  const [min, max] = [limit(1, 'min'), limit(2, 'max')]
  if (min === 0) return node.each(node.value(), (name) => layers.reLU(name, max === undefined ? {} : { maxValue: max }))
  if (min !== undefined && max !== undefined && min > max) {
    const least = node.broadcast('maximum', [node.value(), known([min], [], 'float')])
    return node.broadcast('minimum', [least, known([max], [], 'float')])
  }
  return node.unary('clip', { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) })
}

/** One slope for all, one a channel, or one a position. */
const pRelu: Handler = (node) => {
  const slope = node.needed(1)
  const value = node.value()
  const rank = value.axes.length
  const full = reshaped(slope, [...value.axes.slice(slope.shape.length).map(() => 1), ...slope.shape])
  if (slope.shape.length > rank) throw node.refused('has more slopes than inputs')
  const together = combined(node.builder, [value, full], node.name)
  const [place, alpha] = together.operands
  if (typeof place !== 'number' || typeof alpha === 'number' || alpha === undefined) throw new RangeError(node.name)
  const axes = node.builder.shapeAt(place).length
  const shape = [...Array.from({ length: axes - alpha.shape.length }, () => 1), ...alpha.shape]
  const sharedAxes = shape.flatMap((extent, i) => (extent === 1 ? [i + 1] : []))
  const layer = layers.pReLU(node.builder.freeName(node.name), { sharedAxes })
  return together.result(node.builder.add(layer, [place], [reshaped(alpha, shape)]))
}

const geluOf: Handler = (node) => {
  const isApproximate = node.text('approximate', 'none') === 'tanh'
  return isApproximate ? node.unary('gelu', { approximate: true }) : activation(gelu)(node)
}

/** x where x > alpha, else 0. */
const thresholdedRelu: Handler = (node) => {
  const x = node.value()
  const isAbove = node.broadcast('greater', [x, known([node.number('alpha', 1)], [], 'float')])
  return node.broadcast('where', [isAbove, x, known([0], [], 'float')])
}

/** max(0, x) + min(0, alpha (e^(x / alpha) - 1)). */
const celu: Handler = (node) => {
  const alpha = node.number('alpha', 1)
  const x = node.each(node.value(), (name) => layers.rescaling(name, 1 / alpha))
  const y = node.each(x, (name) => layers.elu(name))
  return node.each(y, (name) => layers.rescaling(name, alpha))
}

const seluOf: Handler = (node) => {
  const [alpha, gamma] = [node.number('alpha', 1.6732632), node.number('gamma', 1.050701)]
  if (isNear(alpha, 1.6732632) && isNear(gamma, 1.050701)) return activation(selu)(node)
  const y = node.each(node.value(), (name) => layers.elu(name, { alpha }))
  return node.each(y, (name) => layers.rescaling(name, gamma))
}

/** x / (1 + |x|). */
const softsign: Handler = (node) => {
  const one = known([1], [], 'float')
  return node.broadcast('div', [node.value(), node.broadcast('add', [node.unary('abs'), one])])
}

/** x sigmoid(alpha x). */
const swish: Handler = (node) => {
  const alpha = node.number('alpha', 1)
  if (alpha === 1) return activation(silu)(node)
  const x = node.value()
  const inner = node.each(x, (name) => layers.rescaling(name, alpha))
  return node.broadcast('mul', [x, node.unary('sigmoid', undefined, inner)])
}

/** Small powers are exact products. */
const pow: Handler = (node) => {
  const b = node.operand(1)
  const exponent = b.kind === 'constant' && b.shape.length <= node.value().axes.length ? numberOf(b) : undefined
  return exponent === 2 ? node.unary('square') : exponent === 0.5 ? node.unary('sqrt') : node.broadcast('pow')
}

/** Truth values are 0 and 1, and floats stay what they are. */
const cast: Handler = (node) => {
  const to = node.number('to', 1)
  if ([1, 10, 11, 16].includes(to)) return node.value()
  if (to === 9) return node.unary('not', undefined, node.unary('not'))
  throw node.refused('converts to integers, which weftgrad does not compute with')
}

/** What layers compute with is floats. */
const asFloats = (operand: Operand): Operand => (operand.kind === 'value' ? operand : { ...operand, type: 'float' })

/** A training-time operator: its share is an input, or an attribute in old files. */
const dropout: Handler = (node) => {
  const given = node.constant(1)
  if (node.constant(2)?.read()[0]) throw node.refused('is in training mode')
  const rate = given === undefined ? node.number('ratio', 0.5) : (numberOf(given) ?? 0.5)
  const x = node.value()
  return rate > 0 && rate < 1 ? node.each(x, (name) => layers.dropout(name, rate)) : x
}

const mean: Handler = (node) => {
  const { operands } = node
  const sum = operands.slice(1).reduce((all, one) => node.broadcast('add', [all, one]), node.operand(0))
  return operands.length === 1 ? sum : node.broadcast('mul', [sum, known([1 / operands.length], [], 'float')])
}

export const elementwiseOperators: Readonly<Record<string, Handler>> = {
  Abs: unary('abs'),
  Add: merging('add', (name) => layers.add(name)),
  And: binary('and'),
  Cast: cast,
  CastLike: (node) => asFloats(node.operand(0)),
  Celu: celu,
  Clip: clip,
  Div: div,
  Dropout: dropout,
  Elu: elu,
  Equal: binary('equal'),
  Erf: unary('erf'),
  Exp: unary('exp'),
  Gelu: geluOf,
  Greater: binary('greater'),
  GreaterOrEqual: binary('greaterEqual'),
  HardSigmoid: hardSigmoidOf,
  HardSwish: activation(hardSilu),
  Identity: (node) => node.operand(0),
  LeakyRelu: leakyRelu,
  Less: binary('less'),
  LessOrEqual: binary('lessEqual'),
  Log: unary('log'),
  Max: merging('maximum', (name) => layers.maximum(name)),
  Mean: mean,
  Min: merging('minimum', (name) => layers.minimum(name)),
  Mish: activation(mish),
  Mul: merging('mul', (name) => layers.multiply(name)),
  Neg: unary('neg'),
  Not: unary('not'),
  Or: binary('or'),
  Pow: pow,
  PRelu: pRelu,
  Reciprocal: unary('reciprocal'),
  Relu: (node) => node.each(node.value(), (name) => layers.reLU(name)),
  Selu: seluOf,
  Sigmoid: activation('sigmoid'),
  Sign: unary('sign'),
  Softplus: activation(softplus),
  Softsign: softsign,
  Sqrt: unary('sqrt'),
  Sub: merging('sub', (name) => layers.subtract(name)),
  Sum: merging('add', (name) => layers.add(name)),
  Swish: swish,
  Tanh: activation('tanh'),
  ThresholdedRelu: thresholdedRelu,
  Where: binary('where'),
  Xor: binary('xor'),
}
