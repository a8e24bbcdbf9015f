/**
 * Feature data sets: labelled rows of float32 numbers on the device. If a kernel cannot bind all of them at once (60,000 rows
 * of 3,584 numbers are 860 MB, lavapipe binds 128 MiB), they are split into blocks of columns; a step gathers its rows from
 * every block and concatenates them. Subsets share the numbers.
 */

import { evaluate } from '../autograd/tensors.ts'
import { WeftgradError } from '../errors.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { add, concatenate, gather, mean, mul, reshape, slice, square, sub } from '../operators/index.ts'
import { DeviceStorage, leaf, Tensor, tensor } from '../operators/tensor.ts'
import { aList, aNumber, checkOptions, required } from '../options.ts'
import type { Augmentation, Batch, BatchRows, Dataset } from './contract.ts'
import { classNumbers, indicesAt, labelsAt } from './contract.ts'

/** The layout and labels of a feature data set. */
export interface FeatureSpec {
  /** Numbers in a row. */
  readonly width: number
  /** A class number for each row: any array of whole numbers. */
  readonly labels: ArrayLike<number>
  /** Number of classes, at most 2^24. Labels are whole numbers below it. */
  readonly classes: number
  /** The most bytes of a block of columns: by default the adapter's largest binding. */
  readonly blockBytes?: number
}

/** Some columns of all rows. */
interface ColumnBlock {
  readonly from: number
  readonly columns: number
  readonly buffer: DeviceBuffer
  /** f32 [rows, columns]. */
  readonly tensor: Tensor
}

/** The memory that a data set and its subsets share. */
interface Resident extends FeatureSpec {
  readonly device: Device
  readonly labels: Uint32Array
  readonly blocks: readonly ColumnBlock[]
  /** u32 [rows]. */
  readonly labelTensor: Tensor
  readonly buffers: readonly DeviceBuffer[]
}

/** Labelled rows of float32 numbers on the device: features to train a head of a frozen network on. */
export class FeatureDataset implements Dataset {
  readonly #resident: Resident
  readonly #ownsNumbers: boolean
  /** Indices of this set's rows among all resident ones, in order. */
  readonly indices: Uint32Array

  private constructor(resident: Resident, indices: Uint32Array, ownsNumbers: boolean) {
    this.#resident = resident
    this.#ownsNumbers = ownsNumbers
    this.indices = indices
  }

  /**
   * A data set of zeros, to be filled by `write`. The caller owns it: `dispose()` or `using`.
   * @throws WeftgradError 'data' for a width below 1, no labels, or an invalid one; 'limit' if even one column exceeds the
   * adapter's largest binding.
   */
  static allocate(device: Device, spec: FeatureSpec): FeatureDataset {
    checkOptions('FeatureDataset', spec, {
      ...{ width: required(aNumber), labels: required(aList), classes: required(aNumber), blockBytes: aNumber },
    })
    const { width, classes, blockBytes = device.limits.maxStorageBufferBindingSize } = spec
    const labels = classNumbers(spec.labels, classes, 'Row')
    const count = labels.length
    if (!Number.isInteger(width) || width < 1 || count === 0)
      throw new WeftgradError(
        'data',
        `${count} rows of ${width} features are not a data set: it needs at least one row and one feature.`,
      )
    const most = Math.floor(blockBytes / (count * 4))
    if (most < 1)
      throw new WeftgradError(
        'limit',
        `${count} rows of a single feature exceed this adapter's largest binding. Use fewer examples.`,
        { count },
      )
    const owned: DeviceBuffer[] = []
    try {
      const allocate = (bytes: number, label: string): DeviceBuffer => {
        const buffer = device.allocate(bytes, label)
        owned.push(buffer)
        return buffer
      }
      const blocks = columnsOf(width, most).map(({ from, columns }): ColumnBlock => {
        const buffer = allocate(count * columns * 4, `features ${from} to ${from + columns - 1}`)
        return { from, columns, buffer, tensor: onDevice(buffer, [count, columns], 'f32') }
      })
      const labelBuffer = allocate(count * 4, 'data set labels')
      device.write(labelBuffer.slice(), labels)
      const labelTensor = onDevice(labelBuffer, [count], 'u32')
      const resident = { device, width, labels, classes, blocks, labelTensor, buffers: owned }
      const indices = Uint32Array.from({ length: count }, (_, i) => i)
      return new FeatureDataset(resident, indices, true)
    } catch (error) {
      for (const buffer of owned) buffer.dispose()
      throw error
    }
  }

