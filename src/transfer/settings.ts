/** The settings of transfer learning and of features: names, help and accepted values. The task holds the defaults. */
import { preprocessingModes } from '../nn/preprocessing.ts'
import { leastImages } from '../runs/images.ts'
import {
  common,
  imageLimit,
  nameList,
  oneWord,
  optionalText,
  type Setting,
  SettingsTable,
  wholeNumber,
} from '../runs/settings.ts'
import { featurePoolings } from '../tasks/feature-taps.ts'
import { type FeatureSettings, heads, type TransferSettings } from '../tasks/recipe.ts'
import type { Task } from '../tasks/task.ts'

const features = {
  size: orNull(
    wholeNumber(
      '--size',
      'height and width of the images for the network',
      'a whole number of pixels from 1 to 1,024',
      1,
      1024,
    ),
  ),
  layers: layerNames(),
  pool: oneWord('--pool', 'pooling of the features: avg, avg2 (2x2 means), max or none', featurePoolings),
  preprocessing: orNull(
    oneWord(
      '--preprocessing',
      `how images are prepared: ${preprocessingModes.join(', ')} (default: as the network's were; none for a model's file)`,
      preprocessingModes,
    ),
  ),
  weights: optionalText(
    '--weights',
    '<file>',
    "the network's weights, or 'hashed' for made-up ones",
    "a file of weights, or 'hashed'",
  ),
} as const

function orNull(setting: Setting): Setting {
  return { ...setting, accepts: (value) => value === null || setting.accepts(value) }
}

/** Without names, the job lists the layers that are likely ones. */
function layerNames(): Setting {
  const what = 'names of different layers, such as block3_pool,block4_pool'
  const setting = nameList('--layers', 'the layers whose outputs are features', what)
  return { ...setting, accepts: (value) => (Array.isArray(value) && value.length === 0) || setting.accepts(value) }
}

/** Settings of extracting features for some of the images. */
export interface ExtractionSettings extends FeatureSettings {
  readonly limit: number | null
}

export const featureSettings = new SettingsTable<ExtractionSettings>({
  ...features,
  limit: imageLimit('--limit', 'use only the first n training images, and at most n test images', leastImages),
})

export function transferSettings({ transfer }: Pick<Task, 'transfer'>): SettingsTable<TransferSettings> {
  return new SettingsTable<TransferSettings>(
    {
      head: oneWord('--head', 'linear, or mlp: with a hidden layer', heads, heads.join(' or ')),
      ...features,
      epochs: common.epochs('maximum epochs'),
      patience: wholeNumber(
        '--patience',
        'epochs without improvement before training stops',
        'a whole number of epochs from 1 to 10,000',
        1,
        10_000,
      ),
      batchSize: common.batchSize('rows of features per step'),
      learningRate: common.learningRate('initial learning rate'),
      weightDecay: common.share('--weight-decay', "AdamW's weight decay"),
      dropout: common.share('--dropout', 'dropout rate for the hidden units'),
      seed: common.seed('random seed (weights, validation images, shuffling)'),
      limitTrain: imageLimit('--limit-train', 'use only the first n training images', leastImages),
      limitTest: imageLimit('--limit-test', 'use only the first n test images', 1),
      unfreeze: optionalText(
        '--unfreeze',
        '<layer>',
        'afterwards also fine-tune the network, from this layer on',
        'the name of a layer',
      ),
      fineTuneEpochs: common.epochs('maximum epochs of fine-tuning', '--fine-tune-epochs'),
      fineTuneRate: common.learningRate('initial learning rate of fine-tuning', '--fine-tune-rate'),
    },
    ...Object.entries(transfer).map(([label, settings]) => ({ label, settings })),
  )
}
