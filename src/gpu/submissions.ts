/** Encodes commands and submits them, a few submissions ahead of the device. */

import type { Command, Device } from './device.ts'
import { toldSoon } from './firefox-waiting.ts'
import type { Pace, Portion } from './pace.ts'

/**
 * Submissions on their way: enough to keep the device busy while the host encodes. More would only delay a stop, unless
 * they are short: then waiting for each would cost more than its work.
 */
const fewPending = 2
const mostPending = 64

export class SubmissionQueue {
  readonly #device: Device
  readonly #pace: Pick<Pace, 'portions' | 'isShort' | 'learn'>
  #pending: { readonly done: Promise<undefined>; readonly work: number }[] = []
  /** When the device finished the latest portion, as far as is known. */
  #lastDone = 0

  constructor(device: Device, pace: Pick<Pace, 'portions' | 'isShort' | 'learn'>) {
    this.#device = device
    this.#pace = pace
  }

  async submit(commands: readonly Command[], repeats: number): Promise<void> {
    const device = this.#device
    device.check()
    for (const portion of this.#pace.portions(commands, repeats)) {
      encodeAndSubmit(device.gpu, portion)
      const done = device.guard(this.#timed(portion.work))
      done.catch(() => undefined) // a failure reaches whoever waits for the oldest submission, or the next call
      this.#pending.push({ done, work: portion.work })
      while (this.#isFull()) await this.#pending.shift()?.done
    }
  }

  #isFull(): boolean {
    const { length } = this.#pending
    const work = this.#pending.reduce((sum, one) => sum + one.work, 0)
    return length >= mostPending || (length >= fewPending && !this.#pace.isShort(work))
  }

  async #timed(work: number): Promise<undefined> {
    const submitted = performance.now()
    const { gpu } = this.#device
    await toldSoon(gpu, gpu.queue.onSubmittedWorkDone())
    const now = performance.now()
    this.#pace.learn(work, now - Math.max(submitted, this.#lastDone))
    this.#lastDone = now
  }

  async idle(): Promise<void> {
    const device = this.#device
    device.check()
    this.#pending = []
    await device.guard(toldSoon(device.gpu, device.gpu.queue.onSubmittedWorkDone()))
  }
}

/** Submits one compute pass with the commands, `repeats` times in a row. */
export function encodeAndSubmit(
  gpu: GPUDevice,
  { commands, repeats }: Pick<Portion, 'commands' | 'repeats'>,
  timestampWrites?: GPUComputePassTimestampWrites,
): void {
  const encoder = gpu.createCommandEncoder()
  const pass = encoder.beginComputePass(timestampWrites === undefined ? undefined : { timestampWrites })
  for (let i = 0; i < repeats; i++) {
    for (const command of commands) {
      pass.setPipeline(command.pipeline)
      pass.setBindGroup(0, command.bindGroup)
      pass.dispatchWorkgroups(...command.workgroups)
    }
  }
  pass.end()
  gpu.queue.submit([encoder.finish()])
}
