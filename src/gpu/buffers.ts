/** A device's buffers, and a count of the bytes they hold. */

import { WeftgradError } from '../errors.ts'
import { alignUp, sliceAlignment, wordBytes } from './alignment.ts'
import type { BufferSlice, Device, DeviceBuffer, DeviceMemory } from './device.ts'

const storageUsage = 0x80 | 0x8 | 0x4 // STORAGE | COPY_DST | COPY_SRC
const uniformUsage = 0x40 | 0x8 // UNIFORM | COPY_DST

/** All buffers of one device that have not been disposed. */
export class BufferRegistry {
  readonly #device: Device
  readonly #live = new Set<DeviceBuffer>()
  #liveBytes = 0
  #peakBytes = 0

  constructor(device: Device) {
    this.#device = device
  }

  memory(): DeviceMemory {
    return { liveBytes: this.#liveBytes, liveBuffers: this.#live.size, peakBytes: this.#peakBytes }
  }

  allocate(bytes: number, label: string): DeviceBuffer {
    return this.#create(Math.max(sliceAlignment, alignUp(bytes)), label, storageUsage)
  }

  allocateUniforms(data: Uint32Array<ArrayBuffer>, label: string): DeviceBuffer {
    const buffer = this.#create(Math.max(16, data.byteLength), label, uniformUsage)
    send(this.#device, buffer, data)
    return buffer
  }

  #create(bytes: number, label: string, usage: number): DeviceBuffer {
    const device = this.#device
    device.check()
    const { maxBufferSize } = device.limits
    if (bytes > maxBufferSize) {
      throw new WeftgradError(
        'limit',
        `${label} needs ${bytes} bytes, but this adapter allows ${maxBufferSize} bytes per buffer. Use a smaller batch or split the tensor.`,
        { bytes, maxBufferSize },
      )
    }
    const inUse = this.#liveBytes
    device.gpu.pushErrorScope('out-of-memory')
    const gpu = device.gpu.createBuffer({ label, size: bytes, usage })
    const answer = device.guard(device.gpu.popErrorScope()).then((error) => {
      if (error === null) return
      throw new WeftgradError(
        'limit',
        `${label} needs ${bytes} bytes, and the device has no memory left for it: ${inUse} bytes are in use here. Use a smaller batch, dispose of what is no longer needed, or close other programs that use the GPU.`,
        { bytes, inUse },
      )
    })
    const buffer = new OwnedBuffer(device, gpu, label, answer, () => {
      this.#live.delete(buffer)
      this.#liveBytes -= buffer.bytes
    })
    this.#live.add(buffer)
    this.#liveBytes += buffer.bytes
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes)
    return buffer
  }

  dispose(): void {
    for (const buffer of [...this.#live]) buffer.dispose()
  }
}

class OwnedBuffer implements DeviceBuffer {
  readonly device: Device
  readonly gpu: GPUBuffer
  readonly bytes: number
  readonly label: string
  live = true
  allocated: DeviceBuffer['allocated'] = 'unknown'
  readonly ready: Promise<void>
  readonly #onDispose: () => void

  constructor(device: Device, gpu: GPUBuffer, label: string, answer: Promise<void>, onDispose: () => void) {
    this.device = device
    this.gpu = gpu
    this.bytes = gpu.size
    this.label = label
    this.#onDispose = onDispose
    this.ready = answer.then(
      () => {
        this.allocated = 'yes'
      },
      (error: unknown) => {
        this.allocated = 'no'
        throw error
      },
    )
    this.ready.catch(() => undefined) // it reaches whoever binds or reads the buffer
  }

  slice(offset = 0, bytes: number = this.bytes - offset): BufferSlice {
    return { buffer: this, offset, bytes }
  }

  dispose(): void {
    if (!this.live) return
    this.live = false
    this.#onDispose()
    this.gpu.destroy()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Throws 'disposed' for a disposed buffer. Using one would make WebGPU fail the whole device. */
export function refuseReleased(buffers: Iterable<DeviceBuffer>): void {
  for (const { live, label } of buffers)
    if (!live) throw new WeftgradError('disposed', `${label} was disposed and can no longer be used.`)
}

/**
 * Writes host bytes. WebGPU complains about a buffer for which there was no memory. That must not fail the device, since
 * the buffer's `ready` tells.
 */
export function send({ gpu }: Device, buffer: DeviceBuffer, data: ArrayBufferView<ArrayBuffer>, offset = 0): void {
  const isKnown = buffer.allocated !== 'unknown'
  if (!isKnown) gpu.pushErrorScope('validation')
  gpu.queue.writeBuffer(buffer.gpu, offset, data.buffer, data.byteOffset, data.byteLength)
  if (!isKnown) gpu.popErrorScope().catch(() => undefined)
}

/** Rejects with 'limit' if there was no memory for one of the buffers. Resolves at once if that is known. */
export async function whenReady(buffers: Iterable<DeviceBuffer>): Promise<void> {
  for (const buffer of buffers) if (buffer.allocated !== 'yes') await buffer.ready
}

/** Allocates a buffer for host bytes of any length and copies them there, zero-padded to whole words. */
export function upload(device: Device, data: ArrayBufferView, label: string): DeviceBuffer {
  const words = new Uint8Array(wordBytes(data.byteLength))
  words.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  const buffer = device.allocate(words.byteLength, label)
  device.write(buffer.slice(), words)
  return buffer
}
