/**
 * The types of training that `fit`, its callers, checkpoints and run folders share.
 */

import type { Dataset } from '../data/contract.ts'
import type { Device } from '../gpu/device.ts'
import type { Choice, VariantTable } from '../graph/plan/choice.ts'
import type { TrainingAugmentation } from './gather-inputs.ts'
import type { WeightNumbers } from './model-weights.ts'
import type { Loss, Metric, RowFunction } from './objective.ts'
import type { Optimizer, OptimizerGroup } from './optimizers.ts'

/** The results that most trainings have of an epoch. Losses are means over the examples; accuracies are in [0, 1]. */
export interface EpochResult {
  /** The epoch's number, from 1. */
  readonly epoch: number
  /** Loss on the training images, while the weights were changing. */
  readonly loss: number
  /** Accuracy on the training images, while the weights were changing; absent if it is not among the metrics. */
  readonly accuracy?: number
  /** Loss on the validation images after the epoch; absent without them. */
  readonly validationLoss?: number
  /** Accuracy on the validation images after the epoch; absent without them, or if it is not among the metrics. */
  readonly validationAccuracy?: number
  /** The learning rate of the first step. */
  readonly learningRate: number
  /** Wall-clock time, including validation. */
  readonly seconds: number
}

/**
 * The results of an epoch. Further metrics stand beside the usual ones by their names, and for the validation examples as
 * `validationMeanAbsoluteError`.
 */
export interface EpochLogs extends EpochResult {
  /** A metric by its name. */
  readonly [metric: string]: number | undefined
}

/** A result to compare epochs by: its name in {@link EpochLogs}, and whether the smallest or the largest is best. */
export interface Monitor {
  /** Such as `validationLoss`. */
  readonly name: string
  /** Which values are better. */
  readonly mode: 'min' | 'max'
}

/** The progress of a training, reported a few times a second. */
export interface Progress {
  /** The epoch's number, from 1. */
  readonly epoch: number
  /** Epochs of the whole training. */
  readonly epochs: number
  /** Completed steps of this epoch. */
  readonly step: number
  /** All steps of this epoch. */
  readonly steps: number
  /** Mean over this epoch so far; NaN while only the first step, which compiles, is done. */
  readonly imagesPerSecond: number
  /** Estimated time to the end of the last epoch; NaN as long as the rate. */
  readonly etaSeconds: number
  /** Mean over this epoch's steps so far, read from the device about once a second. */
  readonly loss?: number
  /** Mean over this epoch's steps so far, in [0, 1]; absent if it is not among the metrics. */
  readonly accuracy?: number
}

/** Facts about a training, reported once, before the first step. */
export interface TrainingFacts {
  /** The device it runs on. */
  readonly device: Device
  /** Parameters of the model, including those that are not trained. */
  readonly parameters: number
  /** Number of training examples. */
  readonly trainCount: number
  /** Number of validation examples; 0 without validation. */
  readonly validationCount: number
  /** Steps per epoch, including the smaller last one. */
  readonly stepsPerEpoch: number
  /** Number of kernels that a step runs. */
  readonly dispatchesPerStep: number
  /** The kernel variants of the step. */
  readonly choices: readonly Choice[]
  /** Pass these to `fit` to use the same kernels again, for all batch sizes and for validation. */
  readonly variants: VariantTable
}

/** What a callback decides after an epoch. */
export interface Decision {
  /** Ends the training after this epoch, as if it were the last. */
  readonly stop?: boolean
  /** Multiplies the learning rates of the next epoch. 1 by default. */
  readonly rateScale?: number
}

/** Functions that `fit` calls while it trains. An error thrown in one ends the training with that error. */
export interface Callbacks {
  /**
   * Text that is equal for callbacks that change a training alike: a resumed training must have the same. Absent for those that
   * only watch it or end it.
   */
  readonly settings?: string
  /**
   * Decides after each epoch what comes next, from the results so far. A resumed run asks again with the completed
   * epochs, so the decision must depend on nothing else.
   */
  decide?(history: readonly EpochLogs[]): Decision | undefined
  /** Called before the first step. */
  onBegin?(facts: TrainingFacts): void
  /** Called after the first step has run on the device, with the seconds since `fit` was called. */
  onFirstStep?(seconds: number): void
  /** Called about five times a second. */
  onProgress?(progress: Progress): void
  /** Called and awaited after each epoch. */
  onEpochEnd?(logs: EpochLogs): void | Promise<void>
  /** Called after each epoch, and when training is stopped. Awaited before training continues. */
  onCheckpoint?(checkpoint: TrainingCheckpoint): void | Promise<void>
}

