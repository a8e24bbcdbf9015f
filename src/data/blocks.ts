/**
 * The memory of a data set: one row an example, on the device. A kernel binds one buffer for an operand, and adapters limit its
 * length (60,000 rows of 3,584 floats are 860 MB, lavapipe binds 128 MiB). Longer rows are therefore cut along their first
 * axis into blocks: features into columns, images into bands of pixel rows.
 */

import { WeftgradError } from '../errors.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import type { DType, Shape } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { concatenate, gather, reshape } from '../operators/index.ts'
import { DeviceStorage, leaf, Tensor } from '../operators/tensor.ts'

/** The numbers of rows, as they are on the host. */
export type RowNumbers = Float32Array | Uint32Array | Uint8Array

export interface RowsSpec {
  readonly count: number
  /** The shape of a row; its first axis may be cut. */
  readonly shape: Shape
  readonly dtype: DType
  /** The most bytes of a block: by default the adapter's largest binding. */
  readonly blockBytes?: number | undefined
  /** Names the buffers. */
  readonly label: string
}

/** A part of all rows. */
interface Block {
  /** Where it starts on the first axis of a row. */
  readonly from: number
  readonly buffer: DeviceBuffer
  /** [count, its part of the first axis, ...the other axes]; [count] if rows have no axis. */
  readonly tensor: Tensor
}

/** Rows on a device, in blocks. The caller owns the memory. */
export class Rows {
  readonly count: number
  /** Numbers in a row. */
  readonly width: number
  readonly blocks: readonly Block[]
  readonly #device: Device
  readonly #shape: Shape
  readonly #arrayOf: (length: number) => RowNumbers

  /** Rows of zeros. Throws WeftgradError 'limit' if even the shortest block exceeds a binding, or the memory. */
  constructor(device: Device, { count, shape, dtype, blockBytes, label }: RowsSpec) {
    const [first = 1, ...rest] = shape
    const elementBytes = dtype === 'u8' ? 1 : 4
    const most = (blockBytes ?? device.limits.maxStorageBufferBindingSize) / elementBytes / count / elementCount(rest)
    if (most < 1)
      throw new WeftgradError(
        'limit',
        `${count} examples exceed this adapter's largest binding, even if each is cut into ${first} parts. Use fewer examples.`,
        { count, shape },
      )
    this.#device = device
    this.#shape = shape
    this.#arrayOf = (length) =>
      dtype === 'u8' ? new Uint8Array(length) : dtype === 'u32' ? new Uint32Array(length) : new Float32Array(length)
    this.count = count
    this.width = elementCount(shape)
    const blocks: Block[] = []
    this.blocks = blocks
    try {
      for (const { from, extent } of partsOf(first, Math.floor(most))) {
        const type = { shape: shape.length === 0 ? [count] : [count, extent, ...rest], dtype }
        const bytes = elementCount(type.shape) * elementBytes
        const buffer = device.allocate(bytes, label)
        const storage = new DeviceStorage(dtype === 'u8' ? buffer.slice() : buffer.slice(0, bytes))
        blocks.push({ from, buffer, tensor: new Tensor(leaf(storage, type)) })
      }
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** Overwrites consecutive rows, from `first` on. Bytes are written all at once: words of four hold parts of two rows. */
  write(first: number, numbers: RowNumbers): void {
    const count = numbers.length / this.width
    const elements = this.width / (this.#shape[0] ?? 1)
    for (const { from, buffer, tensor } of this.blocks) {
      const columns = elementCount(tensor.shape) / this.count
      // Pieces of 16 MiB keep `writeBuffer`'s staging copies small; those of a multiple of four rows begin at whole words.
      const atOnce = Math.max(4, Math.floor(2 ** 20 / columns) * 4)
      for (let start = 0; start < count; start += atOnce) {
        const piece = Math.min(atOnce, count - start)
        const part = this.#arrayOf(piece * columns)
        for (let i = 0; i < piece; i++) {
          const at = (start + i) * this.width + from * elements
          part.set(numbers.subarray(at, at + columns), i * columns)
        }
        this.#device.write(buffer.slice((first + start) * columns * part.BYTES_PER_ELEMENT), wholeWords(part))
      }
    }
  }

  /** Traces the rows at these indices, [n, ...shape]; bits of NaN where there is no such row. Not for bytes. */
  at(indices: Tensor, shape: Shape): Tensor {
    const [first, ...rest] = this.blocks.map((block) => gather(block.tensor, indices))
    if (first === undefined) throw new RangeError('rows have at least one block')
    return reshape(rest.length === 0 ? first : concatenate([first, ...rest], 1), [...indices.shape, ...shape])
  }

  dispose(): void {
    for (const { buffer } of this.blocks) buffer.dispose()
  }
}

/** Splits an axis into equal parts of at most `most`, multiples of four if possible, since kernels copy rows by fours. */
function partsOf(whole: number, most: number): { readonly from: number; readonly extent: number }[] {
  const rounded = most >= 4 ? most - (most % 4) : most
  const parts = Math.ceil(whole / rounded)
  const even = Math.ceil(whole / parts)
  const extent = Math.min(rounded, most >= 4 ? Math.ceil(even / 4) * 4 : even)
  return Array.from({ length: Math.ceil(whole / extent) }, (_, i) => ({
    from: i * extent,
    extent: Math.min(extent, whole - i * extent),
  }))
}

/** The same bytes, with zeros up to the end of the last word. */
function wholeWords(part: RowNumbers): RowNumbers & ArrayBufferView<ArrayBuffer> {
  if (part.byteLength % 4 === 0) return part as RowNumbers & ArrayBufferView<ArrayBuffer>
  const words = new Uint8Array(Math.ceil(part.length / 4) * 4)
  words.set(part)
  return words
}
