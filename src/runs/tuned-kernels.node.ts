/** Tunes kernels for jobs: WEFTGRAD_TUNE controls it, results of other runs are reused, and one line reports it. */
import type { Dataset } from '../data/contract.ts'
import type { Device } from '../gpu/device.ts'
import type { KernelTask, VariantTable } from '../graph/plan/choice.ts'
import { entriesOf, knownVariants } from '../graph/tuning/store.ts'
import { type TuningResult, tune } from '../graph/tuning/tuning.ts'
import type { FitOptions, TrainingFacts } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { tuneTraining } from '../nn/tune.ts'
import { FileTuningStore, tuningMode } from '../nn/tuning-store.node.ts'

/** Receives what is said about tuning: a {@link Run}, for one. */
export interface TuningTold {
  note(line: string): void
  /** See `JobReporter.onWait`. */
  wait(what: string): void
  /** See `JobReporter.onDetail`. */
  detail(line: string): void
}

/** What a training waits for until its first step is done. */
export const compilingText = ({ dispatchesPerStep }: Pick<TrainingFacts, 'dispatchesPerStep'>): string =>
  `Compiling ${dispatchesPerStep} kernels`

/** Tunes for a new training; WEFTGRAD_TUNE=0 keeps the families' preferred kernels. */
export async function tunedForTraining(
  model: Model,
  data: Dataset,
  training: FitOptions,
  told: TuningTold,
): Promise<VariantTable> {
  const mode = tuningMode()
  if (mode === 'off') return {}
  const store = new FileTuningStore({ log: told.note })
  told.wait('Tuning kernels')
  return tell(await tuneTraining(model, data, { ...training, store, again: mode === 'all', log: told.detail }), told)
}

/** Tunes kernels that run many times; without a budget, uses only known results. */
export async function tunedForTasks(
  device: Device,
  tasks: readonly KernelTask[],
  options: { readonly budgetMs: number; readonly signal?: AbortSignal | undefined },
  told: TuningTold,
): Promise<VariantTable> {
  const mode = tuningMode()
  if (mode === 'off') return {}
  const store = new FileTuningStore({ log: told.note })
  told.wait('Tuning kernels')
  const known = mode === 'all' ? {} : knownVariants(await store.load(device), tasks)
  const result = await tune(device, tasks, { ...options, known, log: told.detail })
  if (result.kernels.length > 0) await store.add(device, entriesOf(result))
  return options.budgetMs > 0 ? tell(result, told) : result.variants
}

function tell({ variants, kernels, left, seconds, problem }: TuningResult, { note }: TuningTold): VariantTable {
  if (problem !== undefined) note(`Kernels are not tuned. ${problem}`)
  else if (kernels.length > 0 || left > 0) {
    const rest = left > 0 ? ` of ${kernels.length + left}` : ''
    const later = left > 0 ? ' (the rest next run)' : ''
    note(`Autotuned ${kernels.length}${rest} kernels in ${seconds.toFixed(1)} s${later}.`)
  }
  return variants
}
