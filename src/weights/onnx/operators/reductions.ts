/** Operators along axes: sums, extremes, their places, and softmax. */

import * as layers from '../../../nn/layers.ts'
import type { Call, Handler } from '../node.ts'
import type { Value } from '../value.ts'
import { reduced, withLast } from './along.ts'

/** Reduces by an operation; `before` and `after` apply to each number. */
function reduction(operator: string, before?: string, after?: string): Handler {
  return (node) => {
    const value = node.value()
    const rank = value.axes.length
    const given = node.integers(1, 'axes')
    if ((given === undefined || given.length === 0) && node.number('noop_with_empty_axes', 0) !== 0) {
      const x = before === undefined ? value : node.unary(before, undefined, value)
      return after === undefined ? x : node.unary(after, undefined, x)
    }
    const axes =
      given === undefined || given.length === 0
        ? value.axes.map((_, i) => i)
        : given.map((axis) => node.axis(axis, rank))
    const x = before === undefined ? value : node.unary(before, undefined, value)
    const y = reduced(node, operator, x, axes, node.number('keepdims', 1) !== 0)
    return after === undefined ? y : node.unary(after, undefined, y)
  }
}

/** Before version 13, the axis is the first of several that count as one. */
function softmax(node: Call, apply: (value: Value) => Value): Value {
  const value = node.value()
  const isOld = node.opset < 13
  const axis = node.axis(node.number('axis', isOld ? 1 : -1), value.axes.length)
  const axes = isOld ? value.axes.slice(axis) : [value.axes[axis] ?? []]
  return apply(withLast(node, value, axes).value)
}

function extreme(operator: 'argmax' | 'argmin'): Handler {
  return (node) => {
    const given = node.value()
    const axis = node.axis(node.number('axis', 0), given.axes.length)
    const { value, at } = node.builder.isolated(given, axis, node.name)
    const last = node.number('select_last_index', 0) !== 0
    const attributes = { axis: at + 1, ...(last ? { last } : {}) }
    const keepDims = node.number('keepdims', 1) !== 0
    return {
      ...value,
      place: node.operation(operator, [value.place], { attributes }),
      stored: value.stored.filter((_, i) => i !== at),
      axes: value.axes.flatMap((parts, i) => (i === axis ? (keepDims ? [[]] : []) : [parts])),
    }
  }
}

/** log(sum(e^x)), with the largest x taken out first, so that nothing overflows. */
const logSumExp: Handler = (node) => {
  const value = node.value()
  const given = node.integers(1, 'axes') ?? []
  const axes =
    given.length === 0 ? value.axes.map((_, i) => i) : given.map((axis) => node.axis(axis, value.axes.length))
  const most = reduced(node, 'max', value, axes, true)
  const powers = node.unary('exp', undefined, node.broadcast('sub', [value, most]))
  const sum = node.unary('log', undefined, reduced(node, 'sum', powers, axes, true))
  const y = node.broadcast('add', [sum, most])
  if (node.number('keepdims', 1) !== 0) return y
  return { ...y, axes: y.axes.filter((_, i) => !axes.includes(i)) }
}

export const reductionOperators: Readonly<Record<string, Handler>> = {
  ArgMax: extreme('argmax'),
  ArgMin: extreme('argmin'),
  LogSoftmax: (node) => softmax(node, (value) => node.unary('logSoftmax', undefined, value)),
  ReduceL1: reduction('sum', 'abs'),
  ReduceL2: reduction('sum', 'square', 'sqrt'),
  ReduceLogSum: reduction('sum', undefined, 'log'),
  ReduceLogSumExp: logSumExp,
  ReduceMax: reduction('max'),
  ReduceMean: reduction('mean'),
  ReduceMin: reduction('min'),
  ReduceSum: reduction('sum'),
  ReduceSumSquare: reduction('sum', 'square'),
  Softmax: (node) => softmax(node, (value) => node.each(value, (name) => layers.softmax(name))),
}
