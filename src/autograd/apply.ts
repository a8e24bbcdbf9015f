/** From operands to a node of the graph, and from its outputs to tensors. */

import type { CustomOp, Node, OpAttributes, OpKind, Value } from '../graph/node.ts'
import { outputOf } from '../graph/node.ts'
import { makeNode } from '../graph/shapes.ts'
import { Tensor } from './tensor.ts'

/** What elementwise operators take: an f32 tensor, or a number, which stands for a tensor of shape []. */
export type Operand = Tensor | number

function asValue(operand: Operand): Value {
  return operand instanceof Tensor ? operand.value : constant(operand).value
}

/** Makes a node of this kind and gives its outputs as tensors. */
export function applyAll<K extends OpKind>(kind: K, inputs: readonly Operand[], attributes: OpAttributes[K]): Tensor[] {
  const node = makeNode(kind, inputs.map(asValue), attributes) as Node
  return node.outputs.map((_, index) => new Tensor(outputOf(node, index)))
}

/** Makes a node of this kind and gives its first output. */
export function apply<K extends OpKind>(kind: K, inputs: readonly Operand[], attributes: OpAttributes[K]): Tensor {
  const [first] = applyAll(kind, inputs, attributes)
  if (first === undefined) throw new RangeError(`${kind} has no output`)
  return first
}

/** One number as an f32 tensor of shape []. It is part of the plan: another number is another plan. */
export function constant(value: number): Tensor {
  return apply('constant', [], { value })
}

/** Runs a user's own operator: what `defineOp` makes functions of. */
export const custom = (op: CustomOp, inputs: readonly Tensor[]): Tensor[] => applyAll('custom', inputs, { op })
