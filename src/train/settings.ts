/** The settings of a training of the task's network, and its recipes. Options change single settings. */
import { augment } from '../nn/augment.ts'
import type { FitOptions } from '../nn/contract.ts'
import type { Schedule } from '../nn/schedules.ts'
import { constantRate, cosineRate } from '../nn/schedules.ts'
import { common, numberWhere, oneWord, type Setting, SettingsTable, toggle, wholeNumber } from '../runs/settings.ts'
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
      verticalFlips: toggle(
        '--vertical-flips',
        'randomly flip training images top to bottom',
        'turn vertical flips off',
      ),
      rotation: numberWhere(
        '--rotation',
        'randomly turn training images by up to x degrees',
        'a number of degrees from 0 to 180',
        (value) => value >= 0 && value <= 180,
      ),
      zoom: common.share('--zoom', 'randomly make training images smaller or larger by up to this share'),
      contrast: fromZeroToOne('--contrast', 'randomly change the contrast of training images by up to this share'),
      brightness: fromZeroToOne(
        '--brightness',
        'randomly add up to x to training images, whose pixels are from 0 to 1',
      ),
      cutout: wholeNumber(
        '--cutout',
        'erase a random square with sides of n pixels from training images',
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

const fromZeroToOne = (flag: string, help: string): Setting =>
  numberWhere(flag, help, 'a number from 0 to 1', (value) => value >= 0 && value <= 1)

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

/** Random changes of training images; undefined for none. Flips and shifts alone are cheapest while images are gathered. */
export function augmentationOf(settings: TrainingSettings): FitOptions['augmentation'] {
  const { flips, shift, verticalFlips, rotation, zoom, contrast, brightness, cutout } = settings
  const further = { rotation, zoom, contrast, brightness, cutout }
  if (!verticalFlips && Object.values(further).every((one) => one === 0))
    return flips || shift > 0 ? { ...(flips ? { flip: 'random' } : {}), shift } : undefined
  const flip = flips && verticalFlips ? 'both' : verticalFlips ? 'vertical' : flips ? 'horizontal' : undefined
  return augment({ ...(flip && { flip }), shift, ...further })
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
