/** Runs a kernel plan on typed arrays, so that kernels are tested without graph or tensors. */
import { upload } from '../../src/gpu/buffers.ts'
import type { Device } from '../../src/gpu/device.ts'
import { bindKernel } from '../../src/graph/run/bound-kernel.ts'
import { targetOf as ownTargetOf } from '../../src/graph/run/program.ts'
import type { KernelPlan, Target } from '../../src/kernels/kernel.ts'

export type HostArray = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

/** The target that kernels are planned for on this device; `overrides` simulates another kind of adapter. */
export function targetOf(device: Device, overrides: Partial<Target> = {}): Target {
  return { ...ownTargetOf(device), ...overrides }
}

/**
 * Runs a plan. Outputs are passed as their initial contents (to be updated by in-place kernels, or poison that pure
 * kernels must overwrite) and returned as new arrays of the same type. Also asserts that nothing leaks.
 */
export async function runPlan<T extends readonly HostArray[]>(
  device: Device,
  plan: KernelPlan,
  inputs: readonly HostArray[],
  outputs: T,
): Promise<T> {
  const inputBuffers = inputs.map((data, i) => upload(device, data, `input ${i}`))
  const outputBuffers = outputs.map((data, i) => upload(device, data, `output ${i}`))
  const kernel = {
    plan,
    inputs: inputBuffers.map((buffer) => buffer.slice()),
    outputs: outputBuffers.map((buffer) => buffer.slice()),
  }
  const bound = await bindKernel(device, kernel, plan.variant)
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
    for (const buffer of [...inputBuffers, ...outputBuffers]) buffer.dispose()
  }
}
