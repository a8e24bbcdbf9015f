/**
 * Image data sets, stored on the device as bytes, once. Subsets share the bytes and hold indices of their images; training
 * gathers batches by these indices on the device.
 */

import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { type BatchAttributes, gatherBatch } from '../operators/gather-batch.ts'
import { add } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { aList, anArray, anything, checkOptions, countFrom1, required, theBytes } from '../options.ts'
import { Rows } from './blocks.ts'
import type { Augmentation, Batch, BatchRows, Dataset } from './contract.ts'
import { checkNames, classNumbers, everyIndex, indicesAt, labelsAt } from './contract.ts'

/** Images and labels in host memory. */
export interface LabelledBytes {
  /** [count, height, width, channels], row-major. */
  readonly images: Uint8Array
  /** A class number for each image: any array of whole numbers, such as a Uint8Array, Uint16Array or number[]. */
  readonly labels: ArrayLike<number>
  /** In pixels. */
  readonly height: number
  /** In pixels. */
  readonly width: number
  /** 1 for grey, 3 for red, green and blue. */
  readonly channels: number
  /** Number of classes, at most 2^24. Labels are whole numbers below it. */
  readonly classes: number
  /** The classes' names, in the order of their numbers. */
  readonly classNames?: readonly string[] | undefined
  /** A name for each image, such as its file's. */
  readonly names?: readonly string[] | undefined
  /** The most bytes of a block of pixel rows: by default the adapter's largest binding. */
  readonly blockBytes?: number | undefined
}

/** The bytes on the device, shared by a data set and its subsets. */
interface Resident extends Pick<LabelledBytes, 'height' | 'width' | 'channels' | 'classes' | 'classNames' | 'names'> {
  readonly device: Device
  /** Bands of pixel rows; one if all images fit into a binding. */
  readonly images: Rows
  readonly labels: Rows
  readonly hostLabels: Uint32Array
}

/** How to make a batch of a data set's images. */
type PixelAttributes = Omit<BatchAttributes, 'batch'>

/**
 * Images stored on the device as bytes. Gathering a batch pads it with zeros to the model's input and divides it by 255; with
 * augmentation, it also flips or shifts the images.
 */
export class ImageDataset implements Dataset {
  readonly #resident: Resident
  readonly #ownsBytes: boolean
  /** Indices of this set's images among all resident ones, in order. */
  readonly indices: Uint32Array

  /**
   * Use `residentImages` and `subset`.
   * @internal
   */
  constructor(resident: Resident, indices: Uint32Array, ownsBytes: boolean) {
    this.#resident = resident
    this.#ownsBytes = ownsBytes
    this.indices = indices
  }

