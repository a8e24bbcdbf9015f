/** Softmax and its logarithm, over the last axis. */

import type { NoAttributes, Node, TensorType } from '../graph/node.ts'
import { inputOf } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { SoftmaxKey } from '../kernels/reduce/softmax.ts'
import { softmax as softmaxKernels } from '../kernels/reduce/softmax.ts'
import { extentOf, f32, refuse, take } from './checks.ts'
import { exp, mul, sub } from './elementwise.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import { sum } from './reduce.ts'
import type { Tensor } from './tensor.ts'

export const softmaxOp: Operator<NoAttributes, [x: Tensor]> = {
  name: 'softmax',
  shape: (inputs) => lastAxisShape('softmax', inputs),
  lower: (node, kernels) => kernels.plan(softmaxKernels, keyOf(node, false)),
  vjp: ({ cotangent, y }) => [throughSoftmax(cotangent, y)],
}

const logSoftmaxOp: Operator<NoAttributes, [x: Tensor]> = {
  name: 'logSoftmax',
  shape: (inputs) => lastAxisShape('logSoftmax', inputs),
  lower: (node, kernels) => kernels.plan(softmaxKernels, keyOf(node, true)),
  vjp: ({ cotangent, y }) => [sub(cotangent, mul(exp(y), lastAxisSum(cotangent)))],
}

function lastAxisShape(name: string, inputs: readonly [x: TensorType]): TensorType[] {
  take(name, inputs, [])
  const [{ shape }] = inputs
  if (shape.length < 1) refuse(name, inputs, 'it needs at least one axis')
  return [f32(shape)]
}

function keyOf(node: Node, log: boolean): SoftmaxKey {
  const { shape } = inputOf(node, 0).type
  const classes = extentOf(shape, -1)
  return { rows: elementCount(shape) / classes, classes, log }
}

export function lastAxisSum(x: Tensor): Tensor {
  return sum(x, { axes: -1, keepDims: true })
}

/** The cotangent of x, given that of y = softmax(x). */
export function throughSoftmax(cotangent: Tensor, y: Tensor): Tensor {
  return mul(y, sub(cotangent, lastAxisSum(mul(cotangent, y))))
}

/**
 * exp(x) / sum(exp(x)) over the last axis. The largest x is subtracted first, so nothing overflows. Derivative: y (dy -
 * sum(dy y)).
 * @throws WeftgradError 'shape' if x is not f32 or has no axis.
 */
export const softmax = (x: Tensor): Tensor => apply(softmaxOp, [x], {})
/**
 * x - log(sum(exp(x))) over the last axis: the logarithm of {@link softmax}, accurate for small probabilities too.
 * @throws WeftgradError 'shape' if x is not f32 or has no axis.
 */
export const logSoftmax = (x: Tensor): Tensor => apply(logSoftmaxOp, [x], {})
