/** Times commands with the device's own clock. */

import { WeftgradError } from '../errors.ts'
import type { Device } from './device.ts'
import { toldSoon } from './firefox-waiting.ts'
import type { Portion } from './pace.ts'
import { encodeAndSubmit } from './submissions.ts'
import { stagingUsage } from './transfers.ts'

/** The most timestamps in a query set: WebGPU's limit. */
const mostTimestamps = 4096

/**
 * Submits the portions of several runs, each in a pass of its own. Returns the milliseconds of each run, without the
 * time between its portions, after a single wait. `Device.timeRuns` documents it.
 */
export async function timeOnDevice(device: Device, runs: readonly (readonly Portion[])[]): Promise<number[]> {
  if (!device.timestamps)
    throw new WeftgradError('limit', 'This adapter has no timestamps. Measure wall-clock time instead.')
  const count = 2 * runs.reduce((sum, portions) => sum + portions.length, 0)
  if (count > mostTimestamps)
    throw new WeftgradError('limit', `${count / 2} submissions are too many to time at once. Time fewer repetitions.`)
  if (count === 0) return runs.map(() => 0)
  const { gpu } = device
  const bytes = count * 8
  const querySet = gpu.createQuerySet({ type: 'timestamp', count })
  const resolved = gpu.createBuffer({ size: bytes, usage: 0x200 | 0x4 /* QUERY_RESOLVE | COPY_SRC */ })
  const staging = gpu.createBuffer({ size: bytes, usage: stagingUsage })
  try {
    let query = 0
    for (const portion of runs.flat()) {
      encodeAndSubmit(gpu, portion, {
        ...{ querySet, beginningOfPassWriteIndex: query, endOfPassWriteIndex: query + 1 },
      })
      query += 2
    }
    const encoder = gpu.createCommandEncoder()
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0)
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes)
    gpu.queue.submit([encoder.finish()])
    await device.guard(toldSoon(gpu, staging.mapAsync(0x1 /* READ */)))
    const times = new BigUint64Array(staging.getMappedRange())
    let at = 0
    return runs.map((portions) => {
      let nanoseconds = 0n
      for (const _ of portions) {
        nanoseconds += (times[at + 1] ?? 0n) - (times[at] ?? 0n)
        at += 2
      }
      return Number(nanoseconds) / 1e6
    })
  } finally {
    querySet.destroy()
    resolved.destroy()
    staging.destroy()
  }
}
