/**
 * What training and evaluation ask of a data set: which examples it holds, and how a step gets its batch of them on the
 * device. Image data sets (dataset.ts) and feature data sets (feature-dataset.ts) both keep it.
 */

import type { Tensor } from '../autograd/tensor.ts'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { Augmentation, Shape } from '../graph/node.ts'
import { checkValue, countFrom0, countFrom1, type Kind, objectWith, oneOf } from '../options.ts'

export type { Augmentation } from '../graph/node.ts'

/** Which examples a step takes: row i of step s is example `tensor[s * batch + i]`, one of a data set's `indices`. */
export interface BatchRows {
  /** Examples a step. */
  readonly batch: number
  /** u32 [steps * batch], on the device. */
  readonly tensor: Tensor
}

/** The traced inputs of a step. */
export interface Batch {
  /** f32 [batch, ...inputShape]. */
  readonly x: Tensor
  /** Class numbers, u32 [batch]. */
  readonly labels: Tensor
}

/**
 * Examples with a class each, on a device, of which a training step gathers a batch. {@link ImageDataset} and
 * {@link FeatureDataset} are the two there are; `fit` takes any object of this type.
 */
export interface Dataset {
  /** Where the examples are. */
  readonly device: Device
  /** How many examples. */
  readonly count: number
  /** How many classes: labels are whole numbers below. */
  readonly classes: number
  /** Which of the resident examples belong to this set, in order. */
  readonly indices: Uint32Array
  /** The class numbers of this set's examples, in order. */
  labelsOf(): Uint32Array
  /**
   * The examples at these positions; no numbers are copied.
   * @throws WeftgradError 'argument' for a position out of range, or for none.
   */
  subset(positions: ArrayLike<number>): Dataset
  /**
   * Does nothing where the examples can become inputs of this shape.
   * @throws WeftgradError 'shape', in a sentence about `model`, where they cannot.
   */
  refuseMisfits(inputShape: Shape, model: string): void
  /**
   * Traces the batch of the step that the training state's first word counts. Rows that name no example give NaN and a
   * label that is no class. The examples must fit the shape.
   * @throws WeftgradError 'argument' for an augmentation that it cannot do.
   */
  batch(rows: BatchRows, state: Tensor, inputShape: Shape, augmentation?: Augmentation): Batch
}

/** An augmentation as training is told it; an image's gather adds the seed. */
export const augmentationKinds = { flip: /* @__PURE__ */ oneOf('random', 'always'), shift: countFrom0 }

/** What a data set of somebody else's has. */
export const aDataset: Kind = ['a data set', (value) => objectWith(value, 'batch')]

/** Class numbers are whole numbers below this: a float32 tells all of them apart. */
const mostClasses = 2 ** 24

/**
 * A copy of the class numbers, one for each example. Throws 'argument' for a number of classes that is none, 'data' for a
 * label that is no class; `noun` names an example.
 */
export function classNumbers(labels: ArrayLike<number>, classes: number, noun: string): Uint32Array<ArrayBuffer> {
  checkValue('classes', classes, [
    'a whole number from 1 to 2^24',
    () => countFrom1[1](classes) && classes <= mostClasses,
  ])
  return Uint32Array.from(labels, (label, i) => {
    if (Number.isInteger(label) && label >= 0 && label < classes) return label
    throw new WeftgradError('data', `${noun} ${i} has the label ${label}, and there are ${classes} classes.`, { label })
  })
}

/** The class numbers of these resident examples. Throws RangeError for an example that there is not. */
export function labelsAt(labels: Uint32Array, indices: Uint32Array): Uint32Array {
  return Uint32Array.from(indices, (index) => {
    const label = labels[index]
    if (label === undefined) throw new RangeError(`there is no example ${index} among ${labels.length}`)
    return label
  })
}

/** The resident examples at these positions of a set. Throws as `Dataset.subset`; `noun` names an example. */
export function indicesAt(indices: Uint32Array, positions: ArrayLike<number>, noun: string): Uint32Array {
  if (positions.length === 0) throw new WeftgradError('argument', `A subset must hold at least one ${noun}.`)
  return Uint32Array.from(positions, (position) => {
    const index = indices[position]
    if (index === undefined)
      throw new WeftgradError('argument', `There is no ${noun} ${position} in a set of ${indices.length}.`, {
        position,
      })
    return index
  })
}
