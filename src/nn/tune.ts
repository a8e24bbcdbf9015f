/** Tuning for training: measures the kernels of a training step and of its validation before the first step. */

import type { Dataset } from '../data/contract.ts'
import type { KernelTask } from '../graph/plan/choice.ts'
import type { TuningStore } from '../graph/tuning/store.ts'
import { entriesOf, knownVariants } from '../graph/tuning/store.ts'
import type { TuneOptions, TuningResult } from '../graph/tuning/tuning.ts'
import { tune, tuneKinds } from '../graph/tuning/tuning.ts'
import { aFlag, checkOptions, countFrom1, objectWith } from '../options.ts'
import { BatchOrder } from './batch-order.ts'
import type { FitOptions } from './contract.ts'
import { passTasks } from './data-pass.ts'
import { scoring } from './evaluate.ts'
import { fitKinds, splitData } from './fit-options.ts'
import type { Model } from './model.ts'
import { objectiveOf, RecordReader } from './objective.ts'
import { TrainingMemory, trainingStepTasks } from './training-step.ts'

/** The training options that the kernels depend on. */
type TunedOptions = Pick<
  FitOptions,
  'optimizer' | 'batchSize' | 'validation' | 'validationSplit' | 'seed' | 'augmentation' | 'loss' | 'metrics'
>

/** The training to tune for, and how long tuning may take. */
export interface TuneTrainingOptions extends TunedOptions, Omit<TuneOptions, 'known' | 'after'> {
  /** Where to look up and store results. Without a store everything is measured, and nothing is stored. */
  readonly store?: TuningStore
  /** Whether to measure kernels in the store again. */
  readonly again?: boolean
}

/**
 * Finds the variants for `fit` with the same options: pass it the result's `variants`. Tunes whole batches; the smaller
 * last batch of an epoch keeps the preferred variants.
 * @throws WeftgradError what `fit` throws for options and data that do not fit, and 'device-lost'.
 */
export async function tuneTraining(model: Model, data: Dataset, options: TuneTrainingOptions): Promise<TuningResult> {
  checkOptions<object>('tuneTraining', options, {
    ...{ ...fitKinds, ...tuneKinds, epochs: countFrom1, again: aFlag },
    store: ['a tuning store', (value: unknown) => objectWith(value, 'load')],
  })
  const { store, again = false, budgetMs, log, signal } = options
  const { device } = data
  const { step, validation } = trainingTasks(model, data, options)
  const entries = store === undefined || again ? {} : await store.load(device)
  const known = knownVariants(entries, [...step, ...validation])
  // Steps take most of an epoch, so validation gets the rest of the budget.
  const result = await tune(device, step, { budgetMs, log, signal, known, after: validation })
  if (result.kernels.length > 0) await store?.add(device, entriesOf(result))
  return result
}

/** The kernels of a step and of the validation's batches. */
export function trainingTasks(
  model: Model,
  data: Dataset,
  options: TunedOptions,
): { readonly step: readonly KernelTask[]; readonly validation: readonly KernelTask[] } {
  const { batchSize, optimizer, augmentation } = options
  const { train, validation } = splitData(data, options)
  const { device } = train
  model.to(device)
  const objective = objectiveOf(options)
  const batch = Math.min(batchSize, train.count)
  const sizes = new RecordReader(objective, model, train, augmentation).sizes(batch)
  using memory = TrainingMemory.of(model, optimizer, 1, sizes)
  const order = new BatchOrder(device, batch, 1)
  using _buffer = order.buffer
  return {
    step: trainingStepTasks(model, train, order, memory, {
      objective,
      chances: { seed: options.seed ?? model.seed, augmentation },
    }),
    validation: validation === undefined ? [] : passTasks(scoring(model, validation, objective)),
  }
}
