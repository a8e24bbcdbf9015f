/**
 * The device room: everything weftgrad asks of WebGPU goes through a `Device`. It knows bytes, shaders and submissions,
 * and nothing of tensors.
 *
 * Promises:
 * - Every buffer is accounted for: `memory()` tells live and peak bytes, so that tests can assert that nothing leaks.
 * - A shader is compiled once for each distinct text. A compile error shows the WGSL line.
 * - WebGPU reports most mistakes and the loss of a device out of band; here they reject whatever is pending, and every
 *   later call, with one typed error ('device', 'device-lost' or 'disposed').
 */

import { WeftgradError } from '../errors.ts'
import type { Shader } from './shader.ts'
import { describeCompilation, layoutEntries } from './shader.ts'

/** What is known of an adapter that WebGPU itself does not tell. */
export interface AdapterFacts {
  /** `cpu`: a processor running Vulkan; its kernels want one subgroup a workgroup and no barriers. */
  readonly class: 'cpu' | 'gpu'
  /** False for a processor that plays a GPU. */
  readonly hardware: boolean
  /** The driver as a person would name it. */
  readonly driver: string
}

/** What a device's buffers take. */
export interface DeviceMemory {
  /** Allocated now. */
  readonly liveBytes: number
  /** Buffers that were not disposed of. */
  readonly liveBuffers: number
  /** The most that was allocated at one time. */
  readonly peakBytes: number
}

/** Part of a buffer. Offsets are multiples of 256 bytes. */
export interface BufferSlice {
  /** Of which it is a part. */
  readonly buffer: DeviceBuffer
  /** Bytes from the buffer's start. */
  readonly offset: number
  /** Its length. */
  readonly bytes: number
}

/** One dispatch with everything bound: nothing is created when it is encoded. */
export interface Command {
  /** Names it in captures and errors. */
  readonly label: string
  /** The compiled kernel. */
  readonly pipeline: GPUComputePipeline
  /** Its operands. */
  readonly bindGroup: GPUBindGroup
  /** In x, y and z. */
  readonly workgroups: readonly [number, number, number]
}

/** Dispatches in order; each sees what those before it have written. */
export type Submission = readonly Command[]

export const sliceAlignment = 256

export function alignUp(bytes: number, alignment: number = sliceAlignment): number {
  return Math.ceil(bytes / alignment) * alignment
}

/** Device memory that somebody owns. Contents start as zeros. */
export class DeviceBuffer {
  /** WebGPU's own. */
  readonly gpu: GPUBuffer
  /** Its length, a multiple of 256. */
  readonly bytes: number
  /** Names it in errors and captures. */
  readonly label: string
  /** Whose memory it is. */
  readonly device: Device
  #live = true

  /**
   * Made by `Device.allocate`.
   * @internal
   */
  constructor(device: Device, gpu: GPUBuffer, label: string) {
    this.device = device
    this.gpu = gpu
    this.bytes = gpu.size
    this.label = label
  }

  /** False once it was disposed of. */
  get live(): boolean {
    return this.#live
  }

  /** A part of it, from `offset` bytes on; all of it by default. */
  slice(offset = 0, bytes: number = this.bytes - offset): BufferSlice {
    return { buffer: this, offset, bytes }
  }

