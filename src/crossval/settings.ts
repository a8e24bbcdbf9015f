/** The settings of a cross-validation of the task's network: names, defaults and accepted values. */
import { SettingsTable, toggle, wholeNumber } from '../runs/settings.ts'
import type { TrainSettings } from '../tasks/recipe.ts'
import { networkSettings, trainingImages } from '../tasks/settings.ts'
import type { Task } from '../tasks/task.ts'

export interface CrossValidationSettings extends Omit<TrainSettings, 'restoreBest'> {
  /** Number of folds. */
  readonly folds: number
  /** Whether to also reuse one model across the folds, to show how that inflates the score. */
  readonly carryOver: boolean
}

/** The defaults: each fold is trained as long as the longest trials of a search. */
export function crossValidationDefaults({ recipes, search }: Task): CrossValidationSettings {
  const { restoreBest: _, ...defaults } = recipes.seed.train
  return { ...defaults, epochs: search.maxEpochs, folds: 5, carryOver: false }
}

export function crossValidationSettings(task: Task): SettingsTable<CrossValidationSettings> {
  return new SettingsTable<CrossValidationSettings>(
    {
      folds: wholeNumber('--folds', 'number of folds', 'a whole number from 2 to 100', 2, 100),
      ...networkSettings(task, {
        epochs: 'epochs per fold',
        learningRate: "Adam's learning rate",
        seed: 'random seed (folds, weights, shuffling)',
      }),
      carryOver: toggle('--carry-over', 'also reuse one model across folds, to show how that inflates the score'),
      ...trainingImages(task),
    },
    { settings: crossValidationDefaults(task) },
  )
}
