/**
 * Data sets of float32 numbers on the device: examples of any shape, each with a class number or with numbers as its target, and
 * perhaps a weight. Features of a frozen network (feature-dataset.ts) are the case of flat rows. Subsets share the numbers.
 */

import { evaluate } from '../autograd/tensors.ts'
import { WeftgradError } from '../errors.ts'
import { crc32, crcText } from '../format/crc32.ts'
import type { Device } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { add, gather, mean, mul, reshape, slice, square, sub } from '../operators/index.ts'
import { type Tensor, tensor } from '../operators/tensor.ts'
import { type RowNumbers, Rows, type RowsSpec, rowsAt } from './blocks.ts'
import type { Augmentation, Batch, BatchRows, Dataset } from './contract.ts'
import { checkNames, everyIndex, indicesAt, labelsAt } from './contract.ts'

/** Class numbers of the examples, checked, or the shape of the numbers that are their targets. */
export type ArrayTargets =
  | { readonly labels: Uint32Array; readonly classes: number; readonly classNames?: readonly string[] | undefined }
  | { readonly shape: Shape }

/** The layout of an array data set. */
export interface ArrayLayout {
  readonly count: number
  /** The shape of an example. */
  readonly shape: Shape
  readonly targets: ArrayTargets
  /** Whether examples have weights. */
  readonly isWeighted?: boolean
  /** Whether each example is its own target. */
  readonly isOwnTarget?: boolean
  /** CRC-32 of targets and weights, if it is known. */
  readonly checksum?: number
  readonly blockBytes?: number | undefined
}

/** The memory that a data set and its subsets share. */
export interface ArrayResident extends ArrayLayout {
  readonly device: Device
  /** Flat examples. */
  readonly examples: Rows
  /** Flat targets. */
  readonly targetRows: Rows
  readonly weights: Rows | undefined
}

/** The memory of a data set, all zeros but for class numbers. Throws WeftgradError 'limit', 'data' for names that do not fit. */
export function allocateArrays(device: Device, layout: ArrayLayout): ArrayResident {
  const { count, shape, targets, isWeighted = false, isOwnTarget = false, blockBytes } = layout
  if ('labels' in targets) checkNames('classNames', targets.classNames, targets.classes)
  const made: Rows[] = []
  const rows = (label: string, width: number, dtype: RowsSpec['dtype']): Rows => {
    const one = new Rows(device, { count, shape: [width], dtype, label, blockBytes })
    made.push(one)
    return one
  }
  try {
    const examples = rows('data set examples', elementCount(shape), 'f32')
    const isLabelled = 'labels' in targets
    const width = isLabelled ? 1 : elementCount(targets.shape)
    const targetRows = isOwnTarget ? examples : rows('data set targets', width, isLabelled ? 'u32' : 'f32')
    if (isLabelled) targetRows.write(0, targets.labels)
    const weights = isWeighted ? rows('data set weights', 1, 'f32') : undefined
    return { ...layout, device, examples, targetRows, weights }
  } catch (error) {
    for (const one of made) one.dispose()
    throw error
  }
}

export const bytesOf = ({ buffer, byteOffset, byteLength }: RowNumbers): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** Examples of float32 numbers with their targets, on the device. `data.arrays` and `data.csv` make them. */
export class ArrayDataset implements Dataset {
  readonly #resident: ArrayResident
  readonly #ownsNumbers: boolean
  /** Indices of this set's examples among all resident ones, in order. */
  readonly indices: Uint32Array

  /**
   * Use `data.arrays`.
   * @internal
   */
  constructor(resident: ArrayResident, indices: Uint32Array = everyIndex(resident.count), ownsNumbers = true) {
    this.#resident = resident
    this.#ownsNumbers = ownsNumbers
    this.indices = indices
  }

  /** The device of the examples. */
  get device(): Device {
    return this.#resident.device
  }
  /** Number of examples. */
  get count(): number {
    return this.indices.length
  }
  /** Number of classes, if targets are class numbers. */
  get classes(): number | undefined {
    const { targets } = this.#resident
    return 'labels' in targets ? targets.classes : undefined
  }
  /** The classes' names, in the order of their numbers, if they are known. */
  get classNames(): readonly string[] | undefined {
    const { targets } = this.#resident
    return 'labels' in targets ? targets.classNames : undefined
  }
  /** The shape of an example. */
  get shape(): Shape {
    return this.#resident.shape
  }
  /** A checksum of the targets, the weights, and which examples the set holds; not of features. */
  get settings(): string | undefined {
    const { checksum } = this.#resident
    return checksum === undefined ? undefined : crcText(crc32(bytesOf(this.indices), checksum))
  }
  /** Numbers in an example. */
  get width(): number {
    return this.#resident.examples.width
  }
  /** Number of blocks of the examples' numbers: more than one if all exceed a binding of the adapter. */
  get blockCount(): number {
    return this.#resident.examples.blocks.length
  }

