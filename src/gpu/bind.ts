/**
 * Binds dispatches: compiles their pipelines together, puts all uniform blocks into one buffer and makes one bind group
 * per dispatch. The result can be encoded any number of times. Bind groups are made only here.
 */

import { WeftgradError } from '../errors.ts'
import { alignUp, sliceAlignment } from './alignment.ts'
import type { BufferSlice, Command, Device } from './device.ts'
import type { Shader } from './shader.ts'

export interface UnboundCommand extends Shader {
  /** The uniform block, as u32 words. */
  readonly uniforms: Uint32Array
  readonly workgroups: readonly [number, number, number]
  /** The memory of the storage bindings 1, 2, ... */
  readonly slices: readonly BufferSlice[]
}

export interface BoundCommands {
  readonly commands: readonly Command[]
  /** Frees the uniform blocks. The slices belong to the caller. */
  dispose(): void
}

/**
 * Binds the commands. If a slice is larger than the adapter lets a shader bind, throws 'limit'; if a kernel does not
 * compile or a binding is refused, throws 'device'. Frees everything before throwing.
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

/** Throws 'limit' for a tensor larger than a kernel can bind. */
export function refuseOversized(label: string, bytes: number, limit: number): void {
  if (bytes <= limit) return
  throw new WeftgradError(
    'limit',
    `${label} uses a tensor of ${bytes} bytes, but kernels on this adapter can bind at most ${limit} bytes. Use a smaller batch, or fewer images.`,
    { bytes, maxStorageBufferBindingSize: limit },
  )
}
