/** The implementation of `Device` on WebGPU: puts the parts together. `device.ts` documents every member. */

import { WeftgradError } from '../errors.ts'
import { deviceName } from './adapter-info.ts'
import { BufferRegistry } from './buffers.ts'
import type {
  AdapterFacts,
  BufferSlice,
  BytesOf,
  Command,
  Device,
  DeviceBuffer,
  DeviceMemory,
  Run,
  Subgroups,
} from './device.ts'
import { FailureWatch, validated } from './failure.ts'
import { Pace } from './pace.ts'
import { PipelineCache } from './pipelines.ts'
import type { BindingAccess, Shader } from './shader.ts'
import { findSubgroups, sizeControl } from './subgroups.ts'
import { encodeAndSubmit, SubmissionQueue } from './submissions.ts'
import { timeOnDevice } from './timestamps.ts'
import { copy, readAll, write } from './transfers.ts'

class WebGpuDevice implements Device {
  readonly gpu: GPUDevice
  readonly facts: AdapterFacts
  readonly info: GPUAdapterInfo
  readonly limits: GPUSupportedLimits
  /** Set once, by `createDevice`. */
  subgroups: Subgroups = { size: undefined, pinned: false, problem: 'Subgroups were not tried.' }
  readonly timestamps: boolean
  readonly lost: Promise<WeftgradError>
  readonly #failure: FailureWatch
  readonly #buffers = new BufferRegistry(this)
  readonly #pipelines = new PipelineCache(this)
  readonly #pace: Pace
  readonly #submissions: SubmissionQueue

  constructor(gpu: GPUDevice, info: GPUAdapterInfo, facts: AdapterFacts) {
    this.gpu = gpu
    this.info = info
    this.facts = facts
    this.limits = gpu.limits
    this.timestamps = gpu.features.has('timestamp-query')
    this.#failure = new FailureWatch(gpu)
    this.lost = this.#failure.lost
    this.#pace = new Pace(facts.class)
    this.#submissions = new SubmissionQueue(this, this.#pace)
  }

  get usable(): boolean {
    return this.#failure.usable
  }

  describe(): string {
    const name = deviceName(this.info) || this.info.description || this.info.architecture || 'unknown adapter'
    const { size } = this.subgroups
    const lanes = size === undefined ? 'no fixed subgroups' : `subgroups of ${size}`
    return `${name} (${this.facts.driver}; ${this.facts.hardware ? 'hardware' : 'software'}, ${lanes})`
  }

  memory(): DeviceMemory {
    return this.#buffers.memory()
  }

  allocate(bytes: number, label: string): DeviceBuffer {
    return this.#buffers.allocate(bytes, label)
  }

  allocateUniforms(data: Uint32Array<ArrayBuffer>, label: string): DeviceBuffer {
    return this.#buffers.allocateUniforms(data, label)
  }

  write(slice: BufferSlice, data: ArrayBufferView<ArrayBuffer>): void {
    write(this, slice, data)
  }

  copy(from: BufferSlice, to: BufferSlice): void {
    copy(this, from, to)
  }

  async read(slice: BufferSlice): Promise<ArrayBuffer> {
    const [bytes] = await this.readAll([slice])
    return bytes
  }

  readAll<const Slices extends readonly BufferSlice[]>(slices: Slices): Promise<BytesOf<Slices>> {
    return readAll(this, slices)
  }

  pipeline(shader: Shader): Promise<GPUComputePipeline> {
    return this.#pipelines.pipeline(shader)
  }

  bindLayout(access: readonly BindingAccess[]): GPUBindGroupLayout {
    return this.#pipelines.layout(access)
  }

  get mostPerDispatch(): number {
    return this.#pace.mostPerDispatch
  }

  submit(commands: readonly Command[], repeats = 1): Promise<void> {
    return this.#submissions.submit(commands, repeats)
  }

  submitNow(commands: readonly Command[], repeats = 1): void {
    this.check()
    for (const portion of this.#pace.portions(commands, repeats)) encodeAndSubmit(this.gpu, portion)
  }

  idle(): Promise<void> {
    return this.#submissions.idle()
  }

  async timeOnDevice(commands: readonly Command[], repeats = 1): Promise<number> {
    const [milliseconds = 0] = await this.timeRuns([{ commands, repeats }])
    return milliseconds
  }

  async timeRuns(runs: readonly Run[]): Promise<number[]> {
    this.check()
    const portions = runs.map(({ commands, repeats }) => Array.from(this.#pace.portions(commands, repeats)))
    return timeOnDevice(this, portions)
  }

  validated<T>(what: string, create: () => T): Promise<T> {
    return validated(this, what, create)
  }

  guard<T>(promise: Promise<T>): Promise<T> {
    return this.#failure.guard(promise)
  }

  check(): void {
    this.#failure.check()
  }

  dispose(): void {
    this.#failure.markDisposed()
    this.#buffers.dispose()
    this.#pipelines.clear()
    this.gpu.destroy()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

const wantedFeatures: readonly GPUFeatureName[] = ['subgroups', sizeControl, 'timestamp-query']

/** Devices get WebGPU's small defaults for limits that are not requested. */
const wantedLimits = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxStorageBuffersPerShaderStage',
] as const

/**
 * Requests a device with the adapter's own limits and the features weftgrad uses. `open()` calls it, and makes the
 * device the one that tensors use.
 * @throws WeftgradError 'device' if the adapter refuses.
 */
export async function createDevice(adapter: GPUAdapter, facts: AdapterFacts): Promise<Device> {
  const gpu = await requested(adapter)
  const device = new WebGpuDevice(gpu, adapter.info, facts)
  try {
    device.subgroups = await findSubgroups(device)
  } catch (error) {
    device.dispose()
    throw error
  }
  return device
}

async function requested(adapter: GPUAdapter): Promise<GPUDevice> {
  try {
    return await adapter.requestDevice({
      label: 'weftgrad',
      requiredFeatures: wantedFeatures.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(wantedLimits.map((limit) => [limit, adapter.limits[limit]])),
    })
  } catch (cause) {
    throw new WeftgradError(
      'device',
      `The adapter ${adapter.info.description} refused to create a device: ${String(cause)}`,
      {},
      cause,
    )
  }
}

/** Whether a value is a device. */
export function isDevice(value: unknown): value is Device {
  return value instanceof WebGpuDevice
}
