/** The settings of a training of the task's network, and its recipes. Options change single settings. */
import type { Schedule } from '../nn/schedules.ts'
import { constantRate, cosineRate } from '../nn/schedules.ts'
import { common, numberWhere, oneWord, SettingsTable, toggle, wholeNumber } from '../runs/settings.ts'
import { type Recipe, type RecipeSettings, recipeNames, type TrainSettings } from '../tasks/recipe.ts'
import { networkSettings, testedImages } from '../tasks/settings.ts'
import type { Task } from '../tasks/task.ts'

/** A training's settings as `config.json` holds them. */
export type TrainingSettings = TrainSettings & RecipeSettings

export function trainSettings(task: Task): SettingsTable<TrainingSettings> {
  const { seed, best } = task.recipes
  const size = Math.max(task.data.image.height, task.data.image.width)
  return new SettingsTable<TrainingSettings>(
    {
      recipe: oneWord(
        '--recipe',
        "'seed': plain Adam; 'best': flips, shifts, dropout, AdamW, a cosine schedule and all images; other options change it",
        recipeNames,
        recipeNames.join(' or '),
      ),
      ...networkSettings(task, {
        epochs: 'epochs',
        learningRate: "Adam's learning rate; with a cosine, its peak",
        seed: 'random seed (weights, splits, shuffling)',
      }),
      ...testedImages(task),
      restoreBest: toggle('--no-restore-best', 'keep the last weights, not those of the best validation epoch'),
      validation: numberWhere(
        '--validation',
        'share of the training images for validation; 0 trains on all',
        'a share of the training images, from 0 to 0.9',
        (value) => value >= 0 && value <= 0.9,
      ),
      flips: toggle('--flips', 'randomly flip training images', 'turn flips off'),
      shift: wholeNumber(
        '--shift',
        'randomly shift training images by up to n pixels',
        `a whole number of pixels from 0 to ${size}`,
        0,
        size,
      ),
      dropout: common.share('--dropout', "dropout rate for the first dense layer's units"),
      weightDecay: common.share('--weight-decay', "AdamW's weight decay; 0 is Adam"),
      schedule: oneWord(
        '--schedule',
        'learning-rate schedule: constant or cosine',
        ['constant', 'cosine'],
        "'constant' or 'cosine'",
      ),
      warmupEpochs: wholeNumber(
        '--warmup-epochs',
        "epochs over which a cosine's learning rate rises",
        'a whole number from 0 to 10,000',
        0,
        10_000,
      ),
      flipAverage: toggle(
        '--flip-average',
        'test with the mean probabilities of an image and its mirror image',
        'turn --flip-average off',
      ),
    },
    { settings: flat(seed) },
    { label: 'best', settings: flat(best) },
  )
}

function flat({ train, recipe }: Recipe): TrainingSettings {
  return { ...train, ...recipe }
}

/** The named recipe with the given settings in place of its own. Throws WeftgradError 'argument', naming the setting. */
export function settingsWith(task: Task, given: Partial<TrainingSettings>): TrainingSettings {
  const { recipe: name = 'seed' } = given
  const table = trainSettings(task)
  table.check('recipe', name)
  return table.resolve(given, flat(task.recipes[name]))
}

/** The recipe's settings as config.json holds them. */
export function recipeOf(task: Task, settings: TrainingSettings): Recipe {
  const names = Object.keys(task.recipes.seed.recipe)
  const isRecipe = ([name]: [string, unknown]): boolean => names.includes(name)
  const entries = Object.entries(settings)
  return {
    train: Object.fromEntries(entries.filter((entry) => !isRecipe(entry))) as unknown as TrainSettings,
    recipe: Object.fromEntries(entries.filter(isRecipe)) as unknown as RecipeSettings,
  }
}

/** The learning-rate schedule for a training with `stepsPerEpoch`. */
export function scheduleOf(
  { schedule, learningRate, warmupEpochs }: TrainingSettings,
  stepsPerEpoch: number,
): Schedule {
  return schedule === 'constant'
    ? constantRate(learningRate)
    : cosineRate(learningRate, { warmupSteps: warmupEpochs * stepsPerEpoch })
}
