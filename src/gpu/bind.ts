/**
 * Binds dispatches: compiles their pipelines together, puts all uniform blocks into one buffer and makes one bind group
 * per dispatch. The result can be encoded any number of times. Bind groups are made only here.
 */

import { WeftgradError } from '../errors.ts'
import { alignUp, sliceAlignment } from './alignment.ts'
import { whenReady } from './buffers.ts'
import type { BufferSlice, Command, Device } from './device.ts'
import type { Shader } from './shader.ts'

export interface UnboundCommand extends Shader {
  /** The uniform block, as u32 words. */
  readonly uniforms: Uint32Array
  readonly workgroups: readonly [number, number, number]
  /** The memory of the storage bindings 1, 2, ... */
  readonly slices: readonly BufferSlice[]
  /** Floating-point operations; 0 if memory traffic dominates. */
  readonly flops?: number
  /** The uniform word with the number of the first workgroup. Without one, the command is never cut. */
  readonly firstGroupWord?: number | undefined
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
  whole: readonly UnboundCommand[],
  label: string,
): Promise<BoundCommands> {
  const unbound = whole.flatMap((command) => cut(command, device.mostPerDispatch))
  const limit = device.limits.maxStorageBufferBindingSize
  for (const { label: kernel, slices } of unbound)
    for (const slice of slices) refuseOversized(kernel, slice.bytes, limit)
  await whenReady(unbound.flatMap(({ slices }) => slices.map(({ buffer }) => buffer)))
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
    await whenReady([uniformBuffer])
    const commands = await device.validated(label, () =>
      unbound.map((command, i): Command => {
        const pipeline = pipelines[i]
        if (pipeline === undefined) throw new WeftgradError('device', `The kernel ${command.label} has no pipeline.`)
        return {
          label: command.label,
          pipeline,
          workgroups: command.workgroups,
          work: command.work,
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

/** WebGPU's limit of a dimension, on every adapter. */
const mostInDimension = 65535

interface CutCommand extends UnboundCommand {
  readonly work: number
}

/** Commands that together run the same workgroups, each with this many operations at most. */
function cut(command: UnboundCommand, most: number): CutCommand[] {
  const { firstGroupWord, workgroups, uniforms } = command
  const work = workOf(command)
  if (work <= most || firstGroupWord === undefined) return [{ ...command, work }]
  const [x, y] = workgroups
  const groups = x * y
  const size = Math.min(Math.max(1, Math.floor((groups * most) / work)), mostInDimension)
  return Array.from({ length: Math.ceil(groups / size) }, (_, i) => {
    const first = i * size
    const count = Math.min(size, groups - first)
    const own = Uint32Array.from(uniforms)
    own[firstGroupWord] = first
    return { ...command, uniforms: own, workgroups: [count, 1, 1], work: (work * count) / groups }
  })
}

/** Operations of a command. A byte written counts as four: adapters take about that long to store one. */
function workOf({ flops = 0, access, slices }: UnboundCommand): number {
  const written = slices.filter((_, i) => access[i] === 'read_write').reduce((sum, { bytes }) => sum + bytes, 0)
  return flops + 4 * written
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
