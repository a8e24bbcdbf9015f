/** The settings of LeNet-5's cross-validation: names, defaults, what each accepts. */
import { searchDefaults } from './search-settings.ts'
import { SettingsTable, whole } from './settings.ts'
import { lenetRules, type TrainSettings, trainDefaults } from './train-options.ts'

export interface CrossValidationSettings extends Omit<TrainSettings, 'restoreBest'> {
  /** Parts that the images are split into; each validates once. */
  readonly folds: number
  /** Whether one model is also taken from fold to fold, to show what comes of that. */
  readonly carryOver: boolean
}

const { restoreBest: _, ...lenetDefaults } = trainDefaults

/** Each fold is trained as long as the longest trials of a search. */
export const crossValidationDefaults: CrossValidationSettings = {
  ...lenetDefaults,
  epochs: searchDefaults.maxEpochs,
  folds: 5,
  carryOver: false,
}

export const crossValidationSettings = new SettingsTable<CrossValidationSettings>({
  ...lenetRules,
  folds: { flag: '--folds', what: 'a whole number from 2 to 100', accepts: whole(2, 100) },
  carryOver: { flag: '--carry-over', what: 'true or false', accepts: (value) => typeof value === 'boolean' },
})
