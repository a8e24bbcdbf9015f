/** The batch of a step: gathered by the data set and, in training, changed at random. */

import type { Batch, BatchRows, Dataset } from '../data/contract.ts'
import type { Shape } from '../graph/node.ts'
import { globalStepWord } from '../kernels/training/state.ts'
import { slice } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import type { BatchAugmentation, FitOptions } from './contract.ts'
import type { Model } from './model.ts'

/** The random parts of a step. */
export interface StepChances {
  /** Random seed of dropout masks and augmentation. */
  readonly seed: number
  readonly augmentation?: FitOptions['augmentation'] | undefined
}

/** Whether the augmentation changes a gathered batch, not the gathering. */
export function isBatchAugmentation(augmentation: FitOptions['augmentation']): augmentation is BatchAugmentation {
  return augmentation !== undefined && 'apply' in augmentation
}

/** The shape in which the data set gives its examples to a training. */
export function examplesShape(
  { inputShape }: Pick<Model, 'inputShape'>,
  augmentation: FitOptions['augmentation'],
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