  /** Gives the memory back; a second call does nothing. */
  dispose(): void {
    if (!this.#live) return
    this.#live = false
    this.device.released(this)
    this.gpu.destroy()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

const bufferUsage = 0x80 | 0x8 | 0x4 // STORAGE | COPY_DST | COPY_SRC
const uniformUsage = 0x40 | 0x8 // UNIFORM | COPY_DST
const stagingUsage = 0x1 | 0x8 // MAP_READ | COPY_DST

/** Browsers reject what is pending at once and tell of the loss later, by a message from their GPU process. */
const lossIsToldWithinMs = 1000

/**
 * A WebGPU device, and everything weftgrad asks of it: memory, pipelines, submissions, read-back. `open()` makes one. What
 * fails on it rejects whatever is pending, and every later call, with one WeftgradError: 'device', 'device-lost' or 'disposed'.
 */
export class Device {
  /** WebGPU's own. */
  readonly gpu: GPUDevice
  /** Whether it is hardware, and which driver. */
  readonly facts: AdapterFacts
  /** What WebGPU tells of the adapter. */
  readonly info: GPUAdapterInfo
  /** What the device allows. */
  readonly limits: GPUSupportedLimits
  /** Lanes that run in lockstep, where that number is fixed and subgroup operations are offered. */
  readonly subgroupSize: number | undefined
  /** Whether the device can time its own work. */
  readonly timestamps: boolean
  /** Resolves when the device is gone, whoever destroyed it. */
  readonly lost: Promise<WeftgradError>

  #failure: WeftgradError | undefined
  #disposed = false
  readonly #pending = new Set<(reason: WeftgradError) => void>()
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>()
  readonly #bindLayouts = new Map<string, GPUBindGroupLayout>()
  readonly #ownedBuffers = new Set<DeviceBuffer>()
  readonly #atDispose = new Set<() => void>()
  #liveBytes = 0
  #peakBytes = 0
  #inFlight: Promise<undefined>[] = []

  private constructor(gpu: GPUDevice, info: GPUAdapterInfo, facts: AdapterFacts) {
    this.gpu = gpu
    this.info = info
    this.facts = facts
    this.limits = gpu.limits
    this.subgroupSize =
      gpu.features.has('subgroups') && info.subgroupMinSize === info.subgroupMaxSize ? info.subgroupMaxSize : undefined
    this.timestamps = gpu.features.has('timestamp-query')
    gpu.addEventListener('uncapturederror', (event) => {
      this.#fail(new WeftgradError('device', `The WebGPU device refused a command: ${event.error.message}`))
    })
    this.lost = gpu.lost.then((lossInfo) => {
      const error = this.#disposed
        ? new WeftgradError('disposed', 'The device was disposed of; open another one.')
        : new WeftgradError(
            'device-lost',
            `The WebGPU device was lost (${lossInfo.message || lossInfo.reason}). Open a new device and resume from the last checkpoint.`,
            { reason: lossInfo.reason },
          )
      this.#fail(error)
      return error
    })
  }

  /**
   * Requests a device with the adapter's own limits and the features weftgrad uses; `open()` calls it.
   * @throws WeftgradError 'device' where it is refused.
   */
  static async create(adapter: GPUAdapter, facts: AdapterFacts): Promise<Device> {
    const wantedFeatures: GPUFeatureName[] = ['subgroups', 'timestamp-query']
    const wantedLimits = [
      'maxStorageBufferBindingSize',
      'maxBufferSize',
      'maxComputeWorkgroupStorageSize',
      'maxComputeInvocationsPerWorkgroup',
      'maxComputeWorkgroupSizeX',
      'maxStorageBuffersPerShaderStage',
    ] as const
    try {
      const gpu = await adapter.requestDevice({
        label: 'weftgrad',
        requiredFeatures: wantedFeatures.filter((feature) => adapter.features.has(feature)),
        requiredLimits: Object.fromEntries(wantedLimits.map((limit) => [limit, adapter.limits[limit]])),
      })
      return new Device(gpu, adapter.info, facts)
    } catch (cause) {
      throw new WeftgradError(
        'device',
        `The adapter ${adapter.info.description} would not give a device: ${String(cause)}`,
        {},
        cause,
      )
    }
  }

  /** One line for people: name, driver, class. */
  describe(): string {
    const name = this.info.device || this.info.description || this.info.architecture || 'unknown adapter'
    const lanes = this.subgroupSize === undefined ? 'no fixed subgroups' : `subgroups of ${this.subgroupSize}`
    return `${name} (${this.facts.driver}; ${this.facts.hardware ? 'hardware' : 'software'}, ${lanes})`
  }

  /** What its buffers take now, for tests that nothing leaks. */
  memory(): DeviceMemory {
    return { liveBytes: this.#liveBytes, liveBuffers: this.#ownedBuffers.size, peakBytes: this.#peakBytes }
  }

  /** Zeroed storage memory, which the caller owns. @throws WeftgradError 'limit' where the adapter cannot hold it in one buffer. */
  allocate(bytes: number, label: string): DeviceBuffer {
    return this.#allocate(Math.max(sliceAlignment, alignUp(bytes)), label, bufferUsage)
  }

  /**
   * Memory for uniform blocks, written once.
   * @internal
   */
  allocateUniforms(data: Uint32Array<ArrayBuffer>, label: string): DeviceBuffer {
    const buffer = this.#allocate(Math.max(16, data.byteLength), label, uniformUsage)
    this.gpu.queue.writeBuffer(buffer.gpu, 0, data)
    return buffer
  }

  #allocate(bytes: number, label: string, usage: number): DeviceBuffer {
    this.check()
    if (bytes > this.limits.maxBufferSize) {
      throw new WeftgradError(
        'limit',
        `${label} needs ${bytes} bytes, and this adapter allows ${this.limits.maxBufferSize} bytes a buffer. Use a smaller batch or split the tensor.`,
        { bytes, maxBufferSize: this.limits.maxBufferSize },
      )
    }
    const buffer = new DeviceBuffer(this, this.gpu.createBuffer({ label, size: bytes, usage }), label)
    this.#ownedBuffers.add(buffer)
    this.#liveBytes += buffer.bytes
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes)
    return buffer
  }

  /**
   * Called by a buffer that is disposed of.
   * @internal
   */
  released(buffer: DeviceBuffer): void {
    if (this.#ownedBuffers.delete(buffer)) this.#liveBytes -= buffer.bytes
  }

  /**
   * Copies host bytes to the device; ordered with submissions. Lengths are rounded up to whole words by the caller.
   * @throws WeftgradError 'argument' where they do not fit, 'disposed'.
   */
  write(slice: BufferSlice, data: ArrayBufferView<ArrayBuffer>): void {
    this.check()
    refuseReleased([slice.buffer])
    if (data.byteLength > slice.bytes || data.byteLength % 4 !== 0) {
      throw new WeftgradError(
        'argument',
        `Cannot write ${data.byteLength} bytes into ${slice.bytes} of ${slice.buffer.label}.`,
      )
    }
    this.gpu.queue.writeBuffer(slice.buffer.gpu, slice.offset, data.buffer, data.byteOffset, data.byteLength)
  }

  /**
   * Copies bytes from one buffer to another, in order with submissions.
   * @throws WeftgradError 'argument' where they do not fit, 'disposed'.
   */
  copy(from: BufferSlice, to: BufferSlice): void {
    this.check()
    refuseReleased([from.buffer, to.buffer])
    if (from.bytes > to.bytes || from.bytes % 4 !== 0)
      throw new WeftgradError(
        'argument',
        `Cannot copy ${from.bytes} bytes of ${from.buffer.label} into ${to.bytes} of ${to.buffer.label}.`,
      )
    const encoder = this.gpu.createCommandEncoder({ label: 'copy' })
    encoder.copyBufferToBuffer(from.buffer.gpu, from.offset, to.buffer.gpu, to.offset, from.bytes)
    this.gpu.queue.submit([encoder.finish()])
  }

  /** Copies device bytes to the host once all that was submitted before has run. */
  async read(slice: BufferSlice): Promise<ArrayBuffer> {
    const [bytes] = await this.readAll([slice])
    return bytes ?? new ArrayBuffer(0)
  }

  /** Reads several slices with one submission and one wait. */
  async readAll(slices: readonly BufferSlice[]): Promise<ArrayBuffer[]> {
    this.check()
    refuseReleased(slices.map((slice) => slice.buffer))
    const offsets: number[] = []
    let total = 0
    for (const slice of slices) {
      offsets.push(total)
      total += alignUp(slice.bytes, 16)
    }
    const staging = this.gpu.createBuffer({ label: 'read-back', size: Math.max(16, total), usage: stagingUsage })
    try {
      const encoder = this.gpu.createCommandEncoder({ label: 'read-back' })
      slices.forEach((slice, i) => {
        const size = alignUp(slice.bytes, 4)
        if (size > 0) encoder.copyBufferToBuffer(slice.buffer.gpu, slice.offset, staging, offsets[i] ?? 0, size)
      })
      this.gpu.queue.submit([encoder.finish()])
      await this.guard(staging.mapAsync(0x1 /* READ */))
      const mapped = staging.getMappedRange()
      return slices.map((slice, i) => mapped.slice(offsets[i] ?? 0, (offsets[i] ?? 0) + slice.bytes))
    } finally {
      staging.destroy()
    }
  }

  /**
   * Compiles a shader, or returns the pipeline that an equal text already has.
   * @internal
   * @throws WeftgradError 'device' with the WGSL line at fault.
   */
  pipeline(shader: Shader): Promise<GPUComputePipeline> {
    const key = `${shader.access.join()}|${shader.wgsl}`
    let pipeline = this.#pipelines.get(key)
    if (pipeline === undefined) {
      this.check()
      pipeline = this.#compile(shader)
      this.#pipelines.set(key, pipeline)
      pipeline.catch(() => this.#pipelines.delete(key))
    }
    return pipeline
  }

  async #compile(shader: Shader): Promise<GPUComputePipeline> {
    const { gpu } = this
    gpu.pushErrorScope('validation')
    const module = gpu.createShaderModule({ label: shader.label, code: shader.wgsl })
    const layout = gpu.createPipelineLayout({ label: shader.label, bindGroupLayouts: [this.bindLayout(shader.access)] })
    const made = gpu
      .createComputePipelineAsync({ label: shader.label, layout, compute: { module, entryPoint: 'main' } })
      .then(
        (pipeline) => ({ pipeline, reason: '' }),
        (cause: unknown) => ({ pipeline: undefined, reason: String(cause) }),
      )
    const validation = await this.guard(gpu.popErrorScope())
    const { pipeline, reason } = await this.guard(made)
    if (validation === null && pipeline !== undefined) return pipeline
    const detail = describeCompilation(shader, await this.guard(module.getCompilationInfo()))
    throw new WeftgradError(
      'device',
      `The kernel ${shader.label} does not compile: ${detail || validation?.message || reason}`,
      {
        wgsl: shader.wgsl,
      },
    )
  }

  /**
   * The bind group layout for uniforms at 0 and storage of the given accesses at 1, 2, ...
   * @internal
   */
  bindLayout(access: readonly ('read' | 'read_write')[]): GPUBindGroupLayout {
    const key = access.join()
    let layout = this.#bindLayouts.get(key)
    if (layout === undefined) {
      layout = this.gpu.createBindGroupLayout({ label: key, entries: layoutEntries(access) })
      this.#bindLayouts.set(key, layout)
    }
    return layout
  }

  /**
   * Encodes the commands `repeats` times into one compute pass and submits it. Resolves when the device may be given
   * more work: at most `inFlight` submissions are under way at a time.
   * @internal
   */
  async submit(commands: Submission, repeats = 1, inFlight = 2): Promise<void> {
    this.check()
    this.#encode(commands, repeats)
    const done = this.guard(this.gpu.queue.onSubmittedWorkDone())
    done.catch(() => undefined) // a failure reaches whoever waits for the oldest submission, or the next call
    this.#inFlight.push(done)
    while (this.#inFlight.length >= inFlight) await this.#inFlight.shift()
  }

  /**
   * Encodes and submits without waiting; the caller reads back or calls `idle()` later.
   * @internal
   */
  submitNow(commands: Submission, repeats = 1): void {
    this.check()
    this.#encode(commands, repeats)
  }

  #encode(commands: Submission, repeats: number, timestampWrites?: GPUComputePassTimestampWrites): void {
    const encoder = this.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass(timestampWrites === undefined ? undefined : { timestampWrites })
    for (let i = 0; i < repeats; i++) {
      for (const command of commands) {
        pass.setPipeline(command.pipeline)
        pass.setBindGroup(0, command.bindGroup)
        pass.dispatchWorkgroups(...command.workgroups)
      }
    }
    pass.end()
    this.gpu.queue.submit([encoder.finish()])
  }

  /** Resolves when everything submitted has run. */
  async idle(): Promise<void> {
    this.check()
    this.#inFlight = []
    await this.guard(this.gpu.queue.onSubmittedWorkDone())
  }

  /**
   * Runs the commands `repeats` times in a pass of their own and returns the milliseconds the device itself counted.
   * @throws WeftgradError 'limit' where the adapter has no timestamps.
   * @internal
   */
  async timeOnDevice(commands: Submission, repeats = 1): Promise<number> {
    if (!this.timestamps)
      throw new WeftgradError('limit', 'This adapter has no timestamps; measure by the clock instead.')
    const querySet = this.gpu.createQuerySet({ type: 'timestamp', count: 2 })
    const resolved = this.gpu.createBuffer({ size: 16, usage: 0x200 | 0x4 /* QUERY_RESOLVE | COPY_SRC */ })
    const staging = this.gpu.createBuffer({ size: 16, usage: stagingUsage })
    try {
      this.#encode(commands, repeats, { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 })
      const encoder = this.gpu.createCommandEncoder()
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0)
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16)
      this.gpu.queue.submit([encoder.finish()])
      await this.guard(staging.mapAsync(0x1))
      const [begin = 0n, end = 0n] = new BigUint64Array(staging.getMappedRange())
      return Number(end - begin) / 1e6
    } finally {
      querySet.destroy()
      resolved.destroy()
      staging.destroy()
    }
  }

  /**
   * Runs `create`, which makes GPU objects, and throws 'device' with `what` in the sentence if WebGPU finds a mistake in it.
   * @internal
   */
  async validated<T>(what: string, create: () => T): Promise<T> {
    this.check()
    this.gpu.pushErrorScope('validation')
    let made: T
    try {
      made = create()
    } catch (error) {
      await this.guard(this.gpu.popErrorScope())
      throw error
    }
    const error = await this.guard(this.gpu.popErrorScope())
    if (error !== null) throw new WeftgradError('device', `${what} was refused by the device: ${error.message}`)
    return made
  }

  /**
   * Settles like `promise`, but rejects at once when the device fails or is lost.
   * @internal
   */
  guard<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure !== undefined) {
        promise.catch(() => undefined)
        reject(this.#failure)
        return
      }
      this.#pending.add(reject)
      promise.then(
        (value) => {
          this.#pending.delete(reject)
          if (this.#failure === undefined) resolve(value)
          else reject(this.#failure)
        },
        (reason: unknown) => {
          // A map or wait that fails because the device is going away: the loss itself is the better answer.
          setTimeout(() => {
            this.#pending.delete(reject)
            reject(
              this.#failure ?? new WeftgradError('device', `The WebGPU device failed: ${String(reason)}`, {}, reason),
            )
          }, lossIsToldWithinMs)
        },
      )
    })
  }

