/**
 * What training says and takes: the types that `fit`, its callers, checkpoints and run folders share.
 */

import type { Augmentation, Dataset } from '../data/contract.ts'
import type { Device } from '../gpu/device.ts'
import type { Choice, VariantTable } from '../graph/plan/choice.ts'
import type { WeightNumbers } from './model-weights.ts'
import type { Optimizer } from './optimizers.ts'

/** What an epoch came to. Losses are means over the images; accuracies are in [0, 1]. */
export interface EpochLogs {
  /** From 1. */
  readonly epoch: number
  /** Of the training images, while the weights were changing. */
  readonly loss: number
  /** Of the training images, while the weights were changing. */
  readonly accuracy: number
  /** After the epoch; absent without validation images. */
  readonly validationLoss?: number
  /** After the epoch; absent without validation images. */
  readonly validationAccuracy?: number
  /** The first step's rate. */
  readonly learningRate: number
  /** Wall clock, validation included. */
  readonly seconds: number
}

/** Where a training stands, told a few times a second. */
export interface Progress {
  /** From 1. */
  readonly epoch: number
  /** How many there are to be. */
  readonly epochs: number
  /** Steps of this epoch done. */
  readonly step: number
  /** Steps this epoch has. */
  readonly steps: number
  /** Over this epoch so far. */
  readonly imagesPerSecond: number
  /** To the end of the last epoch. */
  readonly etaSeconds: number
  /** Mean over this epoch's steps so far, read from the device about once a second. */
  readonly loss?: number
  /** Mean over this epoch's steps so far, in [0, 1]. */
  readonly accuracy?: number
}

/** What a training is going to be: told once, before the first step. */
export interface TrainingFacts {
  /** Where it runs. */
  readonly device: Device
  /** Of the model, those that are not trained included. */
  readonly parameters: number
  /** Examples that are trained on. */
  readonly trainCount: number
  /** Examples that are validated on; 0 without validation. */
  readonly validationCount: number
  /** The last, smaller one included. */
  readonly stepsPerEpoch: number
  /** Kernels that a step runs. */
  readonly dispatchesPerStep: number
  /** Which kernel variants the step uses. */
  readonly choices: readonly Choice[]
  /** Makes `fit` use the same kernels again: those of all batch sizes and of the validation. */
  readonly variants: VariantTable
}

/** What `fit` tells on its way. An error thrown in one ends the training with it. */
export interface Callbacks {
  /** Before the first step. */
  onBegin?(facts: TrainingFacts): void
  /** After the first step has run on the device: seconds from the call of `fit`. */
  onFirstStep?(seconds: number): void
  /** About five times a second. */
  onProgress?(progress: Progress): void
  /** Awaited before the next epoch. */
  onEpochEnd?(logs: EpochLogs): void | Promise<void>
  /** After each epoch, and where training stops early. Awaited before training goes on. */
  onCheckpoint?(checkpoint: TrainingCheckpoint): void | Promise<void>
}

/** How to train. */
export interface FitOptions {
  /** `adam()`, `adamw()`, `sgd()`, with a rate or a schedule. */
  readonly optimizer: Optimizer
  /** How many times every training example is seen. */
  readonly epochs: number
  /** Examples a step; an epoch's last step takes what is left. */
  readonly batchSize: number
  /** Examples of their own to validate on; instead of `validationSplit`. */
  readonly validation?: Dataset
  /** A share of the training examples in (0, 1), drawn by `seed`, that is validated on and not trained on. */
  readonly validationSplit?: number
  /** Changes training images by chance; validation images stay as they are. The numbers are drawn by `seed`. */
  readonly augmentation?: Omit<Augmentation, 'seed'>
  /** Orders the images of each epoch, draws the validation share, the masks of dropout and the augmentation. 1 by default. */
  readonly seed?: number
  /** Stops once `patience` epochs in a row were no better than the best one. Needs validation images. */
  readonly earlyStopping?: {
    /** A whole number from 1. */
    readonly patience: number
  }
  /**
   * Gives the model the weights of the epoch with the best validation accuracy at the end. False by default, true with
   * `earlyStopping`.
   */
  readonly restoreBest?: boolean
  /** Goes on from here instead of from the model's weights. Settings must be those of the run that wrote it. */
  readonly resume?: TrainingCheckpoint
  /** Stops after the current submission: the checkpoint is handed out, then `fit` throws 'aborted'. */
  readonly signal?: AbortSignal
  /** Who is told of it. */
  readonly callbacks?: Callbacks
  /** Kernel variants to use instead of the preferred ones: what `tuneTraining` found, or `TrainingFacts.variants`. */
  readonly variants?: VariantTable
}

/** What a training came to. */
export interface History {
  /** Each epoch's figures, in order, those before a resumption included. */
  readonly epochs: readonly EpochLogs[]
  /** The epoch (from 1) with the best validation accuracy, the lower loss at a tie; the last without validation. */
  readonly bestEpoch: number
  /** From the call to the end of the first step: planning and compiling. */
  readonly firstStepSeconds: number
  /** Median over the epochs trained in this call: the epoch's training time divided by its steps. */
  readonly millisecondsPerStep: number
  /** Kernels that a step runs. */
  readonly dispatchesPerStep: number
  /** Which kernel variants the step used. */
  readonly choices: readonly Choice[]
}

/** Everything that a run needs to go on bit for bit: host numbers only. */
export interface TrainingCheckpoint {
  /** Whole epochs done. */
  readonly epoch: number
  /** Steps of the next epoch done; 0 at an epoch's end. */
  readonly step: number
  /** Steps done in all. */
  readonly globalStep: number
  /** The model's weights, those that are not trained included. */
  readonly weights: WeightNumbers
  /** The optimizer's moments, flat, in the optimizer's order. */
  readonly moments: readonly Float32Array[]
  /** (loss, correct, batch, 0) of each step of the unfinished epoch. */
  readonly record: Float32Array
  /** The whole epochs so far. */
  readonly history: readonly EpochLogs[]
  /** The best epoch by validation, where its weights may have to be restored. */
  readonly best?: {
    /** From 1. */
    readonly epoch: number
    /** The model's weights at its end. */
    readonly weights: WeightNumbers
  }
  /** Settings that a resumed run must share. */
  readonly settings: TrainingSettings
}

/** What a training and its resumption must have in common. */
export interface TrainingSettings {
  /** Of the order of the examples, dropout and augmentation. */
  readonly seed: number
  /** Examples a step. */
  readonly batchSize: number
  /** Of the whole training. */
  readonly epochs: number
  /** Examples that are trained on. */
  readonly trainCount: number
  /** Examples that are validated on. */
  readonly validationCount: number
  /** The optimizer's name, which says its hyperparameters. */
  readonly optimizer: string
  /** The model's name, layers and shapes. */
  readonly model: string
  /** Absent where the images are trained on as they are. */
  readonly augmentation?: string
}

/** How a model does on a data set. */
export interface Evaluation {
  /** Mean cross-entropy over the images. */
  readonly loss: number
  /** Share of images whose likeliest class is the right one, in [0, 1]. */
  readonly accuracy: number
  /**
   * Rows are the true classes, columns the predicted ones. Empty beyond 5,792 classes, whose counts are more than every
   * adapter lets a kernel see; count `predictions` then.
   */
  readonly confusion: readonly (readonly number[])[]
  /** The predicted class of each image, in the data set's order. */
  readonly predictions: Uint32Array
  /** [images, classes], where they were asked for. */
  readonly probabilities?: Float32Array
}
