/** From operands to a node of the graph, and from its outputs to tensors. */

import type { Activation, CustomOp, Node, OpAttributes, OpKind, Value } from '../graph/node.ts'
import { outputOf } from '../graph/node.ts'
import { makeNode } from '../graph/shapes.ts'
import { checkValue, type Kind, oneOf } from '../options.ts'
import { Tensor } from './tensor.ts'

/** What elementwise operators take: an f32 tensor, or a number, which stands for a tensor of shape []. */
export type Operand = Tensor | number

/** What kernels apply to their results. */
export const anActivation: Kind = /* @__PURE__ */ oneOf('linear', 'relu', 'sigmoid', 'tanh' satisfies Activation)

function asValue(what: string, operand: Operand): Value {
  if (operand instanceof Tensor) return operand.value
  checkValue(`${what}: an operand`, operand, ['a tensor or a number', (value) => typeof value === 'number'])
  return constant(operand).value
}

/** Makes a node of this kind and gives its outputs as tensors. */
export function applyAll<K extends OpKind>(kind: K, inputs: readonly Operand[], attributes: OpAttributes[K]): Tensor[] {
  const node = makeNode(
    kind,
    inputs.map((operand) => asValue(kind, operand)),
    attributes,
  ) as Node
  return node.outputs.map((_, index) => new Tensor(outputOf(node, index)))
}

/** Makes a node of this kind and gives its first output. */
export function apply<K extends OpKind>(kind: K, inputs: readonly Operand[], attributes: OpAttributes[K]): Tensor {
  const [first] = applyAll(kind, inputs, attributes)
  if (first === undefined) throw new RangeError()
  return first
}

/** One number as an f32 tensor of shape []. It is part of the plan: another number is another plan. */
export function constant(value: number): Tensor {
  return apply('constant', [], { value })
}

/** Runs a user's own operator: what `defineOp` makes functions of. */
export const custom = (op: CustomOp, inputs: readonly Tensor[]): Tensor[] => applyAll('custom', inputs, { op })
