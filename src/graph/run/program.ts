/**
 * A plan made real on a device: arenas allocated, pipelines compiled, bind groups made, once. Running it again encodes
 * the same commands; nothing is created, written or allocated.
 */

import type { UnboundCommand } from '../../gpu/bind.ts'
import { bindCommands } from '../../gpu/bind.ts'
import type { BufferSlice, Command, Device, DeviceBuffer } from '../../gpu/device.ts'
import { alignUp, refuseReleased } from '../../gpu/device.ts'
import type { KernelPlan, Operand, Target } from '../../kernels/kernel.ts'
import type { Choice } from '../plan/choice.ts'
import type { Location, Plan, PlanOptions, Wanted } from '../plan/plan.ts'
import { planGraph } from '../plan/plan.ts'

/** What kernels are planned for on this device. */
export function targetOf(device: Device): Target {
  return {
    class: device.facts.class,
    subgroupSize: device.subgroupSize,
    maxWorkgroupSize: device.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupStorageBytes: device.limits.maxComputeWorkgroupStorageSize,
  }
}

/** What a plan must know of this device. */
export function planLimitsOf(device: Device): Pick<PlanOptions, 'target' | 'maxBufferBytes' | 'maxBindingBytes'> {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits
  return {
    target: targetOf(device),
    maxBufferBytes: maxBufferSize,
    maxBindingBytes: maxStorageBufferBindingSize,
  }
}

/** Plans for this device. */
export function planFor(
  device: Device,
  wanted: readonly Wanted[],
  options: Pick<PlanOptions, 'variants' | 'fuse' | 'record' | 'deferSums'> = {},
): Plan {
  return planGraph(wanted, {
    ...planLimitsOf(device),
    ...options,
    leafBuffer: (storage) => (storage.device === device ? storage.on(device).buffer : undefined),
  })
}

/** A kernel that is not part of the graph, since it updates memory in place: an optimizer, a counter. */
export interface ExtraKernel {
  readonly plan: KernelPlan
  readonly inputs: readonly BufferSlice[]
  readonly outputs: readonly BufferSlice[]
}

export class Program {
  readonly device: Device
  readonly commands: readonly Command[]
  readonly choices: readonly Choice[]
  /** Where each wanted value is after a run, in the order they were asked for. */
  readonly results: readonly BufferSlice[]
  readonly arenaBytes: number
  /** Everything that the commands read and write. */
  readonly #buffers: ReadonlySet<DeviceBuffer>
  readonly #release: () => void

  private constructor(
    device: Device,
    plan: Plan,
    commands: readonly Command[],
    results: readonly BufferSlice[],
    buffers: ReadonlySet<DeviceBuffer>,
    release: () => void,
  ) {
    this.device = device
    this.commands = commands
    this.choices = plan.choices
    this.results = results
    this.arenaBytes = plan.arenaBytes.reduce((sum, bytes) => sum + bytes, 0)
    this.#buffers = buffers
    this.#release = release
  }

  /**
   * `after` gives kernels that run after the graph's own; it is told where the wanted values are, and the partial results
   * of each sum that the plan left to it. Throws 'limit' or 'device'; nothing stays allocated then.
   */
  static async create(
    device: Device,
    plan: Plan,
    label: string,
    after: (results: readonly BufferSlice[], partials: readonly BufferSlice[]) => readonly ExtraKernel[] = () => [],
  ): Promise<Program> {
    const owned: DeviceBuffer[] = []
    const release = (): void => {
      for (const buffer of owned) buffer.dispose()
    }
    const allocate = (bytes: number, name: string): DeviceBuffer => {
      const buffer = device.allocate(bytes, name)
      owned.push(buffer)
      return buffer
    }
    try {
      const arenas = plan.arenaBytes.map((bytes, i) => allocate(bytes, `${label} arena ${i}`))
      const leaves = plan.leaves.map((storage) => {
        const slice = storage.on(device)
        if (storage.transient) owned.push(slice.buffer)
        return slice
      })
      const resolve = (location: Location): BufferSlice => {
        if (location.kind === 'buffer') return location.slice
        if (location.kind === 'arena') return slicesOf(arenas, location.arena).slice(location.offset, location.bytes)
        const { buffer, offset } = slicesOf(leaves, location.leaf)
        return buffer.slice(offset + location.offset, location.bytes)
      }
      const bindExtra = ({ plan: kernel, inputs, outputs }: ExtraKernel): UnboundCommand[] => {
        const scratch = kernel.scratchBytes.map((bytes, i) => allocate(bytes, `${label} scratch ${i}`).slice())
        return unboundCommands(kernel, { input: inputs, output: outputs, scratch })
      }
      const results = plan.results.map((result) => resolve(result.location))
      const unbound = [
        ...plan.dispatches.map(({ operands, ...dispatch }) => ({ ...dispatch, slices: operands.map(resolve) })),
        ...after(
          results,
          plan.deferred.map((sum) => resolve(sum.partial)),
        ).flatMap(bindExtra),
      ]
      const bound = await bindCommands(device, unbound, label)
      const buffers = new Set(unbound.flatMap((command) => command.slices.map((slice) => slice.buffer)))
      return new Program(device, plan, bound.commands, results, buffers, () => {
        bound.dispose()
        release()
      })
    } catch (error) {
      release()
      throw error
    }
  }

  /**
   * Encodes `repeats` runs into one submission. Resolves when more may be submitted, not when it has run. Rejects with
   * 'disposed' if the program, or memory it reads or writes, was disposed of.
   */
  async run(repeats = 1): Promise<void> {
    refuseReleased(this.#buffers)
    await this.device.submit(this.commands, repeats)
  }

  /** Encodes and submits one run without waiting; the caller reads back or waits later. Throws 'disposed'. */
  runNow(): void {
    refuseReleased(this.#buffers)
    this.device.submitNow(this.commands)
  }

  /** Releases arenas, uniforms and temporary uploads. Results go with them unless they had a destination. */
  dispose(): void {
    this.#release()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** A plan's dispatches on given memory. Throws RangeError where it names an operand that is not there. */
export function unboundCommands(
  plan: KernelPlan,
  pools: Readonly<Record<Operand['role'], readonly BufferSlice[]>>,
): UnboundCommand[] {
  return plan.dispatches.map(({ bindings, ...dispatch }) => ({
    ...dispatch,
    access: bindings.map((binding) => binding.access),
    slices: bindings.map(({ operand }) => slicesOf(pools[operand.role], operand.index)),
  }))
}

function slicesOf<T>(slices: readonly T[], index: number): T {
  const slice = slices[index]
  if (slice === undefined) throw new RangeError(`operand ${index} of ${slices.length} is missing`)
  return slice
}

/** A tensor's memory as whole words, for copies and uploads. */
export function wordBytes(bytes: number): number {
  return alignUp(bytes, 4)
}
