/** The page's entry: no worker is started where there is no WebGPU for it. */
import { connect } from './connect.ts'
import { findAny } from './elements.ts'
import { startPage } from './page.ts'
import { RefusalPlace, refusal } from './refusals.ts'
import { showWebGpuHelp } from './webgpu-help.ts'

if (!('gpu' in navigator))
  showWebGpuHelp(
    isSecureContext
      ? 'This browser has no WebGPU, or has it switched off.'
      : 'Browsers offer WebGPU to secure pages only: open this one by https, or from this computer as http://localhost.',
  )
else {
  const fail = (reason: string): void =>
    new RefusalPlace(findAny('#page-refusal')).show(
      refusal('device', `The worker that computes cannot run: ${reason}. Load the page again.`),
    )
  const session = connect(fail)
  // What whoever does not believe in the recovery types into the console.
  Object.assign(globalThis, { weftgradSession: session })
  startPage(session).catch((error: unknown) => new RefusalPlace(findAny('#page-refusal')).show(error))
}
