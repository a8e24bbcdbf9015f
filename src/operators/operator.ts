/**
 * An operator is one value: its name, its shape rule, its kernels and its derivative. A family of them, with the functions
 * that users call, is one file of this folder; `defineOp` makes one more. `apply` traces an operator: it checks the operands
 * and makes a node, and nothing runs.
 */

import { WeftgradError } from '../errors.ts'
import type { Operation, TensorType, Value } from '../graph/node.ts'
import { isNode, makeNode, outputsOf } from '../graph/node.ts'
import { planChain } from '../graph/rewrite/elementwise-chain.ts'
import { checkValue } from '../options.ts'
import { f32 } from './checks.ts'
import { Tensor } from './tensor.ts'

/** What elementwise operators take: an f32 tensor, or a number, which stands for a tensor of shape []. */
export type Operand = Tensor | number

/** The type of each of some tensors, in order. */
export type TypesOf<Tensors extends readonly (Tensor | undefined)[]> = { readonly [I in keyof Tensors]: TensorType }

/** Tensors by position; a tuple's last ones may be optional. */
type TensorList = readonly (Tensor | undefined)[]

/** What a derivative starts from. */
export interface Derivation<A extends object = object, In extends TensorList = readonly Tensor[]> {
  /** The operator's name. */
  readonly name: string
  readonly attributes: A
  readonly inputs: In
  /** The results; `y` is the first of them. */
  readonly outputs: readonly Tensor[]
  readonly y: Tensor
  /** Cotangents of the results: undefined where a result is not used. */
  readonly cotangents: readonly (Tensor | undefined)[]
  /** The cotangent of the first result; zeros where it is not used. */
  readonly cotangent: Tensor
}

/**
 * An operation that users can call.
 * @typeParam A attributes: what the function's options become.
 * @typeParam In the operands, as a tuple with names.
 */
export interface Operator<A extends object = object, In extends TensorList = readonly Tensor[]> extends Operation<A> {
  shape(inputs: TypesOf<In>, attributes: A): readonly TensorType[]
  /**
   * The vector-Jacobian product: the cotangent of each operand, made of operators. Undefined, or a list that ends early,
   * stands for a derivative that is zero everywhere. A cotangent may have the shape that its operand was broadcast to: it is
   * summed back. {@link noDerivative} where there is none.
   */
  vjp(context: Derivation<A, In>): readonly (Tensor | undefined)[]
}

/** Whether a node's operation has a derivative: those that only fusion makes have none. */
export function isOperator(op: Operation): op is Operator {
  return 'vjp' in op
}

/** Stands for the derivative of an operator that has none. Throws 'no-gradient'. */
export function noDerivative({ name }: Pick<Derivation, 'name'>): never {
  throw new WeftgradError('no-gradient', `grad: ${name} has no derivative, and the result depends on it.`, {
    operator: name,
  })
}

type OperandsOf<In extends TensorList> = { readonly [I in keyof In]: Operand }

/** Traces an operator and gives its results. */
export function applyAll<A extends object, In extends TensorList>(
  op: Operator<A, In>,
  operands: OperandsOf<In>,
  attributes: A,
): Tensor[] {
  const inputs = operands.map((operand) => asValue(op.name, operand))
  return outputsOf(makeNode(op, inputs, attributes)).map((value) => new Tensor(value))
}

/** Traces an operator and gives its first result. */
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

/** One number as an f32 tensor of shape []. It is part of the plan: another number is another plan. */
export function constant(value: number): Tensor {
  return apply(constantOp, [], { value })
}

/** Whether a value is the constant 0. */
export function isZero(value: Value | undefined): boolean {
  const node = value?.node
  return isNode(node, constantOp) && node.attributes.value === 0
}
