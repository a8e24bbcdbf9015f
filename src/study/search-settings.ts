/** The settings of a search for LeNet-5's hyperparameters: names, defaults, what each accepts. */
import { WeftgradError } from '../errors.ts'
import { hyperbandSizes } from './hyperband.ts'
import { type SearchOptions, searchMethods } from './search.ts'
import { Space } from './search-space.ts'
import { commonRules, SettingsTable, whole } from './settings.ts'
import { imageRules, type TrainSettings, trainDefaults } from './train-options.ts'

/** What is searched, by Keras' names. */
export const lenetSpace = new Space({
  units_1: [128, 256],
  units_2: [32, 64, 128],
  learning_rate: [1e-2, 1e-3, 1e-4],
})

export type LenetPoint = ReturnType<typeof lenetSpace.at>

export type SearchSettings = SearchOptions & Pick<TrainSettings, 'batchSize' | 'split' | 'limit'>

/** Those of the search that is repeated here: KerasTuner's Hyperband over 10 epochs. */
export const searchDefaults: SearchSettings = {
  method: 'hyperband',
  maxEpochs: 10,
  factor: 3,
  sizes: 'keras',
  trials: null,
  seed: trainDefaults.seed,
  batchSize: trainDefaults.batchSize,
  split: trainDefaults.split,
  limit: trainDefaults.limit,
}

export const searchSettings = new SettingsTable<SearchSettings>({
  method: {
    flag: '--method',
    what: `one of ${searchMethods.join(', ')}`,
    accepts: (value) => searchMethods.some((one) => one === value),
  },
  maxEpochs: { ...commonRules.epochs, flag: '--max-epochs' },
  factor: { flag: '--factor', what: 'a whole number from 2 to 100', accepts: whole(2, 100) },
  sizes: {
    flag: '--sizes',
    what: hyperbandSizes.join(' or '),
    accepts: (value) => hyperbandSizes.some((one) => one === value),
  },
  trials: {
    flag: '--trials',
    what: 'a whole number from 1 to 10,000',
    accepts: (value) => value === null || whole(1, 10_000)(value),
  },
  seed: commonRules.seed,
  batchSize: commonRules.batchSize,
  ...imageRules,
})

/** The given settings, defaults for the rest. Throws WeftgradError 'argument', also for those that the method has no use for. */
export function resolveSearchSettings(given: Partial<SearchSettings>): SearchSettings {
  const settings = searchSettings.resolve(given, searchDefaults)
  const isHyperband = settings.method === 'hyperband'
  const useless = isHyperband ? (['trials'] as const) : (['factor', 'sizes'] as const)
  for (const name of useless)
    if (given[name] !== undefined && given[name] !== null)
      throw new WeftgradError(
        'argument',
        isHyperband
          ? `--trials says nothing to Hyperband, whose schedule follows from --max-epochs and --factor. Leave it out, or choose --method random or grid.`
          : `${searchSettings.flagOf(name)} is Hyperband's, and --method is ${settings.method}. Leave it out.`,
        { setting: name },
      )
  return settings
}
