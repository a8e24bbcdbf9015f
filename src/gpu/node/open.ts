/** Opens a device in Node.js: finds an adapter (see adapter.ts) and makes the device that tensors use from then on. */

import { aFlag, aFunction, anArray, checkOptions } from '../../options.ts'
import { setCurrentDevice } from '../current-device.ts'
import type { Device } from '../device.ts'
import { createDevice } from '../webgpu-device.ts'
import type { FindAdapterOptions } from './adapter.ts'
import { findAdapter } from './adapter.ts'

/**
 * A device on the best adapter there is: the one named by WEFTGRAD_ADAPTER, else hardware, else software Vulkan, which
 * is fetched into the cache where it is missing. Tensors use it from then on.
 * @throws WeftgradError 'no-adapter' with what was seen and what to do, 'fetch' where a driver was to be fetched and could not
 * be, 'device' where the adapter gives no device.
 */
export async function open(options: FindAdapterOptions = {}): Promise<Device> {
  checkOptions('open', options, { provision: aFlag, log: aFunction, dawnToggles: anArray })
  const found = await findAdapter(options)
  const device = await createDevice(found.adapter, {
    class: found.hardware ? 'gpu' : 'cpu',
    hardware: found.hardware,
    driver: found.driver,
  })
  setCurrentDevice(device)
  return device
}
