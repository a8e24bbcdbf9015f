/** The current device, used to compute tensors made from host values. */

import { WeftgradError } from '../errors.ts'
import type { Device } from './device.ts'

let current: Device | undefined

/**
 * The device used to compute tensors made from host values: the one opened last.
 * @throws WeftgradError 'no-adapter' if no device was opened, or it is no longer usable.
 */
export function currentDevice(): Device {
  if (current === undefined || !current.usable) {
    throw new WeftgradError('no-adapter', 'No device is open. Call `await open()` first.')
  }
  return current
}

export function setCurrentDevice(device: Device): void {
  current = device
}
