/** The page's entry point. It starts the worker only if there is WebGPU. */
import { connect } from './connect.ts'
import { findAny } from './elements.ts'
import { startPage } from './page.ts'
import { RefusalPlace, refusal } from './refusals.ts'
import { showWebGpuHelp } from './webgpu-help.ts'

if (!('gpu' in navigator))
  showWebGpuHelp(
    isSecureContext
      ? 'This browser has no WebGPU, or it is turned off.'
      : 'Browsers offer WebGPU to secure pages only: open this page over https, or on this computer as http://localhost.',
  )
else {
  const fail = (reason: string): void =>
    new RefusalPlace(findAny('#page-refusal')).show(
      refusal('device', `The background worker failed: ${reason}. Reload the page.`),
    )
  const session = connect(fail)
  // For the console: `weftgradSession.destroyDevice()` tries out the recovery.
  Object.assign(globalThis, { weftgradSession: session })
  startPage(session).catch((error: unknown) => new RefusalPlace(findAny('#page-refusal')).show(error))
}
