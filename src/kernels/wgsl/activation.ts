/**
 * Activations that matrix kernels apply to their result before they store it, using the functions of elementwise
 * kernels.
 */

import type { Activation, FloatType, WgslFunction } from './functions.ts'
import { activations, declareFunctions, widths } from './functions.ts'

export type FusedActivation = 'linear' | Activation

/** Declares `activate(x)` for numbers of the type, and the other functions that the kernel calls. */
export function activationFunction(
  activation: FusedActivation,
  type: FloatType,
  others: readonly WgslFunction[] = [],
): string {
  const fn = activation === 'linear' ? undefined : activations[activation]
  return `${declareFunctions(fn === undefined ? others : [fn, ...others], widths[type])}
fn activate(x: ${type}) -> ${type} {
  return ${fn === undefined ? 'x' : `${fn.name}(x)`};
}`
}
