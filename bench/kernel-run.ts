/**
 * A planned kernel with its operands on a device, bound once: it can be timed, and its results can be read back. The
 * results of the timed runs themselves are verified: outputs start as NaN, unless the kernel updates them in place.
 */

import type { BoundCommands } from '../src/gpu/bind.ts'
import { upload } from '../src/gpu/buffers.ts'
import type { Device, DeviceBuffer } from '../src/gpu/device.ts'
import { bindKernel } from '../src/graph/run/bound-kernel.ts'
import type { KernelPlan } from '../src/kernels/kernel.ts'
import type { CaseData, ExpectedOutput, HostNumbers } from './case-data.ts'
import type { Subject } from './measure.ts'

/** The inputs of a case on a device, shared by all its variants. */
export class CaseInputs {
  readonly buffers: readonly DeviceBuffer[]

  constructor(device: Device, data: CaseData) {
    this.buffers = data.inputs.map((numbers, i) => upload(device, numbers, `bench input ${i}`))
  }

  dispose(): void {
    for (const buffer of this.buffers) buffer.dispose()
  }
}

/** The most dispatches in one submission: encoding more would take longer than any sample. */
const maxDispatches = 20_000

export class KernelRun implements Subject {
  readonly plan: KernelPlan
  readonly #device: Device
  readonly #data: CaseData
  readonly #outputs: readonly DeviceBuffer[]
  readonly #bound: BoundCommands

  private constructor(
    device: Device,
    plan: KernelPlan,
    data: CaseData,
    outputs: readonly DeviceBuffer[],
    bound: BoundCommands,
  ) {
    this.#device = device
    this.plan = plan
    this.#data = data
    this.#outputs = outputs
    this.#bound = bound
  }

  /** Binds the kernel. If the adapter refuses it, throws 'limit' or 'device' and leaves nothing allocated. */
  static async create(device: Device, plan: KernelPlan, data: CaseData, inputs: CaseInputs): Promise<KernelRun> {
    const outputs: DeviceBuffer[] = []
    try {
      for (const output of data.outputs) outputs.push(upload(device, beginning(output), 'bench output'))
      const kernel = {
        plan,
        inputs: inputs.buffers.map((buffer) => buffer.slice()),
        outputs: outputs.map((buffer) => buffer.slice()),
      }
      const bound = await bindKernel(device, kernel, plan.variant)
      return new KernelRun(device, plan, data, outputs, bound)
    } catch (error) {
      for (const buffer of outputs) buffer.dispose()
      throw error
    }
  }

  get maxRepeats(): number {
    return Math.max(1, Math.floor(maxDispatches / this.#bound.commands.length))
  }

  async run(repeats: number): Promise<void> {
    this.#device.submitNow(this.#bound.commands, repeats)
    await this.#device.idle()
  }

  /** The time of one repeat by the device's own clock, in ms. */
  async onDevice(repeats: number): Promise<number> {
    return (await this.#device.timeOnDevice(this.#bound.commands, repeats)) / repeats
  }

  /** The outputs of the runs so far. Outputs that are updated in place are reset first, and updated once. */
  async results(): Promise<HostNumbers[]> {
    if (this.#data.outputs.some(({ initial }) => initial !== undefined)) {
      this.#data.outputs.forEach((output, i) => {
        const buffer = this.#outputs[i]
        if (buffer !== undefined) this.#device.write(buffer.slice(), beginning(output))
      })
      await this.run(1)
    }
    const bytes = await this.#device.readAll(
      this.#outputs.map((buffer, i) => buffer.slice(0, (this.#data.outputs[i]?.length ?? 0) * 4)),
    )
    return this.#data.outputs.map(({ dtype }, i) => {
      const own = bytes[i] ?? new ArrayBuffer(0)
      return dtype === 'f32' ? new Float32Array(own) : new Uint32Array(own)
    })
  }

  dispose(): void {
    this.#bound.dispose()
    for (const buffer of this.#outputs) buffer.dispose()
  }
}

function beginning(output: ExpectedOutput): HostNumbers {
  return output.initial ?? new Uint32Array(output.length).fill(0xffffffff) // NaN as f32
}
