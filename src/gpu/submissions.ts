/** Encodes commands and submits them, a few submissions ahead of the device. */

import type { Command, Device } from './device.ts'

/** Enough to keep the device busy while the host encodes; more would only delay a stop. */
const mostPending = 2

export class SubmissionQueue {
  readonly #device: Device
  #pending: Promise<undefined>[] = []

  constructor(device: Device) {
    this.#device = device
  }

  async submit(commands: readonly Command[], repeats: number): Promise<void> {
    const device = this.#device
    device.check()
    encodeAndSubmit(device.gpu, commands, repeats)
    const done = device.guard(device.gpu.queue.onSubmittedWorkDone())
    done.catch(() => undefined) // a failure reaches whoever waits for the oldest submission, or the next call
    this.#pending.push(done)
    while (this.#pending.length >= mostPending) await this.#pending.shift()
  }

  async idle(): Promise<void> {
    const device = this.#device
    device.check()
    this.#pending = []
    await device.guard(device.gpu.queue.onSubmittedWorkDone())
  }
}

/** Submits one compute pass with the commands, `repeats` times in a row. */
export function encodeAndSubmit(
  gpu: GPUDevice,
  commands: readonly Command[],
  repeats: number,
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
