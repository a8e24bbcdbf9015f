/**
 * The contract of a data set: which examples it holds, and how a step gathers its batch on the device. Images of bytes
 * (dataset.ts), arrays of numbers (array-dataset.ts) and generators (generator.ts) implement it.
 */

import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import type { Augmentation } from '../operators/gather-batch.ts'
import type { Tensor } from '../operators/tensor.ts'
import { checkValue, countFrom0, countFrom1, type Kind, objectWith, oneOf } from '../options.ts'

export type { Augmentation } from '../operators/gather-batch.ts'

/** The examples of each step: row i of step s is example `tensor[s * batch + i]`, one of a data set's `indices`. */
export interface BatchRows {
  /** Examples per step. */
  readonly batch: number
  /** u32 [steps * batch], on the device. */
  readonly tensor: Tensor
}

/** The traced inputs of a step. */
export interface Batch {
  /** f32 [batch, ...inputShape]. */
  readonly x: Tensor
  /** What the loss compares the output with: class numbers, u32 [batch], or numbers of any kind, [batch, ...]. */
  readonly target: Tensor
  /** The weight of each example in the loss, f32 [batch]; absent if all weigh 1. */
  readonly sampleWeight?: Tensor
}

/**
 * Examples that are made while training, for data sets that do not fit into the device's memory. `fit` loads the
 * examples of a few steps, submits these steps, and goes on; batches come in the source's order.
 */
export interface ExampleSource {
  /** The most steps whose examples are on the device at once. */
  readonly stepsAtOnce: number
  /**
   * Puts the examples of consecutive steps of an epoch on the device.
   * @throws WeftgradError what making them throws; 'data' if an epoch has fewer examples than it promised.
   */
  load(steps: {
    /** The epoch, from 0. */
    readonly epoch: number
    /** The first step, from 0 in each epoch. */
    readonly first: number
    /** Number of steps. */
    readonly count: number
    /** Examples per step. */
    readonly batch: number
  }): Promise<void>
}

/**
 * Examples and their targets on a device, from which a training step gathers batches. {@link ImageDataset}, {@link
 * ArrayDataset} and {@link GeneratorDataset} implement it; `fit` accepts any object of this type.
 */
export interface Dataset {
  /** The device of the examples. */
  readonly device: Device
  /** Number of examples. */
  readonly count: number
  /** The shape of an example, before any padding. */
  readonly shape: Shape
  /** Number of classes, if targets are class numbers: whole numbers below it. */
  readonly classes: number | undefined
  /** The classes' names, in the order of their numbers, if they are known. */
  readonly classNames?: readonly string[] | undefined
  /**
   * Text that is equal for equal weights and targets of the examples, if the data set has one: a resumed training must have the
   * same.
   */
  readonly settings?: string | undefined
  /** Present if the examples are made while training. */
  readonly source?: ExampleSource | undefined
  /** Indices of this set's examples among all resident ones, in order. */
  readonly indices: Uint32Array
  /** The class numbers of this set's examples, in order. @throws WeftgradError 'argument' if targets are no class numbers. */
  labelsOf(): Uint32Array
  /**
   * The examples at these positions, without copying.
   * @throws WeftgradError 'argument' for a position out of range, or no positions.
   */
  subset(positions: ArrayLike<number>): Dataset
  /**
   * Does nothing if the examples can become inputs of this shape.
   * @throws WeftgradError 'shape', with a message about `model`, if they cannot.
   */
  refuseMisfits(inputShape: Shape, model: string): void
  /**
   * Traces the batch of the step in the training state's first word. Rows without a valid example index give NaN and an
   * invalid class number. The examples must fit the shape.
   * @throws WeftgradError 'argument' for an unsupported augmentation.
   */
  batch(rows: BatchRows, state: Tensor, inputShape: Shape, augmentation?: Augmentation): Batch
}

/** Kinds of the augmentation options of training; gathering images adds the seed. */
export const augmentationKinds = { flip: /* @__PURE__ */ oneOf('random', 'always'), shift: countFrom0 }

/** Any data set, also a user's own. */
export const aDataset: Kind = ['a data set', (value) => objectWith(value, 'batch')]

/** Class numbers are whole numbers below this: float32 represents all of them exactly. */
const mostClasses = 2 ** 24

/**
 * A copy of the class numbers, one for each example. Throws 'argument' for an invalid number of classes, 'data' for an
 * invalid label; `noun` names an example.
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

/** Throws 'data' unless there are as many names as things, all texts; no names at all are fine. `what` names the option. */
export function checkNames(what: string, names: readonly string[] | undefined, count: number): void {
  if (names === undefined || (names.length === count && names.every((name) => typeof name === 'string'))) return
  throw new WeftgradError('data', `${what} must be ${count} strings, one each, not ${names.length} values.`, { names })
}

/** The indices of all examples, in order. */
export function everyIndex(count: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: count }, (_, i) => i)
}

/** The class numbers of these resident examples. Throws RangeError for an unknown example. */
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
