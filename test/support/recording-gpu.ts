/**
 * A `navigator.gpu` that records what it is given and computes nothing: any limits, features and subgroup sizes, for
 * tests of how work is laid out on adapters that are not at hand. Everything read back is zero, except timestamps if it
 * has a clock. What exceeds the limits is recorded as well, in sentences.
 */

import type { SimulatedClock } from './simulated-clock.ts'

export interface RecordingOptions {
  readonly limits?: Readonly<Record<string, number>>
  /** The subgroup size; undefined leaves the feature out. */
  readonly subgroupSize?: number
  readonly timestamps?: boolean
  /** True makes it a software adapter. */
  readonly software?: boolean
  /** Tells how long dispatches take; without one they take no time. */
  readonly clock?: SimulatedClock
}

/** One dispatch of a submission. */
export interface RecordedDispatch {
  readonly label: string
  readonly wgsl: string
  readonly bindGroup: GPUBindGroup
  readonly workgroups: readonly number[]
}

interface RecordedPass {
  readonly dispatches: readonly RecordedDispatch[]
  readonly timestamps: GPUComputePassTimestampWrites | undefined
}

/** What a command buffer does, in order. */
type RecordedCommand = RecordedPass | (() => void)

/** Memory of which only timestamps are kept. */
interface RecordedBuffer {
  readonly size: number
  timestamps?: BigUint64Array<ArrayBuffer>
}

/** The limits of a large GPU. */
export const largeLimits = {
  maxBufferSize: 2 ** 32,
  maxStorageBufferBindingSize: 2 ** 31 - 4,
  maxStorageBuffersPerShaderStage: 10,
  maxComputeWorkgroupStorageSize: 32768,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupsPerDimension: 65535,
}

/** The limits that every adapter must have: https://www.w3.org/TR/webgpu/#limit-default */
export const guaranteedLimits = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
}

type Limits = typeof guaranteedLimits

/** Bytes of an element of workgroup memory. */
const elementBytes: Readonly<Record<string, number>> = { f32: 4, u32: 4, vec2f: 8, vec4f: 16, vec2u: 8, vec4u: 16 }

/** Lanes of a workgroup of a shader, and bytes of its workgroup memory. */
function workgroupOf(wgsl: string): { readonly lanes: number; readonly bytes: number } {
  const lanes = Number(/@workgroup_size\((\d+)\)/.exec(wgsl)?.[1] ?? Number.NaN)
  const declared = wgsl.match(/var<workgroup>/g)?.length ?? 0
  const arrays = [...wgsl.matchAll(/var<workgroup> \w+: array<(\w+), (\d+)>;/g)]
  if (Number.isNaN(lanes) || arrays.length !== declared) throw new Error(`a workgroup of another form: ${wgsl}`)
  const sizes = arrays.map(([, element = '', count]) => (elementBytes[element] ?? Number.NaN) * Number(count))
  return { lanes, bytes: sizes.reduce((a, b) => a + b, 0) }
}

export class RecordingGpu {
  /** The dispatches of each submission that has any, in order. */
  readonly submissions: RecordedDispatch[][] = []
  /** Every shader text. */
  readonly shaders = new Set<string>()
  /** What a device with these limits refuses. */
  readonly refusals: string[] = []
  readonly #options: RecordingOptions

  constructor(options: RecordingOptions = {}) {
    this.#options = options
  }

  /** For `open({ gpu })`. */
  get gpu(): GPU {
    return { requestAdapter: async () => this.#adapter() } as unknown as GPU
  }

  #adapter(): unknown {
    const { limits, subgroupSize, timestamps = true, software = false } = this.#options
    const features = new Set([
      ...(timestamps ? ['timestamp-query'] : []),
      ...(subgroupSize === undefined ? [] : ['subgroups']),
    ])
    const own = { ...largeLimits, ...limits }
    const info = {
      ...{ vendor: 'recording', architecture: '', device: '', description: 'a recording' },
      ...{ isFallbackAdapter: software, subgroupMinSize: subgroupSize, subgroupMaxSize: subgroupSize },
    }
    return { features, limits: own, info, requestDevice: async () => this.#device(features, own) }
  }

  /** Notes a refusal unless the number is within the limit. */
  #check(what: string, amount: number, limit: number): void {
    if (!(amount <= limit)) this.refusals.push(`${what}: ${amount} of ${limit}`)
  }

