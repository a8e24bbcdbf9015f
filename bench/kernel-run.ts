/**
 * A planned kernel with its operands on a device, bound once: it can be timed, and its results can be verified. What the
 * timed runs left behind is what is verified: pure kernels overwrite outputs that started as NaN.
 */

import type { BoundCommands } from '../src/gpu/bind.ts'
import { upload } from '../src/gpu/buffers.ts'
import type { Device, DeviceBuffer } from '../src/gpu/device.ts'
import { bindKernel } from '../src/graph/run/bound-kernel.ts'
import type { KernelPlan } from '../src/kernels/kernel.ts'
import { Random } from '../src/random.ts'
import type { CaseData, ExpectedOutput, HostNumbers, Tolerance } from './case.ts'
import type { Subject } from './measure.ts'

/** Results were wrong: whatever time was measured is worth nothing. */
export class WrongResult extends Error {
  override readonly name = 'WrongResult'
}

/** The inputs of a case on a device; every variant that is timed reads these. */
export class CaseInputs {
  readonly buffers: readonly DeviceBuffer[]

  constructor(device: Device, data: CaseData) {
    this.buffers = data.inputs.map((numbers, i) => upload(device, numbers, `bench input ${i}`))
  }

  dispose(): void {
    for (const buffer of this.buffers) buffer.dispose()
  }
}

/** Dispatches in one submission at most: encoding more would take longer than any sample. */
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

  /** Throws 'limit' or 'device' where the adapter refuses it; nothing stays allocated then. */
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

  /** One repeat by the device's own clock, in ms. */
  async onDevice(repeats: number): Promise<number> {
    return (await this.#device.timeOnDevice(this.#bound.commands, repeats)) / repeats
  }

  /** What the runs so far left behind; outputs that are updated in place start anew and are run once. */
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

/** Places of a long result that are compared with its definition. */
const sampledPlaces = 4096

/** Throws WrongResult where a result is not what its definition says, at all of its places or at a sample of them. */
export function verifyByDefinition(what: string, data: CaseData, results: readonly HostNumbers[]): void {
  data.outputs.forEach((output, i) => {
    const actual = results[i] ?? new Float32Array()
    const places = placesIn(output.length)
    const worst = worstPlace(places, data.tolerance, (place) => [actual[place] ?? Number.NaN, output.expected(place)])
    if (worst !== undefined) throw new WrongResult(`${what}: output ${i} ${worst}`)
  })
}

/** Throws WrongResult where two results are not the same within the tolerance, at any place. */
export function verifyEqual(
  what: string,
  tolerance: Tolerance,
  actual: HostNumbers | undefined,
  expected: HostNumbers | undefined,
): void {
  const [a, b] = [actual ?? [], expected ?? []]
  if (a.length !== b.length) throw new WrongResult(`${what}: ${a.length} numbers where ${b.length} were expected`)
  const worst = worstPlace(a.keys(), tolerance, (place) => [a[place] ?? Number.NaN, b[place] ?? Number.NaN])
  if (worst !== undefined) throw new WrongResult(`${what}: ${worst}`)
}

function placesIn(length: number): Iterable<number> {
  if (length <= sampledPlaces) return new Uint8Array(length).keys()
  const random = new Random(1, 'sampled places')
  return [0, length - 1, ...Array.from({ length: sampledPlaces }, () => random.below(length))]
}

/** A text about the place that is furthest off, or undefined where all agree. NaN agrees with nothing. */
function worstPlace(
  places: Iterable<number>,
  { rtol, atol }: Tolerance,
  pairAt: (place: number) => readonly [actual: number, expected: number],
): string | undefined {
  let worst: string | undefined
  let worstExcess = 1
  for (const place of places) {
    const [actual, expected] = pairAt(place)
    const difference = Math.abs(actual - expected)
    const excess = difference / (atol + rtol * Math.abs(expected))
    if (difference === 0 || excess <= worstExcess) continue
    worstExcess = Number.isNaN(excess) ? Number.POSITIVE_INFINITY : excess
    worst = `is ${actual} where ${expected} was expected, at place ${place}`
  }
  return worst
}
