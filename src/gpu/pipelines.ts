/** Compiled shaders: one pipeline per distinct text, one layout per list of bindings. */

import { WeftgradError } from '../errors.ts'
import type { Device } from './device.ts'
import type { BindingAccess, Shader } from './shader.ts'

export class PipelineCache {
  readonly #device: Device
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>()
  readonly #layouts = new Map<string, GPUBindGroupLayout>()

  constructor(device: Device) {
    this.#device = device
  }

  /**
   * Compiles a shader, or returns the pipeline of an equal text. A refused shader is compiled again at the next call.
   */
  pipeline(shader: Shader): Promise<GPUComputePipeline> {
    const key = `${shader.access.join()}|${shader.wgsl}`
    let pipeline = this.#pipelines.get(key)
    if (pipeline === undefined) {
      this.#device.check()
      pipeline = this.#compile(shader)
      this.#pipelines.set(key, pipeline)
      pipeline.catch(() => this.#pipelines.delete(key))
    }
    return pipeline
  }

  async #compile(shader: Shader): Promise<GPUComputePipeline> {
    const device = this.#device
    const { gpu } = device
    const { label, wgsl } = shader
    gpu.pushErrorScope('validation')
    const module = gpu.createShaderModule({ label, code: wgsl })
    const layout = gpu.createPipelineLayout({ label, bindGroupLayouts: [this.layout(shader.access)] })
    const compiling = gpu.createComputePipelineAsync({ label, layout, compute: { module, entryPoint: 'main' } }).then(
      (pipeline) => ({ pipeline, reason: '' }),
      (cause: unknown) => ({ pipeline: undefined, reason: String(cause) }),
    )
    const validation = await device.guard(gpu.popErrorScope())
    const { pipeline, reason } = await device.guard(compiling)
    if (validation === null && pipeline !== undefined) return pipeline
    const detail = describeErrors(wgsl, await device.guard(module.getCompilationInfo()))
    throw new WeftgradError(
      'device',
      `The kernel ${label} does not compile: ${detail || validation?.message || reason}`,
      { wgsl },
    )
  }

  /** The bind group layout with uniforms at 0 and storage of the given accesses at 1, 2, ... */
  layout(access: readonly BindingAccess[]): GPUBindGroupLayout {
    const key = access.join()
    let layout = this.#layouts.get(key)
    if (layout === undefined) {
      layout = this.#device.gpu.createBindGroupLayout({ label: key, entries: layoutEntries(access) })
      this.#layouts.set(key, layout)
    }
    return layout
  }

  clear(): void {
    this.#pipelines.clear()
    this.#layouts.clear()
  }
}

function layoutEntries(access: readonly BindingAccess[]): GPUBindGroupLayoutEntry[] {
  const types: GPUBufferBindingType[] = [
    'uniform',
    ...access.map((a) => (a === 'read' ? 'read-only-storage' : 'storage')),
  ]
  return types.map((type, binding) => ({ binding, visibility: 0x4 /* COMPUTE */, buffer: { type } }))
}

/** The compiler's errors, each with the line it complains about. */
function describeErrors(wgsl: string, info: GPUCompilationInfo): string {
  const lines = wgsl.split('\n')
  return info.messages
    .filter((message) => message.type === 'error')
    .map((message) => `${message.message}\n  ${message.lineNum}: ${lines[message.lineNum - 1] ?? ''}`)
    .join('\n')
}
