/**
 * Binds one kernel's variants to synthetic operands, and compares their results. `dispose` frees everything.
 */

import { wordBytes } from '../../gpu/alignment.ts'
import type { Command, Device, DeviceBuffer, Precision } from '../../gpu/device.ts'
import { Random } from '../../random.ts'
import type { TensorType } from '../node.ts'
import type { KernelTask } from '../plan/choice.ts'
import { bytesOf } from '../plan/plan.ts'
import { bindKernel } from '../run/bound-kernel.ts'

/**
 * Tolerance, relative to the largest magnitude. Float32 sums in different orders agree better than this; operands rounded
 * to float16 err by up to 2^-11 each.
 */
const tolerance = { f32: 1e-4, f16: 4e-3 } as const
/**
 * The accepted share of different integers. Codes and indices name the largest of several numbers; if two are equal up
 * to rounding, variants may disagree.
 */
const differingShare = 1e-4
/** Length of the pattern repeated in synthetic operands: a prime, so that rows and columns of a tensor differ. */
const tileLength = 65521

/**
 * Most operations of a first run, if they are not needed for a sample. A kernel that takes longer than 50 ms for them
 * reaches less than 20 GFLOP/s, too slow for work of this size.
 */
const pieceWork = 1e9

export class TaskBench {
  readonly #device: Device
  readonly #task: KernelTask
  readonly #owned: { dispose(): void }[] = []
  readonly #inputs: readonly DeviceBuffer[]
  readonly #outputs: readonly DeviceBuffer[]

  /** Allocates the operands. If they do not fit, frees everything and throws 'limit'. */
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

  /** Compiles the variant, and erases the results of the one before. @throws WeftgradError 'device' if it cannot. */
  async bind(variant: string): Promise<readonly Command[]> {
    const kernel = {
      plan: this.#task.plan(variant),
      inputs: this.#inputs.map((buffer) => buffer.slice()),
      outputs: this.#outputs.map((buffer) => buffer.slice()),
    }
    const bound = await bindKernel(this.#device, kernel, `tuning ${this.#task.family}/${variant}`)
    this.#owned.push(bound)
    // Elements that the kernel does not write must look wrong: NaN as float32, no valid index as u32.
    for (const buffer of this.#outputs) this.#device.write(buffer.slice(), new Uint8Array(buffer.bytes).fill(0xff))
    return bound.commands
  }

  /** The results of the variant that ran last. */
  results(): Promise<readonly ArrayBuffer[]> {
    const { outputs } = this.#task
    return this.#device.readAll(
      this.#outputs.map((buffer, i) => buffer.slice(0, outputs[i] === undefined ? 0 : wordBytes(bytesOf(outputs[i])))),
    )
  }

  /** Describes the first difference between two results; undefined if they are equal up to rounding. */
  difference(results: readonly ArrayBuffer[], expected: readonly ArrayBuffer[]): string | undefined {
    for (const [i, { dtype }] of this.#task.outputs.entries()) {
      const [own, other] = [results[i], expected[i]]
      const problem =
        own && other && (dtype === 'f32' ? numbersDiffer(own, other, this.#device.precision) : wordsDiffer(own, other))
      if (problem !== undefined) return `output ${i} ${problem}`
    }
    return undefined
  }

  dispose(): void {
    for (const resource of this.#owned.splice(0)) resource.dispose()
  }
}

/** The longest command with fewer workgroups, for a run that is short for sure, and its share of all the work. */
export function pieceOf(
  commands: readonly Command[],
): { readonly command: Command; readonly share: number } | undefined {
  const total = commands.reduce((sum, { work }) => sum + work, 0)
  const [longest] = commands.toSorted((a, b) => b.work - a.work)
  if (longest === undefined || total <= pieceWork) return undefined
  const [x, y, z] = longest.workgroups
  const all = x * y * z
  const groups = Math.max(1, Math.min(x, all, Math.floor((all * pieceWork) / longest.work)))
  const work = (longest.work * groups) / all
  return { command: { ...longest, workgroups: [groups, 1, 1], work }, share: work / total }
}

/**
 * Fills an operand. Floats are in [-0.5, 1): some are negative, and sums stay far from zero, where cancellation would
 * spoil the comparison. Integers in a list (labels, permutations, counters) are zero, which is valid in every range;
 * those in an image, the codes of pooling, are 0 to 4.
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
    const length = { length: tileLength }
    if (dtype === 'u8') tile = Uint8Array.from(length, () => random.below(256))
    else {
      // Two halves from 1/16 to 1/2, of which each power of two is as likely.
      const halves = (): number => 0x2c002c00 + random.below(0xc00) * 0x10000 + random.below(0xc00)
      const numbers =
        dtype === 'f32'
          ? Float32Array.from(length, () => random.uniform() * 1.5 - 0.5)
          : Uint32Array.from(length, () => (dtype === 'f16' ? halves() : random.below(5)))
      tile = new Uint8Array(numbers.buffer)
    }
    tiles.set(dtype, tile)
  }
  return tile
}

/** Describes the first difference, if any. NaN equals only NaN, and an infinity equals only one of its sign. */
function numbersDiffer(actualBytes: ArrayBuffer, expectedBytes: ArrayBuffer, precision: Precision): string | undefined {
  const [actual, expected] = [new Float32Array(actualBytes), new Float32Array(expectedBytes)]
  let largest = 0
  for (const x of expected) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x))
  const allowed = tolerance[precision] * largest
  for (let i = 0; i < expected.length; i++) {
    const [own = Number.NaN, other = Number.NaN] = [actual[i], expected[i]]
    if (Object.is(own, other) || Math.abs(own - other) <= allowed) continue
    return `is ${own}, expected ${other}, at index ${i}`
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
  return `is ${actual[first]}, expected ${expected[first]}, at index ${first}`
}
