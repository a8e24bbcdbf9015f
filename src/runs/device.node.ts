/** The device of weftgrad's commands. */

import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'

/** Opens a device without bounds checks: commands run weftgrad's own kernels only. `log` receives notes on downloads. */
export function openForCommand(log?: (line: string) => void): Promise<Device> {
  return open({ boundsChecks: false, ...(log === undefined ? {} : { log }) })
}
