/** The options of `fit`: their kinds, the validation split, and what a resumed run must share with the original run. */

import type { Dataset } from '../data/contract.ts'
import { aDataset, augmentationKinds } from '../data/contract.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import { stepRecordColumns } from '../kernels/training/state.ts'
import {
  aFlag,
  aFunction,
  aNumber,
  anObject,
  aSignal,
  checkOptions,
  checkValue,
  countFrom1,
  required,
} from '../options.ts'
import type { FitOptions, TrainingCheckpoint, TrainingSettings } from './contract.ts'
import type { Model } from './model.ts'
import { anOptimizer } from './optimizers.ts'
import { refuseMisfits } from './training-step.ts'

export const defaultSeed = 1

/** Kinds of {@link FitOptions}; `tuneTraining` takes them as well. */
export const fitKinds = {
  ...{ optimizer: required(anOptimizer), epochs: required(countFrom1), batchSize: required(countFrom1) },
  ...{ validation: aDataset, validationSplit: aNumber, augmentation: augmentationKinds, seed: aNumber },
  ...{ earlyStopping: { patience: required(countFrom1) }, restoreBest: aFlag, resume: anObject, signal: aSignal },
  callbacks: {
    ...{ onBegin: aFunction, onFirstStep: aFunction, onProgress: aFunction },
    ...{ onEpochEnd: aFunction, onCheckpoint: aFunction },
  },
  variants: anObject,
}

/** Training and validation images. */
export interface SplitData {
  readonly train: Dataset
  readonly validation: Dataset | undefined
}

export function splitData(
  data: Dataset,
  options: Pick<FitOptions, 'validation' | 'validationSplit' | 'seed'>,
): SplitData {
  const { validation, validationSplit, seed = defaultSeed } = options
  if (validation !== undefined && validationSplit !== undefined)
    throw new WeftgradError('argument', 'Give either validation or validationSplit, not both.')
  if (validation !== undefined || validationSplit === undefined || validationSplit === 0)
    return { train: data, validation }
  const { rest, held } = randomSplit(data.count, validationSplit, seed)
  return { train: data.subset(rest), validation: data.subset(held) }
}

/** Checks options and data against the model, and splits the data. */
export function checkedData(model: Model, data: Dataset, options: FitOptions): SplitData {
  checkOptions('fit', options, fitKinds)
  checkValue('fit: the data', data, aDataset)
  const { train, validation } = splitData(data, options)
  if (options.earlyStopping !== undefined && validation === undefined)
    throw new WeftgradError('argument', 'earlyStopping needs validation or validationSplit to compare epochs.')
  for (const images of [train, validation]) if (images !== undefined) refuseMisfits(model, images)
  if (validation !== undefined && validation.device !== train.device)
    throw new WeftgradError('argument', 'The validation images are on a different device than the training images.')
  return { train, validation }
}

/** The settings that a checkpoint records. */
export function settingsOf(model: Model, { train, validation }: SplitData, options: FitOptions): TrainingSettings {
  const { seed = defaultSeed, batchSize, epochs, optimizer, augmentation } = options
  return {
    ...{ seed, batchSize, epochs },
    trainCount: train.count,
    validationCount: validation?.count ?? 0,
    optimizer: optimizer.name,
    model: model.name,
    ...(augmentation === undefined ? {} : { augmentation: augmentationText(augmentation) }),
  }
}

/** Text that is equal for equal augmentations. */
function augmentationText({ flip, shift = 0 }: NonNullable<FitOptions['augmentation']>): string {
  return `flip ${flip ?? 'none'}, shift ${shift}`
}

/** A run that a checkpoint must fit. */
export interface ResumedRun {
  readonly settings: TrainingSettings
  /** Steps per epoch. */
  readonly steps: number
  /** Numbers in each of the optimizer's moments. */
  readonly momentSizes: readonly number[]
}

/** Throws 'mismatch' for a checkpoint that another run wrote. */
export function checkCheckpoint(checkpoint: TrainingCheckpoint, run: ResumedRun): void {
  const counts = ['batchSize', 'trainCount', 'validationCount'] as const
  const shared = ['seed', ...counts, 'optimizer', 'model', 'augmentation'] as const
  for (const name of shared) {
    const [own, theirs] = [run.settings[name], checkpoint.settings[name]]
    if (own !== theirs)
      throw new WeftgradError(
        'mismatch',
        `The checkpoint was written with ${name} ${theirs ?? 'none'}, and this run has ${own ?? 'none'}.`,
        { name },
      )
  }
  const { epoch, step, globalStep, moments, record, history } = checkpoint
  const { steps, momentSizes } = run
  if (moments.length !== momentSizes.length || moments.some((moment, i) => moment.length !== momentSizes[i]))
    throw new WeftgradError('mismatch', 'The checkpoint does not hold the moments of this optimizer and model.')
  const isPlace = step < steps && globalStep === epoch * steps + step
  if (!isPlace || record.length !== step * stepRecordColumns || history.length !== epoch)
    throw new WeftgradError(
      'mismatch',
      `The checkpoint's place, epoch ${epoch} and step ${step}, does not exist in a run with ${steps} steps per epoch.`,
      { epoch, step, globalStep },
    )
}