  /**
   * The class numbers of this set's examples, in order.
   * @throws WeftgradError 'argument' if targets are no class numbers.
   */
  labelsOf(): Uint32Array {
    const { targets } = this.#resident
    if (!('labels' in targets))
      throw new WeftgradError('argument', 'The targets of this data set are numbers, not classes.')
    return labelsAt(targets.labels, this.indices)
  }

  /**
   * Overwrites resident examples, from `first` on, with consecutive ones: flat, one after the other.
   * @throws WeftgradError 'argument' for a part of an example, or examples beyond the end.
   */
  write(first: number, rows: Float32Array): void {
    const { examples, count } = this.#resident
    const { width } = examples
    const added = rows.length / width
    if (!Number.isInteger(added) || !Number.isInteger(first) || first < 0 || first + added > count)
      throw new WeftgradError(
        'argument',
        `${rows.length} numbers are not whole rows of ${width} that fit from row ${first} into a set of ${count}.`,
      )
    examples.write(first, rows)
  }

  /**
   * The examples at these positions, without copying.
   * @throws WeftgradError 'argument' for a position out of range, or no positions.
   */
  subset(positions: ArrayLike<number>): ArrayDataset {
    return new ArrayDataset(this.#resident, indicesAt(this.indices, positions, 'row'), false)
  }

  refuseMisfits(inputShape: Shape, model: string): void {
    if (sameShape(inputShape, this.shape)) return
    throw new WeftgradError(
      'shape',
      `${model} takes ${shapeText(inputShape)}, and the data set has examples of ${shapeText(this.shape)}.`,
    )
  }

  batch({ batch, tensor: order }: BatchRows, state: Tensor, _?: Shape, augmentation?: Augmentation): Batch {
    if (augmentation !== undefined)
      throw new WeftgradError('argument', 'Only images of bytes can be flipped or shifted, not numbers.')
    const { shape, targets, examples, targetRows, weights } = this.#resident
    const step = slice(state, [0], [1])
    const rows = reshape(gather(reshape(order, [-1, batch]), step), [batch])
    return {
      x: rowsAt(examples, rows, shape),
      target: rowsAt(targetRows, rows, 'labels' in targets ? [] : targets.shape),
      ...(weights && { sampleWeight: rowsAt(weights, rows, []) }),
    }
  }

  /** Computes the mean and variance of each number of an example over this set on the device. */
  async statistics(): Promise<{
    /** One number per feature. */
    readonly mean: Float32Array
    /** The biased variance, one number per feature. */
    readonly variance: Float32Array
  }> {
    const result = { mean: new Float32Array(this.width), variance: new Float32Array(this.width) }
    for (const { from, tensor: block } of this.#resident.examples.blocks) {
      const [means = [], variances = []] = await evaluate(blockStatistics(block, this.indices))
      result.mean.set(means, from)
      result.variance.set(variances, from)
    }
    return result
  }

  /** Frees the numbers on the device. Subsets own no memory and become unusable together with their whole set. */
  dispose(): void {
    if (!this.#ownsNumbers) return
    const { examples, targetRows, weights } = this.#resident
    for (const rows of [examples, targetRows, weights]) rows?.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Rows per group of statistics: enough to keep a device busy, and 16 MiB for a block of 1,024 columns. */
const rowsAtOnce = 4096

/**
 * Mean and variance of each column over some rows: computed for groups of rows and then combined (Chan, Golub, LeVeque 1979),
 * so that long sums lose little precision and only one group is copied at a time.
 */
function blockStatistics(block: Tensor, rows: Uint32Array): readonly [Tensor, Tensor] {
  const groups = Array.from({ length: Math.ceil(rows.length / rowsAtOnce) }, (_, i) => {
    const part = rows.subarray(i * rowsAtOnce, (i + 1) * rowsAtOnce)
    const values = gather(block, tensor(part, [part.length], 'u32'))
    const center = mean(values, { axes: 0 })
    const variance = mean(square(sub(values, center)), { axes: 0 })
    return { share: part.length / rows.length, center, variance }
  })
  const weighted = (of: (group: (typeof groups)[number]) => Tensor): Tensor =>
    groups.map((group) => mul(of(group), group.share)).reduce(add)
  const center = weighted((group) => group.center)
  return [center, weighted((group) => add(group.variance, square(sub(group.center, center))))]
}
