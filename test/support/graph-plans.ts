/** Plans made without a device, and the bindings of their dispatches; tensors kept on a device. */
import type { Device } from '../../src/gpu/device.ts'
import type { Location, Plan, PlannedDispatch, PlanOptions } from '../../src/graph/plan/plan.ts'
import { planGraph } from '../../src/graph/plan/plan.ts'
import type { KeptTensor } from '../../src/index.ts'
import { type Tensor, tensor } from '../../src/index.ts'
import type { Target } from '../../src/kernels/kernel.ts'

export const seed = 20_250_101

/** A target for plans without a device. */
export const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16_384 }

export function planned(tensors: readonly Tensor[], options: Partial<PlanOptions> = {}): Plan {
  return planGraph(
    tensors.map(({ value }) => ({ value })),
    { target, ...options },
  )
}

/** The identity of the buffer that WebGPU sees. */
export function bufferOf(location: Location): unknown {
  if (location.kind === 'buffer') return location.slice.buffer
  return location.kind === 'arena' ? `arena ${location.arena}` : `leaf ${location.leaf}`
}

export function operandsOf(dispatch: PlannedDispatch, access: 'read' | 'read_write'): Location[] {
  return dispatch.operands.filter((_, i) => dispatch.access[i] === access)
}

/** Dispatches that bind a buffer both ways, which WebGPU refuses even for disjoint ranges. */
export function conflicts(plan: Plan): string[] {
  return plan.dispatches.flatMap((dispatch) => {
    const written = new Set(operandsOf(dispatch, 'read_write').map(bufferOf))
    const both = operandsOf(dispatch, 'read')
      .map(bufferOf)
      .filter((buffer) => written.has(buffer))
    return both.map((buffer) => `${dispatch.label}: ${String(buffer)}`)
  })
}

/** Keeps tensors of given numbers on a device. */
export const keptOn =
  (device: () => Device) =>
  async (...numbers: number[]): Promise<KeptTensor> =>
    tensor(numbers).keep({ device: device() })
