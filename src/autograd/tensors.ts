/** Computes several tensors together: what they share is computed once. */

import type { Plan } from '../graph/plan/plan.ts'
import type { EvaluateOptions, HostNumbers } from '../graph/run/evaluate.ts'
import { evaluateValues, keepValues, planValues } from '../graph/run/evaluate.ts'
import type { Tensor } from '../operators/tensor.ts'
import { KeptTensor } from '../operators/tensor.ts'

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
 * Computes the tensors together and keeps their numbers on the device, in order, so that later graphs can start from
 * them: for example the weights of your own training loop. Each result owns memory: `dispose()` it once nothing uses it
 * any more.
 * @throws WeftgradError as `Tensor.data`; then nothing is kept.
 */
export async function keep(tensors: readonly Tensor[], options: EvaluateOptions = {}): Promise<KeptTensor[]> {
  const values = tensors.map((t) => t.value)
  const slices = await keepValues(values, options)
  return slices.flatMap((slice, i) => {
    const type = values[i]?.type
    return type === undefined ? [] : [new KeptTensor(slice, type)]
  })
}

/**
 * Plans the evaluation of these tensors without running it: dispatches, memory, and the chosen kernel variants.
 * @throws WeftgradError 'no-adapter' if no device is open, 'limit' for a tensor larger than the device's buffers or
 * bindings.
 */
export function planOf(tensors: readonly Tensor[], options: EvaluateOptions = {}): Plan {
  return planValues(
    tensors.map((t) => t.value),
    options,
  )
}
