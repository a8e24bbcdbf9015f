/** WebGPU limited to what every adapter offers: default limits, no optional features. */
import { guaranteedLimits } from './recording-gpu.ts'

export function plainGpu(gpu: GPU): GPU {
  return changed(gpu, {
    requestAdapter: async (options?: GPURequestAdapterOptions) => {
      const adapter = await gpu.requestAdapter(options)
      return adapter && changed(adapter, { features: new Set(), limits: changed(adapter.limits, guaranteedLimits) })
    },
  })
}

/** Overrides some properties of a host object; they cannot be set, and its methods need the original as `this`. */
function changed<T extends object>(original: T, changes: Readonly<Record<string, unknown>>): T {
  return new Proxy(original, {
    get(target, key) {
      if (typeof key === 'string' && key in changes) return changes[key]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
