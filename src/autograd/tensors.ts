/** Several tensors at once: what they share is computed once. */

import type { Plan } from '../graph/plan.ts'
import type { EvaluateOptions, HostNumbers } from './evaluate.ts'
import { evaluateValues, planValues } from './evaluate.ts'
import type { Tensor } from './tensor.ts'

/**
 * Computes the tensors together, so that what they share is computed once, and copies them to the host, in order: one
 * submission, one wait. Plans are cached by the graph's structure.
 * @throws WeftgradError as `Tensor.data`.
 */
export function evaluate(tensors: readonly Tensor[], options: EvaluateOptions = {}): Promise<HostNumbers[]> {
  return evaluateValues(
    tensors.map((t) => t.value),
    options,
  )
}

/**
 * What evaluating these tensors would run: dispatches, memory, and which kernel variants were chosen. Nothing runs.
 * @throws WeftgradError 'no-adapter' where no device is open, 'limit' for a tensor that fits no buffer or binding of it.
 */
export function planOf(tensors: readonly Tensor[], options: EvaluateOptions = {}): Plan {
  return planValues(
    tensors.map((t) => t.value),
    options,
  )
}
