/**
 * The contract of a device: what weftgrad asks of WebGPU. It knows bytes, shaders and submissions, and nothing of
 * tensors. `WebGpuDevice` implements it.
 *
 * Promises:
 * - Every buffer is accounted for: `memory()` counts live and peak bytes, so tests can assert that nothing leaks.
 * - Each distinct shader text is compiled once. A compile error shows the WGSL line.
 * - WebGPU reports most mistakes, and the loss of a device, out of band. Here they reject all pending work, and every
 *   later call, with one typed error ('device', 'device-lost' or 'disposed').
 */

import type { WeftgradError } from '../errors.ts'
import type { BindingAccess, Shader } from './shader.ts'

/** Facts about an adapter that WebGPU itself does not report. */
export interface AdapterFacts {
  /** `cpu`: a processor running Vulkan. Its kernels want one subgroup per workgroup and no barriers. */
  readonly class: 'cpu' | 'gpu'
  /** False for a software adapter. */
  readonly hardware: boolean
  /** The driver's name, for people to read. */
  readonly driver: string
  /** False if WebGPU's own checks in kernels are left out: only weftgrad's kernels may run. */
  readonly boundsChecks?: boolean
}

/** What kernels may rely on in a device's subgroups. `open()` finds it out by running a kernel. */
export interface Subgroups {
  /** Lanes of every subgroup; undefined if kernels must do without subgroups. */
  readonly size: number | undefined
  /** Whether shaders must ask for this size by `@subgroup_size`, because the adapter has several. */
  readonly pinned: boolean
  /** Why kernels must do without, in a sentence. */
  readonly problem: string | undefined
}

/**
 * What matrix products and convolutions may round their operands to: 'f16' halves what kernels for GPUs keep in workgroup
 * memory. Sums and everything stored stay float32.
 */
export type Precision = 'f32' | 'f16'

/** The memory that a device's buffers use. */
export interface DeviceMemory {
  /** Bytes allocated now. */
  readonly liveBytes: number
  /** Buffers that have not been disposed. */
  readonly liveBuffers: number
  /** The most bytes ever allocated at one time. */
  readonly peakBytes: number
}

/** Device memory with an owner. Contents start as zeros. */
export interface DeviceBuffer {
  /** The WebGPU buffer. */
  readonly gpu: GPUBuffer
  /** Its length in bytes, a multiple of 256. */
  readonly bytes: number
  /** Its name in errors and captures. */
  readonly label: string
  /** The owning device. */
  readonly device: Device
  /** False after `dispose`. */
  readonly live: boolean
  /**
   * Whether there was memory for it: 'yes' once WebGPU has answered. Until then use it for `write` only.
   * @internal
   */
  readonly allocated: 'unknown' | 'yes' | 'no'
  /**
   * Resolves once WebGPU has answered. Rejects with 'limit' if there was no memory.
   * @internal
   */
  readonly ready: Promise<void>
  /** A part of the buffer, starting at `offset` bytes; all of it by default. */
  slice(offset?: number, bytes?: number): BufferSlice
  /** Frees the memory. A second call does nothing. */
  dispose(): void
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void
}

/** A part of a buffer. Offsets are multiples of 256 bytes. */
export interface BufferSlice {
  /** The buffer it is part of. */
  readonly buffer: DeviceBuffer
  /** Bytes from the start of the buffer. */
  readonly offset: number
  /** Its length in bytes. */
  readonly bytes: number
}

/** The host's copies of slices, one each. */
export type BytesOf<Slices extends readonly BufferSlice[]> = { -readonly [I in keyof Slices]: ArrayBuffer }

/** One dispatch with everything bound: encoding it creates nothing. */
export interface Command {
  /** Its name in captures and errors. */
  readonly label: string
  /** The compiled kernel. */
  readonly pipeline: GPUComputePipeline
  /** The kernel's operands. */
  readonly bindGroup: GPUBindGroup
  /** Workgroups in x, y and z. */
  readonly workgroups: readonly [number, number, number]
  /** Operations, about: how much of a submission it takes up. */
  readonly work: number
}

/** Commands that run several times in a row. */
export interface Run {
  /** The commands, in order. */
  readonly commands: readonly Command[]
  /** How many times. */
  readonly repeats: number
}

/**
 * A WebGPU device: memory, pipelines, submissions, read-back. `open()` makes one. A failure rejects all pending work,
 * and every later call, with one WeftgradError: 'device', 'device-lost' or 'disposed'.
 */
