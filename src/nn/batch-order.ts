/** The order of a data set's examples on the device, and how a data set is cut into batches. */

import type { BatchRows } from '../data/contract.ts'
import { WeftgradError } from '../errors.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import { DeviceStorage, leaf, Tensor } from '../operators/tensor.ts'

/** The order of an epoch's examples, on the device. */
export class BatchOrder implements BatchRows {
  readonly batch: number
  readonly buffer: DeviceBuffer
  readonly tensor: Tensor
  readonly #length: number
  readonly #skip: number

  /** `skip`: steps that another program runs before this one's first. Their places in the buffer are never read. */
  constructor(device: Device, batch: number, steps: number, skip = 0) {
    this.batch = batch
    this.#skip = skip * batch
    this.#length = (skip + steps) * batch
    this.buffer = device.allocate(this.#length * 4, 'batch order')
    this.tensor = u32Leaf(this.buffer, this.#length)
  }

  write(indices: Uint32Array): void {
    if (indices.length + this.#skip !== this.#length)
      throw new WeftgradError(
        'argument',
        `${indices.length} images do not fill a batch order of ${this.#length - this.#skip}.`,
      )
    const bytes = this.#skip * 4
    this.buffer.device.write(this.buffer.slice(bytes), Uint32Array.from(indices))
  }
}

/** Batches of one size: each size needs its own program. */
export interface Batches {
  readonly order: BatchOrder
  readonly steps: number
}

/**
 * Cuts `count` examples into whole batches and one smaller batch for the rest. `own` takes ownership of their memory.
 */
export function cutIntoBatches(
  device: Device,
  count: number,
  batchSize: number,
  own: (buffer: DeviceBuffer) => void,
): Batches[] {
  const batch = Math.min(batchSize, count)
  const whole = Math.floor(count / batch)
  const rest = count - whole * batch
  const batches = (size: number, steps: number, skip = 0): Batches => {
    const order = new BatchOrder(device, size, steps, skip)
    own(order.buffer)
    return { order, steps }
  }
  return [batches(batch, whole), ...(rest > 0 ? [batches(rest, 1, whole)] : [])]
}

/** Writes the order of the examples; each batch size gets its part. */
export function writeOrder(batches: readonly Batches[], indices: Uint32Array): void {
  let start = 0
  for (const { order, steps } of batches) {
    const end = start + steps * order.batch
    order.write(indices.subarray(start, end))
    start = end
  }
}

export function u32Leaf(buffer: DeviceBuffer, length: number): Tensor {
  return new Tensor(leaf(new DeviceStorage(buffer.slice(0, length * 4)), { shape: [length], dtype: 'u32' }))
}
