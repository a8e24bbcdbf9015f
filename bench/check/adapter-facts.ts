/** An adapter's facts, as WebGPU reports them. */

import type { Device } from '../../src/gpu/device.ts'
import { findAdapter } from '../../src/gpu/node/adapter.ts'
import type { AdapterReport } from './report.ts'

/**
 * Describes the adapter of an open device. Requests the adapter again: a device hides features that were not requested.
 */
export async function adapterFacts(device: Device): Promise<AdapterReport> {
  const { adapter } = await findAdapter({ provision: false })
  const { vendor, architecture, device: name } = adapter.info
  const { subgroupMinSize: min, subgroupMaxSize: max } = adapter.info
  return {
    description: device.describe(),
    vendor,
    architecture,
    device: name,
    driver: device.facts.driver,
    hardware: device.facts.hardware,
    class: device.facts.class,
    features: [...adapter.features].map(String).sort(),
    limits: limitsOf(adapter.limits),
    subgroupSizes: adapter.features.has('subgroups') ? { min, max } : undefined,
  }
}

/** All limits by name. They are getters on a prototype, which JSON omits. */
function limitsOf(limits: GPUSupportedLimits): Readonly<Record<string, number>> {
  const found: Record<string, number> = {}
  for (const name in limits) {
    const value = limits[name as keyof GPUSupportedLimits] as unknown
    if (typeof value === 'number') found[name] = value
  }
  return found
}
