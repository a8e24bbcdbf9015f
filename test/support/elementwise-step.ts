/** Steps of elementwise kernels by the names of their operators. */
import type { OperatorStep } from '../../src/kernels/elementwise/elementwise.ts'
import * as steps from '../../src/kernels/elementwise/steps.ts'
import { activations } from '../../src/kernels/wgsl/functions.ts'

const { neg, abs, sign, exp, log, sqrt, square, reciprocal, erf, clip, toF32, toU32, copy } = steps
const { add, sub, mul, div, pow, maximum, minimum, greater, greaterEqual, less, lessEqual, equal, where } = steps

export const unaryRules = {
  ...{ neg, abs, sign, exp, log, sqrt, square, reciprocal, erf, clip, toF32, toU32, copy },
  relu: steps.functionRule(activations.relu),
  sigmoid: steps.functionRule(activations.sigmoid),
  tanh: steps.functionRule(activations.tanh),
  gelu: steps.functionRule(activations.gelu),
  geluTanh: steps.functionRule(activations.geluTanh),
}
export const binaryRules = {
  ...{ add, sub, mul, div, pow, maximum, minimum, greater, greaterEqual, less, lessEqual, equal },
}
const rules = { ...unaryRules, ...binaryRules, where }

export type UnaryKind = keyof typeof unaryRules
export type BinaryKind = keyof typeof binaryRules
export type ElementwiseKind = keyof typeof rules

export function step(
  kind: ElementwiseKind,
  args: readonly number[],
  bounds: { readonly min?: number; readonly max?: number } = {},
): OperatorStep {
  return { kind, rule: rules[kind], args, ...bounds }
}
