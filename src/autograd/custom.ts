/** Operators of a user's own: WGSL, plan and derivative, on equal terms with the built-in ones. */

import type { CustomOp, TensorType } from '../graph/node.ts'
import type { KernelPlan, Target } from '../kernels/kernel.ts'
import { custom } from './ops.ts'
import { Tensor } from './tensor.ts'

export type { TensorType } from '../graph/node.ts'
export type { Dispatch, KernelPlan, Target } from '../kernels/kernel.ts'
export { dispatch, input, output, reads, scratch, writes } from '../kernels/kernel.ts'

export interface OpDefinition {
  /** Names the operator in errors. */
  readonly name: string
  /** The results' types; throws 'shape' for operands that do not fit. */
  shape(inputs: readonly TensorType[]): readonly TensorType[]
  /** The kernels: see `dispatch`, which puts declarations around a WGSL body. */
  plan(inputs: readonly TensorType[], outputs: readonly TensorType[], target: Target): KernelPlan
  /** Cotangents of the operands from those of the results (undefined where a result was not used); without it there is no gradient. */
  vjp?(
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    cotangents: readonly (Tensor | undefined)[],
  ): readonly (Tensor | undefined)[]
}

/** Makes an operator function from its definition. It gives the results in order. */
export function defineOp(definition: OpDefinition): (...inputs: Tensor[]) => Tensor[] {
  const { vjp } = definition
  const op: CustomOp = {
    name: definition.name,
    shape: (inputs) => definition.shape(inputs),
    plan: (inputs, outputs, target) => definition.plan(inputs, outputs, target),
    ...(vjp === undefined
      ? {}
      : {
          vjp: (inputs, outputs, cotangents) =>
            vjp(
              inputs.map((value) => new Tensor(value)),
              outputs.map((value) => new Tensor(value)),
              cotangents.map((value) => (value === undefined ? undefined : new Tensor(value))),
            ).map((tensor) => tensor?.value),
        }),
  }
  return (...inputs) => custom(op, inputs)
}
