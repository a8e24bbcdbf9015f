/** The options of `fit`: their kinds, the validation split, and what a resumed run must share with the original run. */

import type { Dataset } from '../data/contract.ts'
import { aDataset, augmentationKinds } from '../data/contract.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import {
  aFlag,
  aFunction,
  aNumber,
  anObject,
  anything,
  aSignal,
  aString,
  checkOptions,
  checkValue,
  countFrom1,
  isRecord,
  type Kind,
  required,
} from '../options.ts'
import type { Callbacks, FitOptions, Monitor, TrainingCheckpoint, TrainingSettings } from './contract.ts'
import { examplesShape, isBatchAugmentation } from './gather-inputs.ts'
import type { Model } from './model.ts'
import type { Objective } from './objective.ts'
import { aLossOrMetric, aMetricList, lossText } from './objective.ts'
import { anOptimizer } from './optimizers.ts'
import { optimizerText } from './trainable.ts'

export const defaultSeed = 1

/** Kinds of {@link Callbacks}. */
const callbackKinds = {
  ...{ onBegin: aFunction, onFirstStep: aFunction, onProgress: aFunction },
  ...{ onEpochEnd: aFunction, onCheckpoint: aFunction, decide: aFunction },
}

const aMonitor: Kind = [
  "the name of a result, or { name, mode: 'min' or 'max' }",
  (value) => typeof value === 'string' || (isRecord(value) && (value.mode === 'min' || value.mode === 'max')),
]

/** Kinds of {@link FitOptions}; `tuneTraining` takes them as well. */
export const fitKinds = {
  ...{ optimizer: required(anOptimizer), epochs: required(countFrom1), batchSize: required(countFrom1) },
  ...{ validation: aDataset, validationSplit: aNumber, seed: aNumber },
  augmentation: { ...augmentationKinds, settings: aString, mixesTargets: aFlag, examples: aFunction, apply: aFunction },
  ...{ earlyStopping: { patience: required(countFrom1) }, restoreBest: aFlag, resume: anObject, signal: aSignal },
  ...{ loss: aLossOrMetric, metrics: aMetricList, monitor: aMonitor, callbacks: anything },
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

/** The callbacks as a list. @throws WeftgradError 'argument' for what is none. */
export function callbacksOf({ callbacks = [] }: Pick<FitOptions, 'callbacks'>): readonly Callbacks[] {
  const list: readonly Callbacks[] = Array.isArray(callbacks) ? callbacks : [callbacks]
  for (const one of list) checkOptions<object>('fit', { callbacks: one }, { callbacks: callbackKinds })
  return list
}

/**
 * The monitored result; undefined for the default.
 * @throws WeftgradError 'argument' for a name that is not among the results.
 */
export function monitorOf(
  { monitor }: Pick<FitOptions, 'monitor'>,
  { metrics }: Objective,
  hasValidation: boolean,
): Monitor | undefined {
  if (monitor === undefined) return undefined
  const results = new Map<string, 'min' | 'max'>([['loss', 'min']])
  for (const { name, higherIsBetter } of metrics) results.set(name, higherIsBetter === true ? 'max' : 'min')
  if (hasValidation) for (const [name, mode] of [...results]) results.set(validationName(name), mode)
  const name = typeof monitor === 'string' ? monitor : monitor.name
  const mode = results.get(name)
  if (mode === undefined)
    throw new WeftgradError(
      'argument',
      `monitor: there is no result '${name}' of this training; it has ${[...results.keys()].join(', ')}.`,
      { name },
    )
  return typeof monitor === 'string' ? { name, mode } : monitor
}

/** The name of a result on the validation examples: `validationLoss`. */
export const validationName = (name: string): string => `validation${name.charAt(0).toUpperCase()}${name.slice(1)}`

/** Checks options and data against the model, and splits the data. */
export function checkedData(model: Model, data: Dataset, options: FitOptions): SplitData {
  checkOptions('fit', options, fitKinds)
  checkValue('fit: the data', data, aDataset)
  const { train, validation } = splitData(data, options)
  if (options.earlyStopping !== undefined && validation === undefined)
    throw new WeftgradError('argument', 'earlyStopping needs validation or validationSplit to compare epochs.')
  train.refuseMisfits(examplesShape(model, options.augmentation), model.name)
  validation?.refuseMisfits(model.inputShape, model.name)
  if (validation !== undefined && validation.device !== train.device)
    throw new WeftgradError('argument', 'The validation images are on a different device than the training images.')
  return { train, validation }
}

/** The settings that a checkpoint records. */
export function settingsOf(
  model: Model,
  { train, validation }: SplitData,
  options: FitOptions,
  objective: Objective,
  monitor: Monitor | undefined,
): TrainingSettings {
  const loss = lossText(objective)
  const { seed = defaultSeed, batchSize, epochs, optimizer, augmentation } = options
  return {
    ...{ seed, batchSize, epochs },
    trainCount: train.count,
    validationCount: validation?.count ?? 0,
    optimizer: optimizerText(optimizer),
    model: model.name,
    ...(loss === undefined ? {} : { loss }),
    ...(monitor === undefined ? {} : { monitor: `${monitor.mode} ${monitor.name}` }),
    ...(augmentation === undefined ? {} : { augmentation: augmentationText(augmentation) }),
  }
}

/** Text that is equal for equal augmentations. */
function augmentationText(augmentation: NonNullable<FitOptions['augmentation']>): string {
  if (isBatchAugmentation(augmentation)) return augmentation.settings
  const { flip, shift = 0 } = augmentation
  return `flip ${flip ?? 'none'}, shift ${shift}`
}

/** A run that a checkpoint must fit. */
export interface ResumedRun {
  readonly settings: TrainingSettings
  /** Steps per epoch. */
  readonly steps: number
  /** Floats in the record of a step. */
  readonly recordColumns: number
  /** Numbers in each of the optimizer's moments. */
  readonly momentSizes: readonly number[]
}

/** Throws 'mismatch' for a checkpoint that another run wrote. */
export function checkCheckpoint(checkpoint: TrainingCheckpoint, run: ResumedRun): void {
  const counts = ['batchSize', 'trainCount', 'validationCount'] as const
  const shared = ['seed', ...counts, 'optimizer', 'model', 'loss', 'monitor', 'augmentation'] as const
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
  const { steps, momentSizes, recordColumns } = run
  if (moments.length !== momentSizes.length || moments.some((moment, i) => moment.length !== momentSizes[i]))
    throw new WeftgradError('mismatch', 'The checkpoint does not hold the moments of this optimizer and model.')
  const isPlace = step < steps && globalStep === epoch * steps + step
  if (!isPlace || record.length !== step * recordColumns || history.length !== epoch)
    throw new WeftgradError(
      'mismatch',
      `The checkpoint's place, epoch ${epoch} and step ${step}, does not exist in a run with ${steps} steps per epoch.`,
      { epoch, step, globalStep },
    )
}