  /** The device of the images. */
  get device(): Device {
    return this.#resident.device
  }
  /** Number of images. */
  get count(): number {
    return this.indices.length
  }
  /** Number of classes. */
  get classes(): number {
    return this.#resident.classes
  }
  /** The classes' names, in the order of their numbers, if they are known. */
  get classNames(): readonly string[] | undefined {
    return this.#resident.classNames
  }
  /** The names of this set's images, in order, if they have names. */
  get names(): readonly string[] | undefined {
    const { names } = this.#resident
    return names && Array.from(this.indices, (index) => names[index] ?? '')
  }
  /** The shape of an image: `imageShape`. */
  get shape(): Shape {
    return this.imageShape
  }
  /** [height, width, channels] of an image. */
  get imageShape(): readonly [number, number, number] {
    return [this.#resident.height, this.#resident.width, this.#resident.channels]
  }
  /** Number of blocks of pixel rows: more than one if all images exceed a binding of the adapter. */
  get blockCount(): number {
    return this.#resident.images.blocks.length
  }
  /** All resident images, u8 [n, height, width, channels], or the first rows of their pixels if there are several blocks. */
  get images(): Tensor {
    return firstOf(this.#resident.images)
  }
  /** All resident labels: u32 [n]. */
  get labels(): Tensor {
    return firstOf(this.#resident.labels)
  }

  /** The class numbers of this set's images, in order. */
  labelsOf(): Uint32Array {
    return labelsAt(this.#resident.hostLabels, this.indices)
  }

  /**
   * The images at these positions of this set, without copying.
   * @throws WeftgradError 'argument' for a position out of range, or no positions.
   */
  subset(positions: ArrayLike<number>): ImageDataset {
    return new ImageDataset(this.#resident, indicesAt(this.indices, positions, 'image'), false)
  }

  refuseMisfits(inputShape: Shape, model: string): void {
    const [height, width, channels] = this.imageShape
    const [outHeight, outWidth, modelChannels] = inputShape
    if (outHeight === undefined || outWidth === undefined || inputShape.length !== 3)
      throw new WeftgradError('shape', `${model} takes ${shapeText(inputShape)}, and the data set has images.`)
    if (outHeight < height || outWidth < width || modelChannels !== channels)
      throw new WeftgradError(
        'shape',
        `${model} takes images of ${outHeight}x${outWidth}x${modelChannels}; the data set's ${height}x${width}x${channels} cannot be padded to that.`,
      )
  }

  /** Pads images to the model's input and scales them to [0, 1]. */
  batch({ batch, tensor }: BatchRows, state: Tensor, inputShape: Shape, augmentation?: Augmentation): Batch {
    const [height, width] = this.imageShape
    const [outHeight = height, outWidth = width] = inputShape
    const padTop = Math.floor((outHeight - height) / 2)
    const padLeft = Math.floor((outWidth - width) / 2)
    return this.pixels({ batch, tensor }, state, {
      ...{ padTop, padLeft, outHeight, outWidth, divisor: 255 },
      ...(augmentation && { augmentation }),
    })
  }

  /**
   * Traces a batch as `batch` does, with any padding and divisor. In several blocks, each band of pixel rows is put where it
   * belongs in images of zeros, and these are added: every pixel is in one of them, so the sum is exact.
   * @internal
   */
  pixels({ batch, tensor }: BatchRows, state: Tensor, attributes: PixelAttributes): Batch {
    const bands = this.#resident.images.blocks.map(({ from, tensor: images }) =>
      gatherBatch(images, tensor, state, this.labels, { ...attributes, batch, padTop: attributes.padTop + from }),
    )
    const [first] = bands
    if (first === undefined) throw new RangeError('a data set has at least one block')
    return { x: bands.map(({ x }) => x).reduce(add), target: first.labels }
  }

  /** Frees the bytes on the device. Subsets own no memory and become unusable together with their whole set. */
  dispose(): void {
    if (!this.#ownsBytes) return
    this.#resident.images.dispose()
    this.#resident.labels.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

function firstOf(rows: Rows): Tensor {
  const [first] = rows.blocks
  if (first === undefined) throw new RangeError('rows have at least one block')
  return first.tensor
}

/**
 * Puts images and labels on the device, once. The caller owns them: `dispose()` or `using`. Images that exceed a binding of
 * the adapter are stored in several blocks, which makes a batch a little slower.
 * @throws WeftgradError 'argument' for images that are not bytes, or extents that are not whole numbers from 1; 'data' if counts
 * disagree, the set is empty, or a label is invalid; 'limit' if there is no memory for them, or not even one row of pixels of all
 * images fits into one binding.
 */
export function residentImages(device: Device, bytes: LabelledBytes): ImageDataset {
  checkOptions<object>('residentImages', bytes, {
    ...{
      images: required(theBytes),
      labels: required(aList),
      height: required(countFrom1),
      width: required(countFrom1),
    },
    ...{
      channels: required(countFrom1),
      classes: anything,
      classNames: anArray,
      names: anArray,
      blockBytes: countFrom1,
    },
    // The readers of Fashion-MNIST add these.
    ...{ count: anything, droppedLines: anything },
  })
  const { images, height, width, channels, classes, classNames, names, blockBytes } = bytes
  const hostLabels = classNumbers(bytes.labels, classes, 'Image')
  const count = hostLabels.length
  if (count === 0 || images.length !== count * height * width * channels)
    throw new WeftgradError(
      'data',
      `${images.length} bytes are not ${count} images of ${height}x${width}x${channels}; a data set has at least one.`,
    )
  checkNames('classNames', classNames, classes)
  checkNames('names', names, count)
  const shape = [height, width, channels]
  const rows = new Rows(device, { count, shape, dtype: 'u8', blockBytes, label: 'data set images' })
  try {
    const labels = new Rows(device, { count, shape: [], dtype: 'u32', label: 'data set labels' })
    rows.write(0, new Uint8Array(images.buffer, images.byteOffset, images.length))
    labels.write(0, hostLabels)
    const resident = { device, height, width, channels, classes, classNames, names, images: rows, labels, hostLabels }
    return new ImageDataset(resident, everyIndex(count), true)
  } catch (error) {
    rows.dispose()
    throw error
  }
}