  #checkPipeline({ label, layout, compute }: GPUComputePipelineDescriptor, limits: Limits): void {
    const { bindGroupLayouts } = layout as unknown as { bindGroupLayouts: GPUBindGroupLayoutDescriptor[] }
    const entries = [...(bindGroupLayouts[0]?.entries ?? [])]
    const storage = entries.filter(({ buffer }) => buffer?.type !== 'uniform')
    const { lanes, bytes } = workgroupOf((compute.module as unknown as { code: string }).code)
    this.#check(`storage buffers of ${label}`, storage.length, limits.maxStorageBuffersPerShaderStage)
    this.#check(`lanes of ${label}`, lanes, limits.maxComputeInvocationsPerWorkgroup)
    this.#check(`lanes in x of ${label}`, lanes, limits.maxComputeWorkgroupSizeX)
    this.#check(`workgroup memory of ${label}`, bytes, limits.maxComputeWorkgroupStorageSize)
  }

  #checkBindGroup({ label, entries }: GPUBindGroupDescriptor, limits: Limits): void {
    for (const { resource } of entries) {
      const { buffer, size } = resource as GPUBufferBinding
      this.#check(`a binding of ${label}`, size ?? buffer.size, limits.maxStorageBufferBindingSize)
    }
  }

  #device(features: ReadonlySet<string>, limits: Limits): unknown {
    return {
      ...{ features, limits, lost: new Promise(() => undefined) },
      ...{ addEventListener() {}, pushErrorScope() {}, destroy() {} },
      popErrorScope: async () => null,
      createBuffer: (descriptor: GPUBufferDescriptor) => {
        this.#check(`buffer ${descriptor.label}`, descriptor.size, limits.maxBufferSize)
        return this.#buffer(descriptor)
      },
      createShaderModule: ({ label, code }: GPUShaderModuleDescriptor) => {
        this.shaders.add(code)
        return { label, code, getCompilationInfo: async () => ({ messages: [] }) }
      },
      createBindGroupLayout: (descriptor: unknown) => descriptor,
      createPipelineLayout: (descriptor: unknown) => descriptor,
      createBindGroup: (descriptor: GPUBindGroupDescriptor) => {
        this.#checkBindGroup(descriptor, limits)
        return { ...descriptor }
      },
      createQuerySet: ({ count }: GPUQuerySetDescriptor) => ({ values: new BigUint64Array(count), destroy() {} }),
      createComputePipelineAsync: async (descriptor: GPUComputePipelineDescriptor) => {
        this.#checkPipeline(descriptor, limits)
        const { label, compute } = descriptor
        const { code } = compute.module as unknown as { code: string }
        this.#options.clock?.compile(code)
        return { label, wgsl: code }
      },
      createCommandEncoder: () => encoder(),
      queue: {
        submit: (buffers: readonly RecordedCommand[][]) => {
          const commands = buffers.flat()
          for (const command of commands)
            if (typeof command !== 'function')
              for (const { label, workgroups } of command.dispatches)
                this.#check(`workgroups of ${label}`, Math.max(...workgroups), limits.maxComputeWorkgroupsPerDimension)
          this.#submit(commands)
        },
        writeBuffer() {},
        onSubmittedWorkDone: async () => this.#options.clock?.done(),
      },
    }
  }

  #submit(commands: readonly RecordedCommand[]): void {
    const passes = commands.filter((command) => typeof command !== 'function')
    const dispatches = passes.flatMap((pass) => pass.dispatches)
    if (dispatches.length > 0) this.submissions.push(dispatches)
    this.#options.clock?.submit()
    for (const command of commands) {
      if (typeof command === 'function') command()
      else this.#run(command)
    }
  }

  #run({ dispatches, timestamps }: RecordedPass): void {
    const { begin = 0n, end = 0n } = this.#options.clock?.run(dispatches) ?? {}
    if (timestamps === undefined) return
    const { values } = timestamps.querySet as unknown as { values: BigUint64Array }
    values[timestamps.beginningOfPassWriteIndex ?? 0] = begin
    values[timestamps.endOfPassWriteIndex ?? 0] = end
  }

  #buffer({ size, usage, label }: GPUBufferDescriptor): unknown {
    const buffer: RecordedBuffer & object = {
      size,
      ...{ usage, label, destroy() {}, unmap() {} },
      ...{ mapAsync: async () => this.#options.clock?.done() },
      ...{ getMappedRange: () => buffer.timestamps?.buffer ?? this.#answer(new Uint32Array(size / 4)) },
    }
    return buffer
  }

  /** The probe of subgroups reads back what an adapter that reports the truth would have written. */
  #answer(words: Uint32Array<ArrayBuffer>): ArrayBuffer {
    const { subgroupSize } = this.#options
    const [last] = this.submissions.at(-1) ?? []
    if (subgroupSize !== undefined && last?.label === 'subgroups')
      for (let i = 0; i < words.length / 4; i++)
        words.set([subgroupSize, i % subgroupSize, subgroupSize, subgroupSize - 1], i * 4)
    return words.buffer
  }
}

/** Records its passes and copies; its command buffer is the list of them. */
function encoder(): unknown {
  const commands: RecordedCommand[] = []
  return {
    beginComputePass: ({ timestampWrites }: GPUComputePassDescriptor = {}) => {
      const dispatches: RecordedDispatch[] = []
      commands.push({ dispatches, timestamps: timestampWrites })
      return pass(dispatches)
    },
    copyBufferToBuffer: (from: RecordedBuffer, _: number, to: RecordedBuffer) =>
      commands.push(() => {
        if (from.timestamps !== undefined) to.timestamps = from.timestamps
      }),
    resolveQuerySet: ({ values }: { values: BigUint64Array }, first: number, count: number, to: RecordedBuffer) =>
      commands.push(() => {
        to.timestamps = BigUint64Array.from(values.subarray(first, first + count))
      }),
    finish: () => commands,
  }
}

function pass(dispatches: RecordedDispatch[]): unknown {
  let pipeline = { label: '', wgsl: '' }
  let bindGroup: unknown
  return {
    setPipeline: (next: typeof pipeline) => {
      pipeline = next
    },
    setBindGroup: (_: number, next: unknown) => {
      bindGroup = next
    },
    dispatchWorkgroups: (...workgroups: number[]) => {
      dispatches.push({ ...pipeline, bindGroup: bindGroup as GPUBindGroup, workgroups })
    },
    end() {},
  }
}
