/** Settings shared by several jobs of a task: the images, and the training of the task's network. */
import { leastImages } from '../runs/images.ts'
import { common, imageLimit, numberList, oneWord, type Setting, whole } from '../runs/settings.ts'
import type { Task } from './task.ts'

const splitWhat = "'official' or 'seed'"

function splitSetting(help: string): Setting {
  return oneWord('--split', help, ['official', 'seed'], splitWhat)
}

/** Image settings of a job that tests. */
export function testedImages({ data }: Task) {
  return {
    split: splitSetting(
      `'official': ${data.halves}; 'seed': a tenth of the training images, without duplicates, is the test set`,
    ),
    limit: imageLimit('--limit', 'use only the first n training images, and at most n test images', leastImages),
  }
}

/** Image settings of a job that does not use the test images. */
export function trainingImages({ network }: Task) {
  return {
    split: splitSetting(
      `'official', or 'seed': without the test images that \`${network.command} --split seed\` would draw`,
    ),
    limit: imageLimit('--limit', 'use only the first n training images', leastImages),
  }
}

/** Settings of a job that trains the network with one learning rate. */
export function networkSettings(
  { recipes }: Task,
  help: { readonly epochs: string; readonly learningRate: string; readonly seed: string },
) {
  const { units } = recipes.seed.train
  return {
    epochs: common.epochs(help.epochs),
    batchSize: common.batchSize('images per step'),
    learningRate: common.learningRate(help.learningRate),
    seed: common.seed(help.seed),
    units: numberList(
      '--units',
      units.length === 1 ? 'size of the hidden dense layer' : `sizes of the ${units.length} hidden dense layers`,
      units.length === 1
        ? 'the size of the hidden dense layer, a whole number from 1 to 4,096'
        : `the sizes of the ${units.length} hidden dense layers, whole numbers from 1 to 4,096, such as ${units.join(',')}`,
      (value) => value.length === units.length && value.every(whole(1, 4_096)),
    ),
  }
}
