/** The batch of a step: gathered by the data set and, in training, changed at random. */

import type { Augmentation, Batch, BatchRows, Dataset } from '../data/contract.ts'
import type { Shape } from '../graph/node.ts'
import { globalStepWord } from '../kernels/training/state.ts'
import { slice } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import type { Model } from './model.ts'

/** What a change of a batch may depend on. */
export interface AugmentationCall {
  /** Random seed of the training. */
  readonly seed: number
  /** u32, whose first element counts the steps of all epochs. */
  readonly counter: Tensor
  /** The model's, without the batch. */
  readonly inputShape: Shape
  /** The model's, without the batch. */
  readonly outputShape: Shape
}

/** Random changes of a training batch on the device: made by `augment`. */
export interface BatchAugmentation {
  /** Text that is equal for equal changes: a resumed training must have the same. */
  readonly settings: string
  /** Whether targets become probabilities. */
  readonly mixesTargets?: boolean
  /** The shape that examples must have or be padded to, for a model with this input. */
  examples(inputShape: Shape): Shape
  /**
   * Traces the change. The same seed and counter must give the same numbers.
   * @throws WeftgradError 'argument' for a batch that it cannot change.
   */
  apply(batch: Batch, call: AugmentationCall): Batch
}

/** Flips and shifts while images are gathered, or changes of the gathered batch. */
export type TrainingAugmentation = Omit<Augmentation, 'seed'> | BatchAugmentation

/** The random parts of a step. */
export interface StepChances {
  /** Random seed of dropout masks and augmentation. */
  readonly seed: number
  readonly augmentation?: TrainingAugmentation | undefined
}

/** Whether the augmentation changes a gathered batch, not the gathering. */
export function isBatchAugmentation(augmentation: TrainingAugmentation | undefined): augmentation is BatchAugmentation {
  return augmentation !== undefined && 'apply' in augmentation
}

/** The shape in which the data set gives its examples to a training. */
export function examplesShape(
  { inputShape }: Pick<Model, 'inputShape'>,
  augmentation: TrainingAugmentation | undefined,
): Shape {
  return isBatchAugmentation(augmentation) ? augmentation.examples(inputShape) : inputShape
}

/**
 * The batch that the training state points to.
 * @throws WeftgradError 'shape' if the examples do not fit the model, 'argument' if they cannot be augmented.
 */
export function gatherInputs(
  model: Model,
  data: Dataset,
  rows: BatchRows,
  state: Tensor,
  { seed, augmentation }: StepChances = { seed: model.seed },
): Batch {
  const shape = examplesShape(model, augmentation)
  data.refuseMisfits(shape, model.name)
  if (!isBatchAugmentation(augmentation))
    return data.batch(rows, state, shape, augmentation && { ...augmentation, seed })
  const { inputShape, outputShape } = model
  const counter = slice(state, [globalStepWord], [1])
  return augmentation.apply(data.batch(rows, state, shape), { seed, counter, inputShape, outputShape })
}
