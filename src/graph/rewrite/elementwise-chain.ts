/** Elementwise work as a chain of steps in one kernel: a single operator or several merged by fusion. */

import type { ElementwiseStep } from '../../kernels/elementwise/elementwise.ts'
import { elementwise } from '../../kernels/elementwise/elementwise.ts'
import { copy } from '../../kernels/elementwise/steps.ts'
import type { DType, KernelPlan, Shape } from '../../kernels/kernel.ts'
import type { Kernels, Node, Operation, Value } from '../node.ts'

/** Several elementwise operators in one kernel, made by fusion. */
export const chainOp: Operation<{
  readonly steps: readonly ElementwiseStep[]
  readonly shape: Shape
  readonly dtype: DType
}> = {
  name: 'fused',
  shape: (_, { shape, dtype }) => [{ shape, dtype }],
  lower: (node, kernels) => planChain(node, node.attributes.steps, kernels),
}

/** The kernel that computes a result of this type by these steps. */
export function planChain(
  { inputs, outputs }: Pick<Node, 'inputs' | 'outputs'>,
  steps: readonly ElementwiseStep[],
  kernels: Kernels,
): KernelPlan {
  const [type] = outputs
  if (type === undefined) throw new RangeError('a chain has one output')
  return kernels.plan(elementwise, {
    shape: type.shape,
    inputs: inputs.map((value) => value.type),
    steps,
    output: type.dtype === 'u32' ? 'u32' : 'f32',
  })
}

/** The kernel of a single elementwise operator. */
export function planStep(node: Node, kernels: Kernels): KernelPlan {
  const reads = node.inputs.map((_, index): ElementwiseStep => ({ kind: 'input', index }))
  const step = node.op.step?.(node.attributes)
  if (step === undefined) throw new RangeError(`${node.op.name} is not elementwise`)
  return planChain(node, [...reads, { ...step, args: reads.map((_, i) => i) }], kernels)
}

/** The kernel that copies a value. */
export function planCopy(value: Value, kernels: Kernels): KernelPlan {
  const steps: ElementwiseStep[] = [
    { kind: 'input', index: 0 },
    { kind: 'copy', rule: copy, args: [0] },
  ]
  return planChain({ inputs: [value], outputs: [value.type] }, steps, kernels)
}
