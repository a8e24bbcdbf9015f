/** Times commands with the device's own clock. */

import { WeftgradError } from '../errors.ts'
import type { Command, Device } from './device.ts'
import { encodeAndSubmit } from './submissions.ts'
import { stagingUsage } from './transfers.ts'

/** `Device.timeOnDevice`. */
export async function timeOnDevice(device: Device, commands: readonly Command[], repeats: number): Promise<number> {
  if (!device.timestamps)
    throw new WeftgradError('limit', 'This adapter has no timestamps. Measure wall-clock time instead.')
  const { gpu } = device
  const querySet = gpu.createQuerySet({ type: 'timestamp', count: 2 })
  const resolved = gpu.createBuffer({ size: 16, usage: 0x200 | 0x4 /* QUERY_RESOLVE | COPY_SRC */ })
  const staging = gpu.createBuffer({ size: 16, usage: stagingUsage })
  try {
    encodeAndSubmit(gpu, { commands, repeats }, { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 })
    const encoder = gpu.createCommandEncoder()
    encoder.resolveQuerySet(querySet, 0, 2, resolved, 0)
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16)
    gpu.queue.submit([encoder.finish()])
    await device.guard(staging.mapAsync(0x1 /* READ */))
    const [begin = 0n, end = 0n] = new BigUint64Array(staging.getMappedRange())
    return Number(end - begin) / 1e6
  } finally {
    querySet.destroy()
    resolved.destroy()
    staging.destroy()
  }
}
