/** The settings of a search for the network's hyperparameters: names, defaults and accepted values. */
import { WeftgradError } from '../errors.ts'
import { common, oneWord, type Setting, SettingsTable, wholeNumber } from '../runs/settings.ts'
import type { TrainSettings } from '../tasks/recipe.ts'
import { trainingImages } from '../tasks/settings.ts'
import type { Task } from '../tasks/task.ts'
import { hyperbandSizes } from './hyperband.ts'
import { randomTrials, type SearchOptions, searchMethods } from './search.ts'

export type SearchSettings = SearchOptions & Pick<TrainSettings, 'batchSize' | 'split' | 'limit'>

export function searchDefaults({ search, recipes }: Task): SearchSettings {
  const { seed, batchSize, split, limit } = recipes.seed.train
  return {
    ...{ method: 'hyperband', maxEpochs: search.maxEpochs, factor: 3, sizes: 'keras', trials: null },
    ...{ seed, batchSize, split, limit },
  }
}

export function searchSettings(task: Task): SettingsTable<SearchSettings> {
  return new SettingsTable<SearchSettings>(
    {
      method: oneWord('--method', 'hyperband, random or grid', searchMethods),
      maxEpochs: common.epochs('maximum epochs per trial', '--max-epochs'),
      factor: wholeNumber(
        '--factor',
        'Hyperband: keep 1 in n trials each round',
        'a whole number from 2 to 100',
        2,
        100,
      ),
      sizes: oneWord(
        '--sizes',
        "Hyperband: number of trials, as 'keras' (KerasTuner) or 'paper' (algorithm 1) computes it",
        hyperbandSizes,
        hyperbandSizes.join(' or '),
      ),
      trials: trialsSetting(),
      seed: common.seed('random seed (trials, weights, shuffling, validation images)'),
      batchSize: common.batchSize('images per step'),
      ...trainingImages(task),
    },
    { settings: searchDefaults(task) },
  )
}

function trialsSetting(): Setting {
  const help = `random and grid search: at most n trials (default: ${randomTrials} random ones, or the whole grid)`
  const setting = wholeNumber('--trials', help, 'a whole number from 1 to 10,000', 1, 10_000)
  return { ...setting, accepts: (value) => value === null || setting.accepts(value) }
}

/**
 * Completes the given settings with defaults. Throws WeftgradError 'argument', also for settings that the method does
 * not use.
 */
export function resolveSearchSettings(task: Task, given: Partial<SearchSettings>): SearchSettings {
  const table = searchSettings(task)
  const settings = table.resolve(given)
  const isHyperband = settings.method === 'hyperband'
  const unused = isHyperband ? (['trials'] as const) : (['factor', 'sizes'] as const)
  for (const name of unused)
    if (given[name] !== undefined && given[name] !== null)
      throw new WeftgradError(
        'argument',
        isHyperband
          ? `--trials does not apply to Hyperband, whose schedule follows from --max-epochs and --factor. Leave it out, or choose --method random or grid.`
          : `${table.of(name).flag} applies to Hyperband only, and --method is ${settings.method}. Leave it out.`,
        { setting: name },
      )
  return settings
}
