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
import type { Objective, RecordReader } from './objective.ts'
import { aLossOrMetric, aMetricList, lossText } from './objective.ts'
import { anOptimizer } from './optimizers.ts'
import { optimizerText } from './trainable.ts'
import type { TrainingMemory } from './training-step.ts'

export const defaultSeed = 1

/** Kinds of {@link Callbacks}. */
const callbackKinds = {
  settings: aString,
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
    throw new WeftgradError('argument', 'earlyStopping needs validation or validationSplit.')
  train.refuseMisfits(examplesShape(model, options.augmentation), model.name)
  validation?.refuseMisfits(model.inputShape, model.name)
  if (validation !== undefined && validation.device !== train.device)
    throw new WeftgradError('argument', 'The validation images are on another device than the others.')
  return { train, validation }
}

/**
 * The settings that a checkpoint records: everything that changes a training, as text where it is no number. A resumed training
 * must have the same, `epochs` aside.
 */
export function settingsOf(
  model: Model,
  { train, validation }: SplitData,
  options: FitOptions,
  objective: Objective,
  monitor: Monitor | undefined,
): TrainingSettings {
  const { seed = defaultSeed, batchSize, epochs, optimizer, augmentation } = options
  return {
    ...{ seed, batchSize, epochs },
    trainCount: train.count,
    validationCount: validation?.count ?? 0,
    optimizer: optimizerText(optimizer),
    model: model.name,
    loss: lossText(objective),
    metrics: String(objective.metrics.map(({ name }) => name)),
    monitor: textOf(monitor),
    augmentation: isBatchAugmentation(augmentation) ? augmentation.settings : textOf(augmentation),
    data: train.settings,
    callbacks: textOf(callbacksOf(options).flatMap(({ settings = [] }) => settings)),
    ...Object.fromEntries(
      // Initial weights do not matter: a checkpoint holds the weights.
      model.layers.map(({ layer: { name, className, config }, inputs, outputShape, trainable }) => [
        `layer ${name}`,
        textOf({ className, ...config, inputs, outputShape, trainable }),
      ]),
    ),
  }
}

/** Text that is equal for equal settings. Of a function, it holds the description or the source. */
function textOf(settings: unknown): string | undefined {
  return JSON.stringify(settings, (key, value) => {
    if (typeof value !== 'function') return value
    return key.endsWith('Initializer') ? undefined : 'config' in value ? { ...value } : String(value)
  })
}

/** A run that a checkpoint must fit. */
export interface ResumedRun {
  readonly settings: TrainingSettings
  /** Steps per epoch. */
  readonly steps: number
  readonly reader: Pick<RecordReader, 'width'>
  readonly memory: Pick<TrainingMemory, 'moments' | 'updates'>
}

/** Throws 'mismatch' for a checkpoint that another run wrote. */
export function checkCheckpoint(checkpoint: TrainingCheckpoint, run: ResumedRun): void {
  const { epoch, step, globalStep, record, history } = checkpoint
  const { steps, reader, memory } = run
  // More epochs are fine, unless the rates so far would have been others: those of a cosine.
  const compared = (settings: TrainingSettings, momentSizes: readonly number[]): TrainingSettings => ({
    ...settings,
    epochs: 0,
    'learning rate': String(
      memory.updates.map(({ optimizer }) =>
        optimizer.schedule.rate(Math.max(0, globalStep - 1), settings.epochs * steps),
      ),
    ),
    'moments of': String(momentSizes),
  })
  const sizes = memory.moments.map(({ bytes }) => bytes / 4)
  const own = compared(run.settings, sizes)
  const theirs = compared(
    checkpoint.settings,
    checkpoint.moments.map(({ length }) => length),
  )
  for (const name in { ...own, ...theirs })
    if (own[name] !== theirs[name])
      throw new WeftgradError(
        'mismatch',
        `The checkpoint was written with ${name} ${theirs[name] ?? 'none'}, and this run has ${own[name] ?? 'none'}.`,
        { name },
      )
  const isPlace = step < steps && globalStep === epoch * steps + step
  if (!isPlace || record.length !== step * reader.width || history.length !== epoch)
    throw new WeftgradError(
      'mismatch',
      `The checkpoint's place, epoch ${epoch} and step ${step}, does not exist in a run with ${steps} steps per epoch.`,
      { epoch, step, globalStep },
    )
}
