/**
 * Computes tensors once: plans the graph (or finds the plan of an equal one), binds it, submits it, reads the results
 * back and releases everything. Training keeps a `Program` instead; both use the same planner.
 */

import { wordBytes } from '../../gpu/alignment.ts'
import { currentDevice } from '../../gpu/current-device.ts'
import type { BufferSlice, Device } from '../../gpu/device.ts'
import { isDevice } from '../../gpu/webgpu-device.ts'
import type { OptionKinds } from '../../options.ts'
import { aFlag, anObject, checkOptions } from '../../options.ts'
import type { TensorType, Value } from '../node.ts'
import { isNode, leafOp, topologicalOrder } from '../node.ts'
import { PlanCache } from '../plan/cache.ts'
import type { VariantTable } from '../plan/choice.ts'
import type { Plan } from '../plan/plan.ts'
import { bytesOf } from '../plan/plan.ts'
import { Program, planFor, planLimitsOf } from './program.ts'

/** Numbers read back, row-major; the array type follows the dtype (f32, u32 or u8). */
export type HostNumbers = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

/** Options for computing tensors: where and how. */
export interface EvaluateOptions {
  /** The device to run on; by default the leaves' device, else the one opened last. */
  readonly device?: Device
  /** Kernel variants to use instead of the preferred ones. */
  readonly variants?: VariantTable
  /** False runs the graph as traced, one kernel per operator. */
  readonly fuse?: boolean
}

const planCaches = new WeakMap<Device, PlanCache>()

export const evaluateKinds: OptionKinds<EvaluateOptions> = {
  device: ['a device', isDevice],
  variants: anObject,
  fuse: aFlag,
}

function deviceOf(values: readonly Value[], options: EvaluateOptions): Device {
  checkOptions('evaluate', options, evaluateKinds)
  if (options.device !== undefined) return options.device
  for (const node of topologicalOrder(values))
    if (isNode(node, leafOp) && node.attributes.storage.device !== undefined) return node.attributes.storage.device
  return currentDevice()
}

/** The plan that evaluating these values would run. */
export function planValues(values: readonly Value[], options: EvaluateOptions = {}): Plan {
  const device = deviceOf(values, options)
  let cache = planCaches.get(device)
  if (cache === undefined) {
    cache = new PlanCache()
    planCaches.set(device, cache)
  }
  return cache.plan(values, {
    ...planLimitsOf(device),
    variants: options.variants,
    fuse: options.fuse,
  })
}

/** Computes the values together, so that what they share runs once, and copies them to the host. */
export async function evaluateValues(values: readonly Value[], options: EvaluateOptions = {}): Promise<HostNumbers[]> {
  const device = deviceOf(values, options)
  const program = await Program.create(device, planValues(values, { ...options, device }), 'evaluate')
  try {
    device.submitNow(program.commands)
    const bytes = await device.readAll(program.results)
    return values.map((value, i) => numbersOf(bytes[i] ?? new ArrayBuffer(0), value.type))
  } finally {
    program.dispose()
  }
}

/** Computes the values and leaves each in its own buffer, which the caller owns. */
export async function keepValues(values: readonly Value[], options: EvaluateOptions = {}): Promise<BufferSlice[]> {
  const device = deviceOf(values, options)
  const wanted: { readonly value: Value; readonly destination: BufferSlice }[] = []
  try {
    for (const value of values) {
      const bytes = wordBytes(bytesOf(value.type))
      const destination = device.allocate(bytes, `kept ${value.node.op.name}`).slice(0, bytes)
      wanted.push({ value, destination })
    }
    const { variants, fuse } = options
    const program = await Program.create(device, planFor(device, wanted, { variants, fuse }), 'keep')
    device.submitNow(program.commands)
    program.dispose()
    return wanted.map(({ destination }) => destination)
  } catch (error) {
    for (const { destination } of wanted) destination.buffer.dispose()
    throw error
  }
}

function numbersOf(bytes: ArrayBuffer, type: TensorType): HostNumbers {
  if (type.dtype === 'f32') return new Float32Array(bytes)
  return type.dtype === 'u32' ? new Uint32Array(bytes) : new Uint8Array(bytes)
}
