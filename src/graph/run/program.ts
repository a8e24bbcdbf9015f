/**
 * A plan bound to a device: arenas are allocated, pipelines compiled and bind groups made once. Each run encodes the
 * same commands; it creates, writes and allocates nothing.
 */

import type { BoundCommands, UnboundCommand } from '../../gpu/bind.ts'
import { bindCommands } from '../../gpu/bind.ts'
import { refuseReleased } from '../../gpu/buffers.ts'
import type { BufferSlice, Command, Device, DeviceBuffer } from '../../gpu/device.ts'
import type { Target } from '../../kernels/kernel.ts'
import type { Choice } from '../plan/choice.ts'
import type { Location, Plan, PlanOptions, Wanted } from '../plan/plan.ts'
import { planGraph } from '../plan/plan.ts'
import type { PlacedKernel } from './bound-kernel.ts'
import { unboundCommands } from './bound-kernel.ts'

/** The target that kernels are planned for on this device. */
export function targetOf(device: Device): Target {
  return {
    class: device.facts.class,
    subgroupSize: device.subgroups.size,
    pinsSubgroups: device.subgroups.pinned,
    halfPrecision: device.precision === 'f16',
    ownKernelsOnly: device.facts.boundsChecks === false,
    maxWorkgroupSize: device.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupStorageBytes: device.limits.maxComputeWorkgroupStorageSize,
  }
}

/** The device's properties that a plan depends on. */
export function planLimitsOf(device: Device): Pick<PlanOptions, 'target' | 'maxBufferBytes' | 'maxBindingBytes'> {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits
  return {
    target: targetOf(device),
    maxBufferBytes: maxBufferSize,
    maxBindingBytes: maxStorageBufferBindingSize,
  }
}

/** Plans the values for this device. */
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

/** A plan with its memory and pipelines, ready to run any number of times. */
export class Program {
  readonly device: Device
  readonly choices: readonly Choice[]
  /** The location of each wanted value after a run, in order. */
  readonly results: readonly BufferSlice[]
  readonly arenaBytes: number
  readonly #label: string
  readonly #unbound: readonly UnboundCommand[]
  /** All buffers that the commands read and write. */
  readonly #buffers: ReadonlySet<DeviceBuffer>
  readonly #release: () => void
  #bound: BoundCommands
  /** The device's limit for a dispatch when the commands were bound. */
  #mostPerDispatch: number

  private constructor(
    device: Device,
    plan: Plan,
    parts: { readonly label: string; readonly unbound: readonly UnboundCommand[]; readonly bound: BoundCommands },
    results: readonly BufferSlice[],
    release: () => void,
  ) {
    this.device = device
    this.#label = parts.label
    this.#unbound = parts.unbound
    this.#bound = parts.bound
    this.#mostPerDispatch = device.mostPerDispatch
    this.choices = plan.choices
    this.results = results
    this.arenaBytes = plan.arenaBytes.reduce((sum, bytes) => sum + bytes, 0)
    this.#buffers = new Set(parts.unbound.flatMap((command) => command.slices.map((slice) => slice.buffer)))
    this.#release = release
  }

  /**
   * Binds the plan. `after` returns kernels that run after the graph's own and update memory in place, such as an
   * optimizer's. It receives the wanted values and the partial results of each deferred sum. On failure, frees
   * everything and throws 'limit' or 'device'.
   */
  static async create(
    device: Device,
    plan: Plan,
    label: string,
    after: (results: readonly BufferSlice[], partials: readonly BufferSlice[]) => readonly PlacedKernel[] = () => [],
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
        if (location.kind === 'arena') return numbered(arenas, location.arena).slice(location.offset, location.bytes)
        const { buffer, offset } = numbered(leaves, location.leaf)
        return buffer.slice(offset + location.offset, location.bytes)
      }
      const withScratch = (kernel: PlacedKernel): UnboundCommand[] => {
        const scratch = kernel.plan.scratchBytes.map((bytes, i) => allocate(bytes, `${label} scratch ${i}`))
        return unboundCommands(kernel, scratch)
      }
      const results = plan.results.map((result) => resolve(result.location))
      const unbound = [
        ...plan.dispatches.map(({ operands, ...dispatch }) => ({ ...dispatch, slices: operands.map(resolve) })),
        ...after(
          results,
          plan.deferred.map((sum) => resolve(sum.partial)),
        ).flatMap(withScratch),
      ]
      const bound = await bindCommands(device, unbound, label)
      return new Program(device, plan, { label, unbound, bound }, results, release)
    } catch (error) {
      release()
      throw error
    }
  }

  /** The bound dispatches of a run. Long ones are cut for a GPU: see `Device.mostPerDispatch`. */
  get commands(): readonly Command[] {
    return this.#bound.commands
  }

  /**
   * Submits `repeats` runs. Resolves when more may be submitted, not when the runs are done. Rejects with 'disposed' if
   * the program, or memory that it reads or writes, was disposed.
   */
  async run(repeats = 1): Promise<void> {
    refuseReleased(this.#buffers)
    if (this.#isCutBadly()) await this.#bindAgain()
    await this.device.submit(this.commands, repeats)
  }

  /** Whether the device turned out to be much faster or slower than when long dispatches were cut. */
  #isCutBadly(): boolean {
    const [before, now] = [this.#mostPerDispatch, this.device.mostPerDispatch]
    const wasCut = this.commands.length > this.#unbound.length
    const isFaster = now >= 4 * before && wasCut
    return isFaster || (before >= 4 * now && this.commands.some(({ work }) => work > now))
  }

  async #bindAgain(): Promise<void> {
    const { mostPerDispatch } = this.device
    const bound = await bindCommands(this.device, this.#unbound, this.#label)
    this.#bound.dispose()
    this.#bound = bound
    this.#mostPerDispatch = mostPerDispatch
  }

  /** Encodes and submits one run without waiting. The caller reads back or waits later. Throws 'disposed'. */
  runNow(): void {
    refuseReleased(this.#buffers)
    this.device.submitNow(this.commands)
  }

  /** Frees arenas, uniforms and temporary uploads, and with them all results without a destination. */
  dispose(): void {
    this.#bound.dispose()
    this.#release()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** The arena or leaf with this number. Throws RangeError if the plan has none. */
function numbered<T>(parts: readonly T[], number: number): T {
  const part = parts[number]
  if (part === undefined) throw new RangeError(`part ${number} of ${parts.length}`)
  return part
}