  /** Does nothing on a device that works. @throws WeftgradError what the device failed with, or 'disposed'. */
  check(): void {
    if (this.#disposed) throw new WeftgradError('disposed', 'The device was disposed of; open another one.')
    if (this.#failure !== undefined) throw this.#failure
  }

  /** False once it was disposed of, was lost or failed. */
  get usable(): boolean {
    return !this.#disposed && this.#failure === undefined
  }

  /**
   * Registers what must be released with the device (caches of plans and shared arenas).
   * @internal
   */
  atDispose(release: () => void): void {
    this.#atDispose.add(release)
  }

  /** Destroys the device and everything on it. Pending work rejects with 'disposed'. */
  dispose(): void {
    if (this.#disposed) return
    for (const release of this.#atDispose) release()
    this.#disposed = true
    for (const buffer of [...this.#ownedBuffers]) buffer.dispose()
    this.#pipelines.clear()
    this.#bindLayouts.clear()
    this.gpu.destroy()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  #fail(error: WeftgradError): void {
    this.#failure ??= error
    for (const reject of [...this.#pending]) reject(this.#failure)
    this.#pending.clear()
  }
}

/** Throws 'disposed' for memory that was given back; WebGPU would let the whole device fail over its use. */
export function refuseReleased(buffers: Iterable<DeviceBuffer>): void {
  for (const { live, label } of buffers)
    if (!live) throw new WeftgradError('disposed', `${label} was disposed of and cannot be used any more.`)
}

let current: Device | undefined

/**
 * The device that tensors made from host values are computed on: the one opened last.
 * @throws WeftgradError 'no-adapter' if there is none, or it cannot be used any more.
 */
export function currentDevice(): Device {
  if (current === undefined || !current.usable) {
    throw new WeftgradError('no-adapter', 'No device is open. Call `await open()` first.')
  }
  return current
}

export function setCurrentDevice(device: Device): void {
  current = device
}
