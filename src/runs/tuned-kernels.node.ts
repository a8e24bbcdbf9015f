/** Tunes kernels for jobs: WEFTGRAD_TUNE controls it, results of other runs are reused, and one line reports it. */
import type { Dataset } from '../data/contract.ts'
import type { Device } from '../gpu/device.ts'
import type { KernelTask, VariantTable } from '../graph/plan/choice.ts'
import { entriesOf, knownVariants } from '../graph/tuning/store.ts'
import { type TuningResult, tune } from '../graph/tuning/tuning.ts'
import type { FitOptions } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { tuneTraining } from '../nn/tune.ts'
import { FileTuningStore, tuningMode } from '../nn/tuning-store.node.ts'

type Log = (line: string) => void

/** Tunes for a new training; WEFTGRAD_TUNE=0 keeps the families' preferred kernels. */
export async function tunedForTraining(
  model: Model,
  data: Dataset,
  training: FitOptions,
  log: Log,
): Promise<VariantTable> {
  const mode = tuningMode()
  if (mode === 'off') return {}
  const store = new FileTuningStore({ log })
  return told(await tuneTraining(model, data, { ...training, store, again: mode === 'all' }), log)
}

/** Tunes kernels that run many times; without a budget, uses only known results. */
export async function tunedForTasks(
  device: Device,
  tasks: readonly KernelTask[],
  options: { readonly budgetMs: number; readonly signal?: AbortSignal | undefined },
  log: Log,
): Promise<VariantTable> {
  const mode = tuningMode()
  if (mode === 'off') return {}
  const store = new FileTuningStore({ log })
  const known = mode === 'all' ? {} : knownVariants(await store.load(device), tasks)
  const result = await tune(device, tasks, { ...options, known })
  if (result.kernels.length > 0) await store.add(device, entriesOf(result))
  return options.budgetMs > 0 ? told(result, log) : result.variants
}

function told({ variants, kernels, left, seconds, problem }: TuningResult, log: Log): VariantTable {
  if (problem !== undefined) log(`Kernels are not tuned. ${problem}`)
  else if (kernels.length > 0 || left > 0) {
    const rest = left > 0 ? ` of ${kernels.length + left}` : ''
    const later = left > 0 ? ' (the rest next run)' : ''
    log(`Autotuned ${kernels.length}${rest} kernels in ${seconds.toFixed(1)} s${later}.`)
  }
  return variants
}
