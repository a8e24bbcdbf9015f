/** The browser's devices for tests, including one with the least that WebGPU guarantees. */

import { afterAll, beforeAll } from 'vitest'
import type { Device } from 'weftgrad'
import { open } from 'weftgrad'

/** Opens a device before the file's tests and disposes it afterwards; call the result inside tests. */
export function useBrowserDevice(gpu: GPU = navigator.gpu): () => Device {
  let device: Device | undefined
  beforeAll(async () => {
    device = await open({ gpu })
  })
  afterAll(() => device?.dispose())
  return () => {
    if (device === undefined) throw new Error('the device is opened before the first test')
    return device
  }
}

/** The limits that every adapter must have: https://www.w3.org/TR/webgpu/#limit-default */
const defaultLimits: Readonly<Record<string, number>> = {
  maxStorageBufferBindingSize: 2 ** 27,
  maxBufferSize: 2 ** 28,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxStorageBuffersPerShaderStage: 8,
}

/** The browser's WebGPU limited to what every WebGPU offers: default limits, no subgroups, no timestamps. */
export function plainGpu(gpu: GPU = navigator.gpu): GPU {
  return changed(gpu, {
    requestAdapter: async (options?: GPURequestAdapterOptions) => {
      const adapter = await gpu.requestAdapter(options)
      return adapter && changed(adapter, { features: new Set(), limits: changed(adapter.limits, defaultLimits) })
    },
  })
}

/** Overrides some properties of a browser object; they cannot be set, and its methods need the original as `this`. */
function changed<T extends object>(original: T, changes: Readonly<Record<string, unknown>>): T {
  return new Proxy(original, {
    get(target, key) {
      if (typeof key === 'string' && key in changes) return changes[key]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
