/** Copies between host and device, and from buffer to buffer, in order with submissions. */

import { WeftgradError } from '../errors.ts'
import { alignUp, wordBytes } from './alignment.ts'
import { refuseReleased, send, whenReady } from './buffers.ts'
import type { BufferSlice, BytesOf, Device } from './device.ts'
import { toldSoon } from './firefox-waiting.ts'

/** The usage of a buffer that the host reads. */
export const stagingUsage = 0x1 | 0x8 // MAP_READ | COPY_DST

/** `Device.write`. */
export function write(device: Device, slice: BufferSlice, data: ArrayBufferView<ArrayBuffer>): void {
  device.check()
  refuseReleased([slice.buffer])
  if (data.byteLength > slice.bytes || data.byteLength % 4 !== 0) {
    throw new WeftgradError(
      'argument',
      `Cannot write ${data.byteLength} bytes into ${slice.bytes} of ${slice.buffer.label}.`,
    )
  }
  send(device, slice.buffer, data, slice.offset)
}

/** `Device.copy`. */
export function copy(device: Device, from: BufferSlice, to: BufferSlice): void {
  device.check()
  refuseReleased([from.buffer, to.buffer])
  if (from.bytes > to.bytes || from.bytes % 4 !== 0)
    throw new WeftgradError(
      'argument',
      `Cannot copy ${from.bytes} bytes of ${from.buffer.label} into ${to.bytes} of ${to.buffer.label}.`,
    )
  const encoder = device.gpu.createCommandEncoder({ label: 'copy' })
  encoder.copyBufferToBuffer(from.buffer.gpu, from.offset, to.buffer.gpu, to.offset, from.bytes)
  device.gpu.queue.submit([encoder.finish()])
}

/** `Device.readAll`. */
export async function readAll<Slices extends readonly BufferSlice[]>(
  device: Device,
  slices: Slices,
): Promise<BytesOf<Slices>> {
  device.check()
  refuseReleased(slices.map((slice) => slice.buffer))
  const { gpu } = device
  const unknown = slices.map(({ buffer }) => buffer).filter(({ allocated }) => allocated !== 'yes')
  if (unknown.length > 0) await whenReady(unknown)
  let total = 0
  const parts = slices.map((slice) => {
    const begin = total
    total += alignUp(slice.bytes, 16)
    return { slice, begin, end: begin + slice.bytes }
  })
  const staging = gpu.createBuffer({ label: 'read-back', size: Math.max(16, total), usage: stagingUsage })
  try {
    const encoder = gpu.createCommandEncoder({ label: 'read-back' })
    for (const { slice, begin } of parts) {
      const size = wordBytes(slice.bytes)
      if (size > 0) encoder.copyBufferToBuffer(slice.buffer.gpu, slice.offset, staging, begin, size)
    }
    gpu.queue.submit([encoder.finish()])
    await device.guard(toldSoon(gpu, staging.mapAsync(0x1 /* READ */)))
    const mapped = staging.getMappedRange()
    // `map` keeps the length, but its type does not say so.
    return parts.map(({ begin, end }) => mapped.slice(begin, end)) as BytesOf<Slices>
  } finally {
    staging.destroy()
  }
}
