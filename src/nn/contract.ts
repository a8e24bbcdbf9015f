/**
 * What training says and takes: the types that `fit`, its callers, checkpoints and run folders share.
 */

import type { Augmentation, Dataset } from '../data/contract.ts'
import type { Device } from '../gpu/device.ts'
import type { Choice, VariantTable } from '../graph/choice.ts'
import type { WeightNumbers } from './model.ts'
import type { Optimizer } from './optimizers.ts'

/** What an epoch came to. Losses are means over the images; accuracies are in [0, 1]. */
export interface EpochLogs {
  /** From 1. */
  readonly epoch: number
  readonly loss: number
  readonly accuracy: number
  readonly validationLoss?: number
  readonly validationAccuracy?: number
  /** The first step's rate. */
  readonly learningRate: number
  /** Wall clock, validation included. */
  readonly seconds: number
}

export interface Progress {
  /** From 1. */
  readonly epoch: number
  readonly epochs: number
  /** Steps of this epoch done, and how many it has. */
  readonly step: number
  readonly steps: number
  readonly imagesPerSecond: number
  /** To the end of the last epoch. */
  readonly etaSeconds: number
  /** Means over this epoch's steps so far, read from the device about once a second. */
  readonly loss?: number
  readonly accuracy?: number
}

/** Told once, before the first step. */
export interface TrainingFacts {
  readonly device: Device
  readonly parameters: number
  readonly trainCount: number
  readonly validationCount: number
  readonly stepsPerEpoch: number
  readonly dispatchesPerStep: number
  /** Which kernel variants the step uses. */
  readonly choices: readonly Choice[]
  /** Makes `fit` use the same kernels again: those of all batch sizes and of the validation. */
  readonly variants: VariantTable
}

export interface Callbacks {
  onBegin?(facts: TrainingFacts): void
  /** After the first step has run on the device: seconds from the call of `fit`. */
  onFirstStep?(seconds: number): void
  onProgress?(progress: Progress): void
  /** Awaited before the next epoch. */
  onEpochEnd?(logs: EpochLogs): void | Promise<void>
  /** After each epoch, and where training stops early. Awaited before training goes on. */
  onCheckpoint?(checkpoint: TrainingCheckpoint): void | Promise<void>
}

export interface FitOptions {
  readonly optimizer: Optimizer
  readonly epochs: number
  readonly batchSize: number
  /** A set of its own, or a share of the training images in (0, 1), drawn by `seed`. */
  readonly validation?: Dataset
  readonly validationSplit?: number
  /** Changes training images by chance; validation images stay as they are. The numbers are drawn by `seed`. */
  readonly augmentation?: Omit<Augmentation, 'seed'>
  /** Orders the images of each epoch, draws the validation share, the masks of dropout and the augmentation. 1 by default. */
  readonly seed?: number
  /** Stops once `patience` epochs in a row were no better than the best one. Needs validation images. */
  readonly earlyStopping?: { readonly patience: number }
  /**
   * Gives the model the weights of the epoch with the best validation accuracy at the end. False by default, true with
   * `earlyStopping`.
   */
  readonly restoreBest?: boolean
  /** Goes on from here instead of from the model's weights. Settings must be those of the run that wrote it. */
  readonly resume?: TrainingCheckpoint
  /** Stops after the current submission: the checkpoint is handed out, then `fit` throws 'aborted'. */
  readonly signal?: AbortSignal
  readonly callbacks?: Callbacks
  /** Kernel variants to use instead of the preferred ones: what `tuneTraining` found, or `TrainingFacts.variants`. */
  readonly variants?: VariantTable
}

export interface History {
  readonly epochs: readonly EpochLogs[]
  /** The epoch (from 1) with the best validation accuracy, the lower loss at a tie; the last without validation. */
  readonly bestEpoch: number
  readonly firstStepSeconds: number
  /** Median over the epochs trained in this call: the epoch's training time divided by its steps. */
  readonly millisecondsPerStep: number
  readonly dispatchesPerStep: number
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
  readonly weights: WeightNumbers
  /** The optimizer's moments, flat, in the optimizer's order. */
  readonly moments: readonly Float32Array[]
  /** (loss, correct, batch, 0) of each step of the unfinished epoch. */
  readonly record: Float32Array
  readonly history: readonly EpochLogs[]
  readonly best?: { readonly epoch: number; readonly weights: WeightNumbers }
  /** Settings that a resumed run must share. */
  readonly settings: TrainingSettings
}

export interface TrainingSettings {
  readonly seed: number
  readonly batchSize: number
  readonly epochs: number
  readonly trainCount: number
  readonly validationCount: number
  readonly optimizer: string
  readonly model: string
  /** Absent where the images are trained on as they are. */
  readonly augmentation?: string
}

export interface Evaluation {
  /** Mean over the images. */
  readonly loss: number
  readonly accuracy: number
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
  /** The predicted class of each image, in the data set's order. */
  readonly predictions: Uint8Array
  /** [images, classes], where they were asked for. */
  readonly probabilities?: Float32Array
}
