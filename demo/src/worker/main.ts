/** The worker's entry point: serves the session to the page through Comlink, on the browser's WebGPU. */

import sampleUrl from 'virtual:fashion-mnist-sample'
import { expose } from 'comlink'
import { open, WeftgradError } from 'weftgrad'
import { throwRefusals } from '../refusals.ts'
import { middleSquare } from './photo.ts'
import { DemoSession } from './session.ts'

async function loadSample(): Promise<Uint8Array> {
  try {
    const answer = await fetch(sampleUrl)
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`)
    return new Uint8Array(await answer.arrayBuffer())
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause)
    throw new WeftgradError('fetch', `The sample could not be downloaded: ${problem}. Reload the page.`, {}, cause)
  }
}

throwRefusals()
expose(new DemoSession({ openDevice: () => open(), loadSample, middleSquare }))
