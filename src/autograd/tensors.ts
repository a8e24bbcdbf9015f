/** Several tensors at once: what they share is computed once. */

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
 * Computes the tensors together and keeps their numbers on the device, in order, so that later graphs start from them: the
 * weights of a training loop of your own. Each result owns memory: `dispose()` it once nothing starts from it any more.
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
 * What evaluating these tensors would run: dispatches, memory, and which kernel variants were chosen. Nothing runs.
 * @throws WeftgradError 'no-adapter' where no device is open, 'limit' for a tensor that fits no buffer or binding of it.
 */
export function planOf(tensors: readonly Tensor[], options: EvaluateOptions = {}): Plan {
  return planValues(
    tensors.map((t) => t.value),
    options,
  )
}
