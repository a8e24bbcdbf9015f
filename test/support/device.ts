/** One device for a file's tests. */
import { afterAll, beforeAll } from 'vitest'
import type { Device } from '../../src/gpu/device.ts'
import type { NodeOpenOptions } from '../../src/gpu/node/open.ts'
import { open } from '../../src/gpu/node/open.ts'

/** Opens a device before the file's tests and disposes it afterwards; call the result inside tests. */
export function useDevice(options: NodeOpenOptions = {}): () => Device {
  let device: Device | undefined
  beforeAll(async () => {
    device = await open(options)
  }, 300_000)
  afterAll(() => device?.dispose())
  return () => {
    if (device === undefined) throw new Error('the device is opened before the first test')
    return device
  }
}
