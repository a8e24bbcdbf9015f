/**
 * Activations that matrix kernels apply to their result before they store it, using the functions of elementwise
 * kernels.
 */

import type { Activation, FloatType, FunctionName } from './functions.ts'
import { activations, declareFunctions, widths } from './functions.ts'

export type FusedActivation = 'linear' | Activation

/** Declares `activate(x)` for numbers of the type, and the other functions that the kernel calls. */
export function activationFunction(
  activation: FusedActivation,
  type: FloatType,
  others: readonly FunctionName[] = [],
): string {
  const name = activation === 'linear' ? undefined : activations[activation]
  return `${declareFunctions(name === undefined ? others : [name, ...others], widths[type])}
fn activate(x: ${type}) -> ${type} {
  return ${name === undefined ? 'x' : `${name}(x)`};
}`
}