  /** The device of the rows. */
  get device(): Device {
    return this.#resident.device
  }
  /** Number of rows. */
  get count(): number {
    return this.indices.length
  }
  /** Number of classes. */
  get classes(): number {
    return this.#resident.classes
  }
  /** Numbers in a row. */
  get width(): number {
    return this.#resident.width
  }
  /** Number of blocks of columns. */
  get blockCount(): number {
    return this.#resident.blocks.length
  }

  /** The class numbers of this set's rows, in order. */
  labelsOf(): Uint32Array {
    return labelsAt(this.#resident.labels, this.indices)
  }

  /**
   * Overwrites resident rows, from `first` on, with consecutive rows.
   * @throws WeftgradError 'argument' for partial rows, or rows beyond the end.
   */
  write(first: number, rows: Float32Array): void {
    const { device, width, blocks, labels } = this.#resident
    const count = rows.length / width
    if (!Number.isInteger(count) || !Number.isInteger(first) || first < 0 || first + count > labels.length)
      throw new WeftgradError(
        'argument',
        `${rows.length} numbers are not whole rows of ${width} that fit from row ${first} into a set of ${labels.length}.`,
      )
    for (const { from, columns, buffer } of blocks) {
      // Pieces of 16 MiB keep `writeBuffer`'s staging copies small.
      const atOnce = Math.max(1, Math.floor(2 ** 22 / columns))
      for (let start = 0; start < count; start += atOnce) {
        const piece = Math.min(atOnce, count - start)
        const numbers = new Float32Array(piece * columns)
        for (let i = 0; i < piece; i++) {
          const at = (start + i) * width + from
          numbers.set(rows.subarray(at, at + columns), i * columns)
        }
        device.write(buffer.slice((first + start) * columns * 4), numbers)
      }
    }
  }

  /** The rows at these positions, without copying. Throws as {@link Dataset.subset}. */
  subset(positions: ArrayLike<number>): FeatureDataset {
    return new FeatureDataset(this.#resident, indicesAt(this.indices, positions, 'row'), false)
  }

  refuseMisfits(inputShape: Shape, model: string): void {
    if (inputShape.length !== 1 || inputShape[0] !== this.width)
      throw new WeftgradError(
        'shape',
        `${model} takes ${shapeText(inputShape)}, and the data set has rows of ${this.width} features.`,
      )
  }

  batch({ batch, tensor: order }: BatchRows, state: Tensor, _?: Shape, augmentation?: Augmentation): Batch {
    if (augmentation !== undefined)
      throw new WeftgradError('argument', 'Features cannot be flipped or shifted; augment the images they come from.')
    const step = slice(state, [0], [1])
    const rows = reshape(gather(reshape(order, [-1, batch]), step), [batch])
    return { x: this.#rows(rows), target: gather(this.#resident.labelTensor, rows) }
  }

  #rows(indices: Tensor): Tensor {
    const [first, ...rest] = this.#resident.blocks.map((block) => gather(block.tensor, indices))
    if (first === undefined) throw new RangeError('a data set has at least one block')
    return rest.length === 0 ? first : concatenate([first, ...rest], 1)
  }

  /** Computes the mean and variance of each feature over this set on the device. */
  async statistics(): Promise<{
    /** One number per feature. */
    readonly mean: Float32Array
    /** The biased variance, one number per feature. */
    readonly variance: Float32Array
  }> {
    const result = { mean: new Float32Array(this.width), variance: new Float32Array(this.width) }
    for (const { from, tensor: block } of this.#resident.blocks) {
      const [means = [], variances = []] = await evaluate(blockStatistics(block, this.indices))
      result.mean.set(means, from)
      result.variance.set(variances, from)
    }
    return result
  }

  /** Frees the numbers on the device. Subsets own no memory and become unusable together with their whole set. */
  dispose(): void {
    if (this.#ownsNumbers) for (const buffer of this.#resident.buffers) buffer.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Splits columns into equal blocks of at most `most`, multiples of four if possible, since kernels copy rows by fours. */
function columnsOf(width: number, most: number): { readonly from: number; readonly columns: number }[] {
  const rounded = most >= 4 ? most - (most % 4) : most
  const blocks = Math.ceil(width / rounded)
  const even = Math.ceil(width / blocks)
  const columns = Math.min(rounded, most >= 4 ? Math.ceil(even / 4) * 4 : even)
  return Array.from({ length: Math.ceil(width / columns) }, (_, i) => ({
    from: i * columns,
    columns: Math.min(columns, width - i * columns),
  }))
}

function onDevice(buffer: DeviceBuffer, shape: Shape, dtype: 'f32' | 'u32'): Tensor {
  return new Tensor(leaf(new DeviceStorage(buffer.slice(0, elementCount(shape) * 4)), { shape, dtype }))
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
