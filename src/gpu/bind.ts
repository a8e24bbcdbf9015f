/**
 * From unbound dispatches to commands that can be encoded again and again: pipelines compiled together, all uniform
 * blocks in one buffer, one bind group a dispatch. This is the only place where bind groups are made.
 */

import { WeftgradError } from '../errors.ts'
import { alignUp, sliceAlignment } from './alignment.ts'
import type { BufferSlice, Command, Device } from './device.ts'
import type { Shader } from './shader.ts'

export interface UnboundCommand extends Shader {
  /** The uniform block, as u32 words. */
  readonly uniforms: Uint32Array
  readonly workgroups: readonly [number, number, number]
  /** What the storage bindings 1, 2, ... are bound to. */
  readonly slices: readonly BufferSlice[]
}

export interface BoundCommands {
  readonly commands: readonly Command[]
  /** Releases the uniform blocks; the slices belong to the caller. */
  dispose(): void
}

/**
 * Throws 'limit' where a slice is larger than the adapter lets a shader bind, 'device' where a kernel does not compile
 * or a binding is refused; nothing stays allocated then.
 */
export async function bindCommands(
  device: Device,
  unbound: readonly UnboundCommand[],
  label: string,
): Promise<BoundCommands> {
  const limit = device.limits.maxStorageBufferBindingSize
  for (const { label: kernel, slices } of unbound)
    for (const slice of slices) refuseOversized(kernel, slice.bytes, limit)
  const pipelines = await Promise.all(unbound.map((command) => device.pipeline(command)))

  const offsets: number[] = []
  let bytes = 0
  for (const { uniforms } of unbound) {
    offsets.push(bytes)
    bytes += alignUp(Math.max(16, uniforms.byteLength), sliceAlignment)
  }
  const words = new Uint32Array(bytes / 4)
  unbound.forEach(({ uniforms }, i) => {
    words.set(uniforms, (offsets[i] ?? 0) / 4)
  })
  const uniformBuffer = device.allocateUniforms(words, `${label} uniforms`)
  try {
    const commands = await device.validated(label, () =>
      unbound.map((command, i): Command => {
        const pipeline = pipelines[i]
        if (pipeline === undefined) throw new WeftgradError('device', `The kernel ${command.label} has no pipeline.`)
        return {
          label: command.label,
          pipeline,
          workgroups: command.workgroups,
          bindGroup: device.gpu.createBindGroup({
            label: command.label,
            layout: device.bindLayout(command.access),
            entries: [
              {
                binding: 0,
                resource: {
                  buffer: uniformBuffer.gpu,
                  offset: offsets[i] ?? 0,
                  size: Math.max(16, command.uniforms.byteLength),
                },
              },
              ...command.slices.map((slice, n) => ({
                binding: n + 1,
                resource: { buffer: slice.buffer.gpu, offset: slice.offset, size: alignUp(slice.bytes, 16) },
              })),
            ],
          }),
        }
      }),
    )
    return { commands, dispose: () => uniformBuffer.dispose() }
  } catch (error) {
    uniformBuffer.dispose()
    throw error
  }
}

/** Throws 'limit' where a tensor is larger than a kernel may see. */
export function refuseOversized(label: string, bytes: number, limit: number): void {
  if (bytes <= limit) return
  throw new WeftgradError(
    'limit',
    `${label} works on a tensor of ${bytes} bytes, and this adapter lets a kernel see ${limit} bytes of one. Use a smaller batch, or fewer images.`,
    { bytes, maxStorageBufferBindingSize: limit },
  )
}
