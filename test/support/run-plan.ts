/** Runs a kernel plan on typed arrays: kernels are tested without graph or tensors. */
import { bindCommands } from '../../src/gpu/bind.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../../src/gpu/device.ts'
import { targetOf as ownTargetOf, unboundCommands } from '../../src/graph/run/program.ts'
import type { KernelPlan, Target } from '../../src/kernels/kernel.ts'

export type HostArray = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

/** What kernels are planned for on this device; `overrides` pretend another kind of adapter. */
export function targetOf(device: Device, overrides: Partial<Target> = {}): Target {
  return { ...ownTargetOf(device), ...overrides }
}

function upload(device: Device, data: HostArray, label: string): DeviceBuffer {
  const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4)
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  const buffer = device.allocate(data.byteLength, label)
  device.write(buffer.slice(), bytes)
  return buffer
}

/**
 * Outputs are given as their initial contents (what in-place kernels update, or poison that pure kernels must overwrite)
 * and come back as new arrays of the same type. Also asserts that nothing leaks.
 */
export async function runPlan<T extends readonly HostArray[]>(
  device: Device,
  plan: KernelPlan,
  inputs: readonly HostArray[],
  outputs: T,
): Promise<T> {
  const inputBuffers = inputs.map((data, i) => upload(device, data, `input ${i}`))
  const outputBuffers = outputs.map((data, i) => upload(device, data, `output ${i}`))
  const scratchBuffers = plan.scratchBytes.map((bytes, i) => device.allocate(bytes, `scratch ${i}`))
  const slices = (buffers: readonly DeviceBuffer[]): BufferSlice[] => buffers.map((buffer) => buffer.slice())
  const pools = { input: slices(inputBuffers), output: slices(outputBuffers), scratch: slices(scratchBuffers) }
  const bound = await bindCommands(device, unboundCommands(plan, pools), plan.variant)
  try {
    device.submitNow(bound.commands)
    const results = await device.readAll(outputBuffers.map((buffer, i) => buffer.slice(0, outputs[i]?.byteLength ?? 0)))
    return outputs.map((data, i) => {
      const bytes = results[i] ?? new ArrayBuffer(0)
      if (data instanceof Float32Array) return new Float32Array(bytes)
      return data instanceof Uint32Array ? new Uint32Array(bytes) : new Uint8Array(bytes)
    }) as unknown as T
  } finally {
    bound.dispose()
    for (const buffer of [...inputBuffers, ...outputBuffers, ...scratchBuffers]) buffer.dispose()
  }
}