/** How to train. */
export interface FitOptions {
  /** `adam()`, `adamw()`, `sgd()`, `rmsprop()`, with a rate or a schedule; or several, each with the weights it updates. */
  readonly optimizer: Optimizer | readonly OptimizerGroup[]
  /**
   * What to make small: a loss like `meanSquaredError()`, or a function of output and target that gives one number for each
   * row. By default cross-entropy with class numbers.
   */
  readonly loss?: Loss | RowFunction
  /**
   * What to report each epoch, for training and validation: metrics, losses, or functions that give one number for each row
   * and are reported by their names. By default the accuracy with the default loss, else none.
   */
  readonly metrics?: readonly (Metric | RowFunction)[]
  /** Number of times that every training example is seen. */
  readonly epochs: number
  /** Examples per step; an epoch's last step takes the rest. */
  readonly batchSize: number
  /** Separate examples to validate on, instead of `validationSplit`. */
  readonly validation?: Dataset
  /** Share of the training examples, in (0, 1), to set aside for validation, drawn with `seed`. */
  readonly validationSplit?: number
  /**
   * Random changes of training images, drawn with `seed`: flips and shifts while they are gathered, or those of `augment`.
   * Validation images are not changed.
   */
  readonly augmentation?: TrainingAugmentation
  /** Random seed of each epoch's order, the validation split, dropout masks and augmentation. 1 by default. */
  readonly seed?: number
  /**
   * The result that makes an epoch the best: its name, such as 'validationF1Score', or name and mode. By default the
   * validation accuracy, on a tie the one with the lower validation loss; without accuracy the validation loss.
   */
  readonly monitor?: string | Monitor
  /** Stops after `patience` epochs in a row without a better one. Needs validation examples. */
  readonly earlyStopping?: {
    /** A positive whole number. */
    readonly patience: number
  }
  /** Whether to restore the weights of the best epoch at the end. False by default, true with `earlyStopping`. */
  readonly restoreBest?: boolean
  /**
   * Resumes from this checkpoint instead of from the model's weights. {@link TrainingSettings} says what must be as in the
   * original run; what ends a training need not: `epochs`, `earlyStopping`.
   */
  readonly resume?: TrainingCheckpoint
  /** Stops after the current submission: `onCheckpoint` gets the checkpoint, then `fit` throws 'aborted'. */
  readonly signal?: AbortSignal
  /** Functions to call while training: one object of them, or a list like Keras'. */
  readonly callbacks?: Callbacks | readonly Callbacks[]
  /** Kernel variants to use instead of the preferred ones: from `tuneTraining`, or `TrainingFacts.variants`. */
  readonly variants?: VariantTable
}

/** The results of a training. */
export interface History {
  /** The results of each epoch, in order, including those before a resumption. */
  readonly epochs: readonly EpochLogs[]
  /** The best epoch (from 1) by {@link FitOptions.monitor}; without validation and monitor the last. */
  readonly bestEpoch: number
  /** Time from the call to the end of the first step: planning and compiling. */
  readonly firstStepSeconds: number
  /** Median over the epochs trained in this call: the epoch's training time divided by its steps. */
  readonly millisecondsPerStep: number
  /** Number of kernels that a step runs. */
  readonly dispatchesPerStep: number
  /** The kernel variants of the step. */
  readonly choices: readonly Choice[]
}

/** Everything that a run needs to resume bit for bit, in host memory. */
export interface TrainingCheckpoint {
  /** Completed epochs. */
  readonly epoch: number
  /** Completed steps of the next epoch; 0 at an epoch's end. */
  readonly step: number
  /** Completed steps of all epochs. */
  readonly globalStep: number
  /** The model's weights, including those that are not trained. */
  readonly weights: WeightNumbers
  /** The optimizer's moments, flat, in the optimizer's order. */
  readonly moments: readonly Float32Array[]
  /** (loss, correct, batch, 0, sums of further metrics) for each step of the unfinished epoch. */
  readonly record: Float32Array
  /** The results of the completed epochs. */
  readonly history: readonly EpochLogs[]
  /** The best epoch by validation, if its weights may be restored later. */
  readonly best?: {
    /** The epoch's number, from 1. */
    readonly epoch: number
    /** The model's weights at its end. */
    readonly weights: WeightNumbers
  }
  /** The settings that a resumed run must share. */
  readonly settings: TrainingSettings
}

/**
 * The settings that a training and its resumption must share: all of them but `epochs`. Beside these, `layer NAME` describes each
 * layer of the model: its class and settings (regularizers and rates of dropout among them), and whether it is trained.
 */
export interface TrainingSettings {
  /** Random seed of the order of the examples, dropout and augmentation. */
  readonly seed: number
  /** Examples per step. */
  readonly batchSize: number
  /** Epochs of the whole training. A resumed training may have others, unless its schedule depends on them. */
  readonly epochs: number
  /** Number of training examples. */
  readonly trainCount: number
  /** Number of validation examples. */
  readonly validationCount: number
  /** The optimizers' names, which include their hyperparameters. */
  readonly optimizer: string
  /** The model's name. */
  readonly model: string
  /** The loss as text; absent for the default. */
  readonly loss?: string | undefined
  /** The metrics' names. */
  readonly metrics?: string | undefined
  /** The monitored result; absent for the default. */
  readonly monitor?: string | undefined
  /** The augmentation as text; absent without one. */
  readonly augmentation?: string | undefined
  /** `Dataset.settings` of the training examples. */
  readonly data?: string | undefined
  /** `Callbacks.settings` of all callbacks. */
  readonly callbacks?: string | undefined
  /** A setting by its name. */
  readonly [setting: string]: string | number | undefined
}

/** The results of a model on a data set. */
export interface Evaluation {
  /** Mean cross-entropy over the images. */
  readonly loss: number
  /** Share of correctly classified images, in [0, 1]. */
  readonly accuracy: number
  /**
   * Rows are the true classes, columns the predicted ones. Empty for more than 5,792 classes, whose counts exceed a
   * binding on some adapters; count `predictions` then.
   */
  readonly confusion: readonly (readonly number[])[]
  /** The predicted class of each image, in the data set's order. */
  readonly predictions: Uint32Array
  /** [images, classes], if requested. */
  readonly probabilities?: Float32Array
}
