/** Data sets from arrays: examples of any shape, with class numbers or numbers as targets. */

import { WeftgradError } from '../errors.ts'
import { crc32 } from '../format/crc32.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device } from '../gpu/device.ts'
import { isDevice } from '../gpu/webgpu-device.ts'
import { type Shape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { type FlatNumbers, flatten, type NestedNumbers, nestedShape } from '../operators/tensor.ts'
import { aList, anArray, anything, checkOptions, countFrom1, type Kind, required } from '../options.ts'
import { ArrayDataset, type ArrayTargets, allocateArrays, bytesOf } from './array-dataset.ts'
import type { RowNumbers } from './blocks.ts'
import { classNumbers } from './contract.ts'

/** Examples and their targets on the host. */
export interface ArraysSpec {
  /**
   * The examples, one after the other: a typed array with `shape`, or nested arrays, whose nesting gives the shape. Kept as
   * float32, as they are: bytes are not divided by 255. Images of bytes are {@link residentImages}.
   */
  readonly x: FlatNumbers | readonly NestedNumbers[]
  /** The shape of one example, such as [height, width, channels]. Nested arrays need none. */
  readonly shape?: Shape | undefined
  /**
   * The targets. Class numbers, if they are in a typed array of whole numbers, or `classes` or `classNames` are given;
   * otherwise numbers, one or more for each example. The very array of `x` makes each example its own target, as an
   * autoencoder needs it, and is stored once.
   */
  readonly y: FlatNumbers | readonly NestedNumbers[]
  /** The shape of one example's numbers as a target: by default [] if there is one for each example, else [n]. */
  readonly targetShape?: Shape | undefined
  /** The weight of each example in the loss, not negative. */
  readonly sampleWeight?: ArrayLike<number> | undefined
  /** Number of classes: by default that of `classNames`, or one more than the largest class number. */
  readonly classes?: number | undefined
  /** The classes' names, in the order of their numbers. */
  readonly classNames?: readonly string[] | undefined
  /** The most bytes of a block of the numbers on the device: by default the adapter's largest binding. */
  readonly blockBytes?: number | undefined
  /** Where the numbers go: by default the device opened last. */
  readonly device?: Device | undefined
}

export const aDevice: Kind = ['a device', isDevice]

export const aShape: Kind = [
  'a shape: positive whole numbers',
  (value) => Array.isArray(value) && value.every(countFrom1[1]),
]

/**
 * Puts examples and targets on the device. The caller owns them: `dispose()` or `using`. From a tensor:
 * `{ x: await images.data(), shape: images.shape.slice(1), ... }`.
 * @throws WeftgradError 'shape' if the numbers are not whole examples, or examples and targets differ in count; 'data' for no
 * examples, numbers that are not finite, or invalid class numbers, names or weights; 'argument' for other values that are not
 * what they must be; 'limit' if there is no memory for them.
 */
export function arrays(spec: ArraysSpec): ArrayDataset {
  checkOptions<object>('arrays', spec, {
    ...{ x: required(aList), y: required(aList), shape: aShape, targetShape: aShape, sampleWeight: aList },
    ...{ classes: anything, classNames: anArray, blockBytes: countFrom1, device: aDevice },
  })
  const { sampleWeight, blockBytes, device = currentDevice() } = spec
  const x = examplesOf(spec)
  const count = x.numbers.length / elementCount(x.shape)
  const isOwnTarget = spec.y === spec.x
  const y: Targets = isOwnTarget ? { targets: { shape: x.shape } } : targetsOf(spec, count)
  if (sampleWeight !== undefined && sampleWeight.length !== count)
    throw new WeftgradError('shape', `There are ${sampleWeight.length} weights for ${count} examples.`)
  const weights = sampleWeight && floats(sampleWeight, 'sampleWeight', 1)
  const negative = weights?.findIndex((weight) => weight < 0) ?? -1
  if (negative >= 0) throw new WeftgradError('data', `Example ${negative} has a negative weight.`)
  const layout = {
    count,
    shape: x.shape,
    targets: y.targets,
    isWeighted: weights !== undefined,
    isOwnTarget,
    checksum: checksumOf('labels' in y.targets ? y.targets.labels : y.numbers, weights),
    blockBytes,
  }
  const resident = allocateArrays(device, layout)
  resident.examples.write(0, x.numbers)
  if (y.numbers !== undefined) resident.targetRows.write(0, y.numbers)
  if (weights !== undefined) resident.weights?.write(0, weights)
  return new ArrayDataset(resident)
}

function checksumOf(...parts: readonly (RowNumbers | undefined)[]): number {
  return parts.reduce((sum, part) => (part === undefined ? sum : crc32(bytesOf(part), sum)), 0)
}

/** Examples, flat, and their shape. */
function examplesOf({ x, shape }: ArraysSpec): { readonly numbers: Float32Array; readonly shape: Shape } {
  const flat = flattened(x)
  const own = shape ?? flat.shape
  if (own === undefined)
    throw new WeftgradError('shape', 'x is flat: give the shape of one example, such as shape: [28, 28, 1].')
  if (flat.numbers.length === 0) throw new WeftgradError('data', 'A data set needs at least one example.')
  const width = elementCount(own)
  if (flat.numbers.length % width !== 0)
    throw new WeftgradError('shape', `${flat.numbers.length} numbers are not whole examples of ${shapeText(own)}.`, {
      shape: own,
    })
  return { numbers: floats(flat.numbers, 'x', width), shape: own }
}

interface Targets {
  readonly targets: ArrayTargets
  /** Absent for class numbers, and for examples that are their own targets. */
  readonly numbers?: Float32Array
}

/** Targets of `count` examples: class numbers, or numbers with their shape. */
function targetsOf({ y, targetShape, classes, classNames }: ArraysSpec, count: number): Targets {
  const flat = flattened(y)
  const width = flat.numbers.length / count
  const isWhole = ArrayBuffer.isView(y) && !(y instanceof Float32Array || y instanceof Float64Array)
  if (isWhole || classes !== undefined || classNames !== undefined) {
    if (width !== 1 || targetShape !== undefined)
      throw new WeftgradError('shape', `Each of ${count} examples has one class number; y has ${flat.numbers.length}.`)
    const all = classes ?? classNames?.length ?? Array.from(flat.numbers).reduce((a, b) => Math.max(a, b), 0) + 1
    return { targets: { labels: classNumbers(flat.numbers, all, 'Example'), classes: all, classNames } }
  }
  const shape = targetShape ?? flat.shape ?? (width === 1 ? [] : [width])
  if (elementCount(shape) !== width || !countFrom1[1](width))
    throw new WeftgradError(
      'shape',
      targetShape === undefined
        ? `y has ${flat.numbers.length} numbers for ${count} examples.`
        : `y has ${flat.numbers.length} numbers; ${count} examples with targets of ${shapeText(shape)} need ${count * elementCount(shape)}.`,
      { shape },
    )
  return { targets: { shape }, numbers: floats(flat.numbers, 'y', width) }
}

/** Numbers one after the other; for nested arrays, also the shape of one entry. */
function flattened(values: ArraysSpec['x']): { readonly numbers: ArrayLike<number>; readonly shape?: Shape } {
  if (ArrayBuffer.isView(values)) return { numbers: values as FlatNumbers }
  if (values.length === 0) return { numbers: [] }
  if (values.every((value) => typeof value === 'number')) return { numbers: values, shape: [] }
  return { numbers: flatten(values), shape: nestedShape(values).slice(1) }
}

/** The numbers as float32. Throws 'data' for one that is not finite; `what` names them, `width` of them make an example. */
export function floats(numbers: ArrayLike<number>, what: string, width: number): Float32Array<ArrayBuffer> {
  const result = Float32Array.from(numbers)
  const bad = result.findIndex((number) => !Number.isFinite(number))
  if (bad < 0) return result
  throw new WeftgradError(
    'data',
    `${what} of example ${Math.floor(bad / width)} holds ${numbers[bad]}, which is no finite float32. Replace or drop it.`,
    { what, example: Math.floor(bad / width) },
  )
}
