/**
 * Image data sets that live on the device as bytes, once. Subsets share the bytes and differ in which images they name;
 * training gathers batches by these numbers on the device.
 */

import { applyAll } from '../autograd/apply.ts'
import { DeviceStorage, leaf, Tensor } from '../autograd/tensor.ts'
import { WeftgradError } from '../errors.ts'
import { refuseOversized } from '../gpu/bind.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { aList, anything, checkOptions, countFrom1, required, theBytes } from '../options.ts'
import type { Augmentation, Batch, BatchRows, Dataset } from './contract.ts'
import { classNumbers, indicesAt, labelsAt } from './contract.ts'

/** Images and labels in host memory. */
export interface LabelledBytes {
  /** [count, height, width, channels], row-major. */
  readonly images: Uint8Array
  /** A class number for each image: any array of whole numbers, such as a Uint8Array, Uint16Array or number[]. */
  readonly labels: ArrayLike<number>
  /** Pixels. */
  readonly height: number
  /** Pixels. */
  readonly width: number
  /** 1 for grey, 3 for red, green and blue. */
  readonly channels: number
  /** Labels are whole numbers below. 2^24 at most. */
  readonly classes: number
}

/** The bytes on the device, shared by a data set and its subsets. */
interface Resident {
  readonly device: Device
  readonly count: number
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly classes: number
  readonly images: Tensor
  readonly labels: Tensor
  readonly hostLabels: Uint32Array
  readonly buffers: readonly DeviceBuffer[]
}

/**
 * Images that live on the device as bytes. A batch is padded with zeros to the model's input and divided by 255 on its way,
 * and mirrored or shifted where the training asks for it.
 */
export class ImageDataset implements Dataset {
  readonly #resident: Resident
  readonly #ownsBytes: boolean
  /** Which of the resident images belong to this set, in order. */
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

  /** Where the bytes are. */
  get device(): Device {
    return this.#resident.device
  }
  /** How many images. */
  get count(): number {
    return this.indices.length
  }
  /** How many classes. */
  get classes(): number {
    return this.#resident.classes
  }
  /** [height, width, channels] of an image. */
  get imageShape(): readonly [number, number, number] {
    return [this.#resident.height, this.#resident.width, this.#resident.channels]
  }
  /** All resident images: u8 [n, height, width, channels]. */
  get images(): Tensor {
    return this.#resident.images
  }
  /** All resident labels: u32 [n]. */
  get labels(): Tensor {
    return this.#resident.labels
  }

  /** The class numbers of this set's images, in order. */
  labelsOf(): Uint32Array {
    return labelsAt(this.#resident.hostLabels, this.indices)
  }

  /**
   * The images at these positions of this set; no bytes are copied.
   * @throws WeftgradError 'argument' for a position out of range or none.
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

  /** Images are padded to the model's input and scaled to [0, 1]. */
  batch({ batch, tensor }: BatchRows, state: Tensor, inputShape: Shape, augmentation?: Augmentation): Batch {
    const [height, width] = this.imageShape
    const [outHeight, outWidth] = inputShape
    if (outHeight === undefined || outWidth === undefined)
      throw new RangeError(`images do not become ${shapeText(inputShape)}`)
    const padTop = Math.floor((outHeight - height) / 2)
    const padLeft = Math.floor((outWidth - width) / 2)
    const attributes = {
      ...{ batch, padTop, padLeft, outHeight, outWidth, divisor: 255 },
      ...(augmentation === undefined ? {} : { augmentation }),
    }
    const [x, labels] = applyAll('gatherBatch', [this.images, tensor, state, this.labels], attributes)
    if (x === undefined || labels === undefined) throw new RangeError()
    return { x, labels }
  }

  /** Releases the bytes on the device. Subsets own none, and become unusable with the set they were taken from. */
  dispose(): void {
    if (this.#ownsBytes) for (const buffer of this.#resident.buffers) buffer.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/**
 * Puts images and labels on the device, once. The caller owns them: `dispose()` or `using`.
 * @throws WeftgradError 'argument' for images that are no bytes, or extents that are not whole numbers from 1; 'data' where counts do not agree, the set is empty or a label is no class; 'limit' where the images do
 * not fit into one binding of the adapter.
 */
export function residentImages(device: Device, bytes: LabelledBytes): ImageDataset {
  checkOptions<object>('residentImages', bytes, {
    ...{
      images: required(theBytes),
      labels: required(aList),
      height: required(countFrom1),
      width: required(countFrom1),
    },
    // The last two are what the readers of Fashion-MNIST say besides.
    ...{ channels: required(countFrom1), classes: anything, count: anything, droppedLines: anything },
  })
  const { images, height, width, channels, classes } = bytes
  const labels = classNumbers(bytes.labels, classes, 'Image')
  const count = labels.length
  if (count === 0 || images.length !== count * height * width * channels)
    throw new WeftgradError(
      'data',
      `${images.length} bytes are not ${count} images of ${height}x${width}x${channels}; a data set has at least one.`,
    )
  const most = Math.max(images.length, labels.byteLength)
  refuseOversized('The data set', most, device.limits.maxStorageBufferBindingSize)
  const imageBuffer = uploadBytes(device, images, 'data set images')
  const labelBuffer = uploadBytes(device, new Uint8Array(labels.buffer), 'data set labels')
  const shape = [count, height, width, channels]
  const resident: Resident = {
    device,
    count,
    height,
    width,
    channels,
    classes,
    images: new Tensor(leaf(new DeviceStorage(imageBuffer.slice()), { shape, dtype: 'u8' })),
    labels: new Tensor(leaf(new DeviceStorage(labelBuffer.slice()), { shape: [count], dtype: 'u32' })),
    hostLabels: labels,
    buffers: [imageBuffer, labelBuffer],
  }
  return new ImageDataset(
    resident,
    Uint32Array.from({ length: count }, (_, i) => i),
    true,
  )
}

/** Pieces of 16 MiB keep the staging copies that `writeBuffer` makes small. */
const uploadPiece = 16 * 2 ** 20

function uploadBytes(device: Device, bytes: Uint8Array, label: string): DeviceBuffer {
  const buffer = device.allocate(bytes.length, label)
  for (let start = 0; start < bytes.length; start += uploadPiece) {
    const piece = bytes.subarray(start, start + uploadPiece)
    const words = new Uint8Array(Math.ceil(piece.length / 4) * 4)
    words.set(piece)
    device.write(buffer.slice(start, words.length), words)
  }
  return buffer
}
