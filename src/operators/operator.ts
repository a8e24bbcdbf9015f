/**
 * An operator is one value: its name, its shape rule, its kernels and its derivative. Each file in this folder holds
 * one family of operators, with the functions that users call; `defineOp` adds one from outside. `apply` traces an
 * operator: it checks the operands and makes a node, and nothing runs.
 */

import { WeftgradError } from '../errors.ts'
import type { Operation, TensorType, Value } from '../graph/node.ts'
import { isNode, makeNode, outputsOf } from '../graph/node.ts'
import { planChain } from '../graph/rewrite/elementwise-chain.ts'
import { checkValue } from '../options.ts'
import { f32 } from './checks.ts'
import { Tensor } from './tensor.ts'

/** An operand of elementwise operators: an f32 tensor, or a number, which stands for a tensor of shape []. */
export type Operand = Tensor | number

/** The types of a list of tensors, in order. */
export type TypesOf<Tensors extends readonly (Tensor | undefined)[]> = { readonly [I in keyof Tensors]: TensorType }

/** Tensors by position; the last ones of a tuple may be optional. */
type TensorList = readonly (Tensor | undefined)[]

/** What a derivative is computed from. */
export interface Derivation<A extends object = object, In extends TensorList = readonly Tensor[]> {
  /** The operator's name. */
  readonly name: string
  readonly attributes: A
  readonly inputs: In
  /** The results; `y` is the first one. */
  readonly outputs: readonly Tensor[]
  readonly y: Tensor
  /** The cotangents of the results; undefined for a result that is not used. */
  readonly cotangents: readonly (Tensor | undefined)[]
  /** The cotangent of the first result; zeros if it is not used. */
  readonly cotangent: Tensor
}

/**
 * An operation that users can call.
 * @typeParam A attributes, made from the function's options.
 * @typeParam In the operands, as a tuple with names.
 */
export interface Operator<A extends object = object, In extends TensorList = readonly Tensor[]> extends Operation<A> {
  shape(inputs: TypesOf<In>, attributes: A): readonly TensorType[]
  /**
   * The vector-Jacobian product: the cotangent of each operand, made of operators. Undefined, or a list that ends
   * early, means a derivative that is zero everywhere. A cotangent may have the shape to which its operand was
   * broadcast; it is then summed. If there is no derivative, use {@link noDerivative}.
   */
  vjp(context: Derivation<A, In>): readonly (Tensor | undefined)[]
}

/** Whether a node's operation has a derivative; those that only fusion makes have none. */
export function isOperator(op: Operation): op is Operator {
  return 'vjp' in op
}

/** The derivative of an operator that has none. Throws 'no-gradient'. */
export function noDerivative({ name }: Pick<Derivation, 'name'>): never {
  throw new WeftgradError('no-gradient', `grad: ${name} has no derivative, and the result depends on it.`, {
    operator: name,
  })
}

type OperandsOf<In extends TensorList> = { readonly [I in keyof In]: Operand }

/** Traces an operator and returns its results. */
export function applyAll<A extends object, In extends TensorList>(
  op: Operator<A, In>,
  operands: OperandsOf<In>,
  attributes: A,
): Tensor[] {
  const inputs = operands.map((operand) => asValue(op.name, operand))
  return outputsOf(makeNode(op, inputs, attributes)).map((value) => new Tensor(value))
}

/** Traces an operator and returns its first result. */
export function apply<A extends object, In extends TensorList>(
  op: Operator<A, In>,
  operands: OperandsOf<In>,
  attributes: A,
): Tensor {
  const [first] = applyAll(op, operands, attributes)
  if (first === undefined) throw new RangeError(`${op.name} has no result`)
  return first
}

function asValue(what: string, operand: Operand | undefined): Value {
  if (operand instanceof Tensor) return operand.value
  checkValue(`${what}: an operand`, operand, ['a tensor or a number', (value) => typeof value === 'number'])
  return constant(Number(operand)).value
}

/** One number, of shape []. */
export const constantOp: Operator<{ readonly value: number }, []> = {
  name: 'constant',
  shape: () => [f32([])],
  lower: (node, kernels) => planChain(node, [{ kind: 'constant', value: node.attributes.value }], kernels),
  uniform: (_a, _b, { value }) => value,
  vjp: () => [],
}

/** One number as an f32 tensor of shape []. It is part of the plan: another number means another plan. */
export function constant(value: number): Tensor {
  return apply(constantOp, [], { value })
}

/** Whether a value is the constant 0. */
export function isZero(value: Value | undefined): boolean {
  const node = value?.node
  return isNode(node, constantOp) && node.attributes.value === 0
}
