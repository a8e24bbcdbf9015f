/** The browser's device for tests. */

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
