/**
 * Image data sets, stored on the device as bytes, once. Subsets share the bytes and hold indices of their images; training
 * gathers batches by these indices on the device.
 */

import { WeftgradError } from '../errors.ts'
import { refuseOversized } from '../gpu/bind.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { gatherBatch } from '../operators/gather-batch.ts'
import { DeviceStorage, leaf, Tensor } from '../operators/tensor.ts'
import { aList, anything, checkOptions, countFrom1, required, theBytes } from '../options.ts'
import type { Augmentation, Batch, BatchRows, Dataset } from './contract.ts'
import { classNumbers, indicesAt, labelsAt } from './contract.ts'

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
    const [outHeight, outWidth] = inputShape
    if (outHeight === undefined || outWidth === undefined)
      throw new RangeError(`images do not become ${shapeText(inputShape)}`)
    const padTop = Math.floor((outHeight - height) / 2)
    const padLeft = Math.floor((outWidth - width) / 2)
    const { x, labels } = gatherBatch(this.images, tensor, state, this.labels, {
      ...{ batch, padTop, padLeft, outHeight, outWidth, divisor: 255 },
      ...(augmentation && { augmentation }),
    })
    return { x, target: labels }
  }

  /** Frees the bytes on the device. Subsets own no memory and become unusable together with their whole set. */
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
 * @throws WeftgradError 'argument' for images that are not bytes, or extents that are not whole numbers from 1; 'data' if counts
 * disagree, the set is empty or a label is invalid; 'limit' if the images do not fit into one binding of the adapter.
 */
export function residentImages(device: Device, bytes: LabelledBytes): ImageDataset {
  checkOptions<object>('residentImages', bytes, {
    ...{
      images: required(theBytes),
      labels: required(aList),
      height: required(countFrom1),
      width: required(countFrom1),
    },
    // The readers of Fashion-MNIST add the last two.
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

/** Pieces of 16 MiB keep `writeBuffer`'s staging copies small. */
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
