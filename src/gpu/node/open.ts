/**
 * Opens a device in Node.js: finds an adapter (see adapter.ts) and creates the device that tensors use from then on.
 */

import { aFlag, aFunction, anArray, checkOptions } from '../../options.ts'
import { setCurrentDevice } from '../current-device.ts'
import type { Device } from '../device.ts'
import { createDevice } from '../webgpu-device.ts'
import type { FindAdapterOptions, FoundAdapter } from './adapter.ts'
import { findAdapter } from './adapter.ts'
import { paceDawnFor } from './dawn-polling.ts'

/**
 * Opens a device on the best available adapter: the one named by WEFTGRAD_ADAPTER, else hardware, else software Vulkan,
 * which is downloaded into the cache if it is missing. Tensors use it from then on.
 * @throws WeftgradError 'no-adapter' with what was found and what to do, 'fetch' if a driver could not be downloaded,
 * 'device' if the adapter creates no device.
 */
export async function open(options: FindAdapterOptions = {}): Promise<Device> {
  checkOptions('open', options, { provision: aFlag, log: aFunction, dawnToggles: anArray })
  const found = await findAdapter(options)
  const device = await deviceOn(found)
  setCurrentDevice(device)
  return device
}

/** Creates a device on an adapter, without making it the one that tensors use. */
export async function deviceOn({ adapter, hardware, driver }: FoundAdapter): Promise<Device> {
  const device = await createDevice(adapter, { class: hardware ? 'gpu' : 'cpu', hardware, driver })
  paceDawnFor(device)
  return device
}
