/** Custom operators: WGSL, plan and derivative, on equal terms with the built-in ones. */

import { WeftgradError } from '../errors.ts'
import type { KernelPlan, Target } from '../kernels/kernel.ts'
import type { Operator, TypesOf } from '../operators/operator.ts'
import { applyAll, noDerivative } from '../operators/operator.ts'
import type { Tensor } from '../operators/tensor.ts'
import { aFunction, aString, checkOptions, required } from '../options.ts'

export type { TensorType } from '../graph/node.ts'
export type {
  Binding,
  Dispatch,
  KernelPlan,
  KernelText,
  Operand as KernelOperand,
  Target,
  UniformValue,
} from '../kernels/kernel.ts'
export { dispatch, input, output, reads, scratch, writes } from '../kernels/kernel.ts'
export type { TypesOf } from '../operators/operator.ts'

/** A tensor, or undefined, for each of the given tensors. */
export type MaybeEach<Tensors extends readonly Tensor[]> = { readonly [I in keyof Tensors]: Tensor | undefined }

/** Cotangents of an operator's results: undefined for an unused one of several; a single result always has one. */
export type CotangentsOf<Out extends readonly Tensor[]> = Out extends readonly [Tensor] ? Out : MaybeEach<Out>

/**
 * The definition of a custom operator: its name, its shapes, its kernels and its gradient.
 * @typeParam In the operands, as a tuple with names: `[x: Tensor, gain: Tensor]`.
 * @typeParam Out the results, as a tuple: `[y: Tensor]`.
 */
export interface OpDefinition<In extends readonly Tensor[] = Tensor[], Out extends readonly Tensor[] = Tensor[]> {
  /** Names the operator in errors. */
  readonly name: string
  /**
   * Returns the results' types from those of the operands. It runs when the operator is traced: throw
   * `new WeftgradError('shape', ...)` for operands that do not fit.
   */
  shape(inputs: TypesOf<In>): TypesOf<Out>
  /**
   * Plans the kernels: see {@link dispatch}, which puts declarations around a WGSL body. It runs once for each graph
   * structure, not at each evaluation; the same types and target must give the same plan.
   */
  plan(inputs: TypesOf<In>, outputs: TypesOf<Out>, target: Target): KernelPlan
  /**
   * Computes the vector-Jacobian product: from the results' cotangents the operands', built from operators (custom ones
   * included). Return undefined for an operand without a gradient. A cotangent may have the shape that its operand was
   * broadcast to; it is summed back. Without `vjp`, a gradient through the operator throws 'no-gradient'.
   */
  vjp?(inputs: In, outputs: Out, cotangents: CotangentsOf<Out>): MaybeEach<In>
}

/**
 * Makes an operator function from its definition. It takes the operands and returns the results, in order; like every
 * operator, it only traces. Name the operands and results to have them checked by the compiler:
 * `defineOp<[x: Tensor], [y: Tensor]>({ ... })`. Call it once for each operator: every definition has its own plans.
 * The tutorial's last page defines an operator with its gradient.
 * @throws WeftgradError what `shape` throws, when the operator is traced; what `plan` throws and, where WGSL does not compile,
 * 'device' with the line at fault, when it is computed; 'argument' on a device opened without bounds checks.
 */
export function defineOp<In extends readonly Tensor[] = Tensor[], Out extends readonly Tensor[] = Tensor[]>(
  definition: OpDefinition<In, Out>,
): (...inputs: In) => Out {
  checkOptions<object>('defineOp', definition, {
    ...{ name: required(aString), shape: required(aFunction), plan: required(aFunction), vjp: aFunction },
  })
  // Operators take lists, the definition takes tuples: In and Out guarantee number and order.
  const own = definition as unknown as OpDefinition
  const { vjp } = own
  const op: Operator = {
    name: own.name,
    shape: (inputs) => own.shape([...inputs]),
    lower({ inputs, outputs }, { target }) {
      if (target.ownKernelsOnly)
        throw new WeftgradError(
          'argument',
          `${own.name}: the device was opened with boundsChecks: false, for weftgrad's own kernels only. Open it without.`,
        )
      return own.plan(
        inputs.map((value) => value.type),
        [...outputs],
        target,
      )
    },
    vjp:
      vjp === undefined
        ? noDerivative
        : ({ inputs, outputs, cotangents }) => vjp.call(own, [...inputs], [...outputs], [...cotangents]),
  }
  return (...inputs) => applyAll(op, inputs, {}) as readonly Tensor[] as Out
}