export interface Device {
  /** The WebGPU device. */
  readonly gpu: GPUDevice
  /** Whether the adapter is hardware, and which driver it uses. */
  readonly facts: AdapterFacts
  /** WebGPU's description of the adapter. */
  readonly info: GPUAdapterInfo
  /** The device's limits. */
  readonly limits: GPUSupportedLimits
  /** The subgroups that kernels may rely on. */
  readonly subgroups: Subgroups
  /** What products may round their operands to. */
  readonly precision: Precision
  /** Whether the device can time its own work. */
  readonly timestamps: boolean
  /** Resolves when the device is gone, whoever destroyed it. */
  readonly lost: Promise<WeftgradError>
  /** False once the device was disposed, was lost or failed. */
  readonly usable: boolean

  /** Describes the adapter in one line: name, driver, class. */
  describe(): string
  /** The memory its buffers use now. */
  memory(): DeviceMemory

  /**
   * Allocates zeroed storage memory, which the caller owns. @throws WeftgradError 'limit' if it exceeds the adapter's
   * largest buffer.
   */
  allocate(bytes: number, label: string): DeviceBuffer
  /**
   * Copies host bytes to the device, in order with submissions. The length must be a whole number of 4-byte words.
   * @throws WeftgradError 'argument' if they do not fit, 'disposed'.
   */
  write(slice: BufferSlice, data: ArrayBufferView<ArrayBuffer>): void
  /**
   * Copies bytes from one buffer to another, in order with submissions.
   * @throws WeftgradError 'argument' if they do not fit, 'disposed'.
   */
  copy(from: BufferSlice, to: BufferSlice): void
  /** Copies device bytes to the host once all earlier submissions have run. */
  read(slice: BufferSlice): Promise<ArrayBuffer>
  /** Reads several slices with one submission and one wait; returns one buffer for each. */
  readAll<const Slices extends readonly BufferSlice[]>(slices: Slices): Promise<BytesOf<Slices>>

  /**
   * Compiles a shader, or returns the pipeline of an equal text.
   * @internal
   * @throws WeftgradError 'device' with the WGSL line at fault.
   */
  pipeline(shader: Shader): Promise<GPUComputePipeline>
  /**
   * The bind group layout with uniforms at 0 and storage of the given accesses at 1, 2, ...
   * @internal
   */
  bindLayout(access: readonly BindingAccess[]): GPUBindGroupLayout
  /**
   * Allocates memory for uniform blocks, written once.
   * @internal
   */
  allocateUniforms(data: Uint32Array<ArrayBuffer>, label: string): DeviceBuffer

  /**
   * The most operations of one dispatch. Longer ones are cut when they are bound.
   * @internal
   */
  readonly mostPerDispatch: number
  /**
   * Encodes the commands `repeats` times and submits about 100 ms of work at a time; each command sees what earlier ones
   * wrote. Resolves when the device may be given more work: at most two submissions are pending at a time.
   * @internal
   */
  submit(commands: readonly Command[], repeats?: number): Promise<void>
  /**
   * Encodes and submits without waiting; the caller reads back or calls `idle()` later.
   * @internal
   */
  submitNow(commands: readonly Command[], repeats?: number): void
  /** Resolves when everything submitted has run. */
  idle(): Promise<void>
  /**
   * Runs the commands `repeats` times in passes of their own and returns the milliseconds measured by the device.
   * @throws WeftgradError 'limit' if the adapter has no timestamps.
   * @internal
   */
  timeOnDevice(commands: readonly Command[], repeats?: number): Promise<number>
  /**
   * Runs each of `runs` in passes of its own, and returns the milliseconds of each, measured by the device. Waits once.
   * @throws WeftgradError 'limit' if the adapter has no timestamps.
   * @internal
   */
  timeRuns(runs: readonly Run[]): Promise<number[]>

  /**
   * Runs `create`, which makes GPU objects, and throws 'device' with `what` in the message if WebGPU finds a mistake in
   * it.
   * @internal
   */
  validated<T>(what: string, create: () => T): Promise<T>
  /**
   * Settles like `promise`, but rejects at once when the device fails or is lost.
   * @internal
   */
  guard<T>(promise: Promise<T>): Promise<T>
  /** Does nothing on a working device. @throws WeftgradError the failure, or 'disposed'. */
  check(): void

  /** Destroys the device and everything on it. Pending work rejects with 'disposed'. */
  dispose(): void
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void
}
