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
    this.#device.gpu.queue.writeBuffer(buffer.gpu, 0, data)
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
    const buffer = new OwnedBuffer(device, device.gpu.createBuffer({ label, size: bytes, usage }), label, () => {
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
  readonly #onDispose: () => void

  constructor(device: Device, gpu: GPUBuffer, label: string, onDispose: () => void) {
    this.device = device
    this.gpu = gpu
    this.bytes = gpu.size
    this.label = label
    this.#onDispose = onDispose
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

/** Allocates a buffer for host bytes of any length and copies them there, zero-padded to whole words. */
export function upload(device: Device, data: ArrayBufferView, label: string): DeviceBuffer {
  const words = new Uint8Array(wordBytes(data.byteLength))
  words.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  const buffer = device.allocate(words.byteLength, label)
  device.write(buffer.slice(), words)
  return buffer
}
