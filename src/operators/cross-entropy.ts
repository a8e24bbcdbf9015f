/** Cross-entropy of a softmax with labels, and its gradient. */

import type { Build, GraphView, NoAttributes, Node, Operation, Replacement, TensorType } from '../graph/node.ts'
import { inputOf, isNode, makeNode, outputsOf, sameShape, sameValue } from '../graph/node.ts'
import { sharedHeads } from '../graph/rewrite/shared-heads.ts'
import type { CrossEntropyKey, LossWithGradientKey } from '../kernels/reduce/softmax.ts'
import { crossEntropy, crossEntropyGradient, crossEntropyWithGradient } from '../kernels/reduce/softmax.ts'
import { checkOptions, oneOf } from '../options.ts'
import { extentOf, f32, refuse } from './checks.ts'
import { less, mul, neg, sqrt, sub, toF32 } from './elementwise.ts'
import { ones, reshape } from './movement.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import { mean, sum } from './reduce.ts'
import { lastAxisSum, logSoftmax, softmax, throughSoftmax } from './softmax.ts'
import type { Tensor } from './tensor.ts'

/**
 * Cross-entropy. Inputs: logits [rows, classes] and labels (u32 [rows], or f32 [rows, classes]). Output: the loss of
 * each row.
 */
const crossEntropyOp: Operator<NoAttributes, [logits: Tensor, labels: Tensor]> = {
  name: 'crossEntropy',
  shape: (inputs) => [f32([rowsOf('softmaxCrossEntropy', inputs)])],
  lower: (node, kernels) => kernels.plan(crossEntropy, keyOf(node)),
  vjp: ({ cotangent, inputs: [logits, labels] }) => [
    apply(crossEntropyGradientOp, [logits, labels, cotangent], {}),
    labels.dtype === 'f32' ? neg(mul(logSoftmax(logits), reshape(cotangent, [-1, 1]))) : undefined,
  ],
}

const crossEntropyGradientOp: Operator<NoAttributes, [logits: Tensor, labels: Tensor, rows: Tensor]> = {
  name: 'crossEntropyGradient',
  shape(inputs) {
    const [logits, labels] = inputs
    rowsOf('crossEntropyGradient', [logits, labels])
    return [f32(logits.shape)]
  },
  lower: (node, kernels) => kernels.plan(crossEntropyGradient, keyOf(node)),
  fuse: fuseLossAndGradient,
  // (softmax(logits) * weight - labels) * rows, where weight is the sum of a row's labels.
  vjp({ cotangent, inputs: [logits, labels, rows] }) {
    const probabilities = softmax(logits)
    const scaled = mul(cotangent, reshape(rows, [-1, 1]))
    const ofEachLoss = apply(crossEntropyGradientOp, [logits, labels, ones(rows.shape)], {})
    return [
      throughSoftmax(mul(scaled, weightOfLabels(labels, logits)), probabilities),
      labels.dtype === 'f32' ? sub(lastAxisSum(mul(scaled, probabilities)), scaled) : undefined,
      sum(mul(cotangent, ofEachLoss), { axes: -1 }),
    ]
  },
}

/** The loss of each row and the gradient of the logits; `scale` is the gradient of each loss. Made by fusion. */
const crossEntropyWithGradientOp: Operation<LossWithGradientKey> = {
  name: 'crossEntropyWithGradient',
  shape: (_, { rows, classes }) => [f32([rows]), f32([rows, classes])],
  lower: ({ attributes }, kernels) => kernels.plan(crossEntropyWithGradient, attributes),
}

/** Fuses the loss with its gradient if every row's loss has the same cotangent. */
function fuseLossAndGradient(gradient: Node, { readers, uniform }: GraphView): Replacement[] {
  const [logits, labels] = [inputOf(gradient, 0), inputOf(gradient, 1)]
  const scale = uniform(inputOf(gradient, 2))
  if (labels.type.dtype !== 'u32' || scale === undefined) return []
  const loss = readers(logits.node, logits.index).find(
    (node) => isNode(node, crossEntropyOp) && sameValue(node.inputs[1], labels),
  )
  if (loss === undefined) return []
  const { rows, classes } = keyOf(gradient)
  const attributes = { rows, classes, scale }
  const build: Build = (map) => outputsOf(makeNode(crossEntropyWithGradientOp, [logits, labels].map(map), attributes))
  return [{ absorbed: [], heads: sharedHeads([loss], [gradient], build) }]
}

function keyOf(node: Node): CrossEntropyKey {
  const { shape } = inputOf(node, 0).type
  const labels = inputOf(node, 1).type.dtype === 'u32' ? 'sparse' : 'dense'
  return { rows: extentOf(shape, 0), classes: extentOf(shape, 1), labels }
}

/** Checks logits and labels, and returns the number of rows. */
function rowsOf(operator: string, inputs: readonly [logits: TensorType, labels: TensorType]): number {
  const [logits, labels] = inputs
  const [rows] = logits.shape
  const fits =
    logits.dtype === 'f32' &&
    logits.shape.length === 2 &&
    rows !== undefined &&
    (labels.dtype === 'u32'
      ? sameShape(labels.shape, [rows])
      : labels.dtype === 'f32' && sameShape(labels.shape, logits.shape))
  if (!fits) refuse(operator, inputs, 'it takes logits [rows, classes] with labels u32 [rows] or f32 [rows, classes]')
  return rows
}

/** The sum of each row's labels, [rows, 1]: 1 for a class number, or NaN, as sqrt(-1), if it is out of range. */
function weightOfLabels(labels: Tensor, logits: Tensor): Tensor {
  if (labels.dtype === 'f32') return lastAxisSum(labels)
  const isClass = less(toF32(labels), extentOf(logits.shape, -1))
  return reshape(sqrt(sub(mul(isClass, 2), 1)), [-1, 1])
}

/**
 * Cross-entropy of softmax(logits [rows, classes]) with labels, either class numbers (u32 [rows]) or probabilities (f32
 * [rows, classes]): -sum(label * logSoftmax(logits)). Returns the mean over rows by default, shape []; or their sum;
 * or, with 'none', the loss of each row, f32 [rows]. A class number out of range gives NaN. With class numbers, one
 * kernel computes both the loss and its gradient, (softmax - label) / rows.
 * @throws WeftgradError 'shape' if logits and labels do not fit, 'argument' for an unknown reduction.
 */
export function softmaxCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: { readonly reduction?: 'mean' | 'sum' | 'none' } = {},
): Tensor {
  const kinds = { reduction: oneOf('mean', 'sum', 'none') }
  const { reduction = 'mean' } = checkOptions('softmaxCrossEntropy', options, kinds)
  const rows = apply(crossEntropyOp, [logits, labels], {})
  if (reduction === 'none') return rows
  return reduction === 'sum' ? sum(rows) : mean(rows)
}
