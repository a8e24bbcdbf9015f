/**
 * One kernel on the device with made-up operands, to be timed and checked variant by variant. Everything it takes is
 * released by `dispose`.
 */

import { wordBytes } from '../../gpu/alignment.ts'
import type { Device, DeviceBuffer } from '../../gpu/device.ts'
import { Random } from '../../random.ts'
import type { TensorType } from '../node.ts'
import type { KernelTask } from '../plan/choice.ts'
import { bytesOf } from '../plan/plan.ts'
import { bindKernel } from '../run/bound-kernel.ts'

/** Of the largest magnitude: as close as two orders of summation come in float32, with room. */
const tolerance = 1e-4
/**
 * Codes and indices say which of several numbers won, and where two are equal but for rounding, variants may differ: one
 * in ten thousand is let pass.
 */
const differingShare = 1e-4
/** Of made-up numbers that repeat: a prime, so that rows and columns of a tensor differ. */
const tileLength = 65521

/** A variant that was compiled and has run once. */
export interface BenchedVariant {
  /** Compilation and first dispatch; software Vulkan compiles at the first dispatch. */
  readonly firstMs: number
  /** What is wrong with its results, in words; undefined where they are right. */
  readonly wrong: string | undefined
  /** Wall clock of so many runs. */
  time(repeats: number): Promise<number>
}

export class TaskBench {
  readonly #device: Device
  readonly #task: KernelTask
  readonly #owned: { dispose(): void }[] = []
  readonly #inputs: readonly DeviceBuffer[]
  readonly #outputs: readonly DeviceBuffer[]
  #expected: readonly ArrayBuffer[] | undefined

  /** Throws 'limit' where the operands do not fit; nothing stays allocated then. */
  constructor(device: Device, task: KernelTask) {
    this.#device = device
    this.#task = task
    try {
      this.#inputs = task.inputs.map((type) => {
        const buffer = this.#allocate(bytesOf(type), 'tuning input')
        fill(device, buffer, type)
        return buffer
      })
      this.#outputs = task.outputs.map((type) => this.#allocate(bytesOf(type), 'tuning output'))
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  #allocate(bytes: number, label: string): DeviceBuffer {
    const buffer = this.#device.allocate(bytes, label)
    this.#owned.push(buffer)
    return buffer
  }

  /** Compiles the variant, runs it once and compares; the first one that is opened is what the others are compared with. */
  async open(variant: string): Promise<BenchedVariant> {
    const device = this.#device
    const task = this.#task
    const kernel = {
      plan: task.plan(variant),
      inputs: this.#inputs.map((buffer) => buffer.slice()),
      outputs: this.#outputs.map((buffer) => buffer.slice()),
    }
    // What a kernel leaves out must not look right: NaN as float32, no index as u32.
    for (const buffer of this.#outputs) device.write(buffer.slice(), new Uint8Array(buffer.bytes).fill(0xff))
    await device.idle()
    const began = performance.now()
    const bound = await bindKernel(device, kernel, `tuning ${task.family}/${variant}`)
    this.#owned.push(bound)
    const time = async (repeats: number): Promise<number> => {
      const start = performance.now()
      device.submitNow(bound.commands, repeats)
      await device.idle()
      return performance.now() - start
    }
    await time(1)
    const firstMs = performance.now() - began
    return { firstMs, wrong: await this.#compare(), time }
  }

  async #compare(): Promise<string | undefined> {
    const { outputs } = this.#task
    const results = await this.#device.readAll(
      this.#outputs.map((buffer, i) => buffer.slice(0, outputs[i] === undefined ? 0 : wordBytes(bytesOf(outputs[i])))),
    )
    if (this.#expected === undefined) {
      this.#expected = results
      return undefined
    }
    for (const [i, { dtype }] of outputs.entries()) {
      const [own, other] = [results[i], this.#expected[i]]
      const problem = own && other && (dtype === 'f32' ? numbersDiffer(own, other) : wordsDiffer(own, other))
      if (problem !== undefined) return `output ${i} ${problem}`
    }
    return undefined
  }

  dispose(): void {
    for (const resource of this.#owned.splice(0)) resource.dispose()
  }
}

/**
 * Numbers in [-0.5, 1): some are negative, and sums are far from zero, where cancellation would drown the comparison. Words
 * of a list (labels, permutations, counters) are zero, a number that is within every range; those of an image, the codes
 * of pooling, run from 0 to 4.
 */
function fill(device: Device, buffer: DeviceBuffer, { shape, dtype }: TensorType): void {
  if (dtype !== 'f32' && shape.length < 2) return
  const tile = tileOf(dtype)
  const bytes = wordBytes(bytesOf({ shape, dtype }))
  const repeated = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += tile.length) repeated.set(tile.subarray(0, bytes - at), at)
  device.write(buffer.slice(), repeated)
}

const tiles = new Map<TensorType['dtype'], Uint8Array>()

function tileOf(dtype: TensorType['dtype']): Uint8Array {
  let tile = tiles.get(dtype)
  if (tile === undefined) {
    const random = new Random(1, `tuning ${dtype}`)
    if (dtype === 'u8') tile = Uint8Array.from({ length: tileLength }, () => random.below(256))
    else {
      const length = { length: tileLength }
      const numbers =
        dtype === 'f32'
          ? Float32Array.from(length, () => random.uniform() * 1.5 - 0.5)
          : Uint32Array.from(length, () => random.below(5))
      tile = new Uint8Array(numbers.buffer)
    }
    tiles.set(dtype, tile)
  }
  return tile
}

/** NaN agrees with NaN only, infinities by sign. */
function numbersDiffer(actualBytes: ArrayBuffer, expectedBytes: ArrayBuffer): string | undefined {
  const [actual, expected] = [new Float32Array(actualBytes), new Float32Array(expectedBytes)]
  let largest = 0
  for (const x of expected) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x))
  const allowed = tolerance * largest
  for (let i = 0; i < expected.length; i++) {
    const [own = Number.NaN, other = Number.NaN] = [actual[i], expected[i]]
    if (Object.is(own, other) || Math.abs(own - other) <= allowed) continue
    return `is ${own} where ${other} was expected, at place ${i}`
  }
  return undefined
}

function wordsDiffer(actualBytes: ArrayBuffer, expectedBytes: ArrayBuffer): string | undefined {
  const [actual, expected] = [new Uint32Array(actualBytes), new Uint32Array(expectedBytes)]
  let [differing, first] = [0, -1]
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue
    if (differing === 0) first = i
    differing++
  }
  if (differing <= Math.floor(expected.length * differingShare)) return undefined
  return `is ${actual[first]} where ${expected[first]} was expected, at place ${first}`
}
