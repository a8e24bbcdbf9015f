/** Opens a device in Node.js: finds an adapter (see adapter.ts) and makes the device that tensors use from then on. */

import { Device, setCurrentDevice } from '../device.ts'
import type { FindAdapterOptions } from './adapter.ts'
import { findAdapter } from './adapter.ts'

/**
 * A device on the best adapter there is: the one named by WEFTGRAD_ADAPTER, else hardware, else software Vulkan, which
 * is fetched into the cache where it is missing. Throws 'no-adapter' or 'fetch'.
 */
export async function open(options: FindAdapterOptions = {}): Promise<Device> {
  const found = await findAdapter(options)
  const device = await Device.create(found.adapter, {
    class: found.hardware ? 'gpu' : 'cpu',
    hardware: found.hardware,
    driver: found.driver,
  })
  setCurrentDevice(device)
  return device
}
