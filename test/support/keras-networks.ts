/**
 * Networks of Keras Applications with made-up weights: what `fixtures/keras-networks/write.py` wrote, and how far this
 * repository's outputs are from Keras'.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { unzipSync } from 'fflate'
import type { Device } from '../../src/gpu/device.ts'
import { elementCount } from '../../src/kernels/kernel.ts'
import type { Model } from '../../src/nn/model.ts'
import { tensor } from '../../src/operators/tensor.ts'
import { hashedNumbers } from '../../src/weights/hashed.ts'

/** What Keras computed. */
export interface KerasOutput {
  readonly keras: string
  /** The gain of the hashed kernels. */
  readonly gain: number
  /** The input's numbers are hashes in [-1, 1) times `scale`, plus `offset`. */
  readonly scale: number
  readonly offset: number
  /** Of two examples. */
  readonly output: readonly number[]
}

const folder = new URL('../fixtures/keras-networks/', import.meta.url)
/** The program that writes them. */
export const writer = fileURLToPath(new URL('write.py', folder))

/** The descriptions and outputs in the repository, by network. */
export function storedNetworks(): ReadonlyMap<string, KerasOutput & { readonly architecture: unknown }> {
  const entries = Object.entries(unzipSync(new Uint8Array(readFileSync(new URL('networks.zip', folder)))))
  return new Map(
    entries.map(([name, bytes]) => [name.replace('.json', ''), JSON.parse(new TextDecoder().decode(bytes))]),
  )
}

/** The largest difference of the outputs, as a share of Keras' largest output. */
export async function errorOf(model: Model, device: Device, { scale, offset, output }: KerasOutput): Promise<number> {
  const count = elementCount(model.inputShape)
  const x = hashedNumbers('input', 2 * count).map((u, i) => offset + scale * (i < count ? u : Math.abs(u)))
  const found = await model.call(tensor(x, [2, ...model.inputShape])).data({ device })
  if (found.length !== output.length) return Number.POSITIVE_INFINITY
  const largest = Math.max(...output.map(Math.abs))
  return Math.max(...output.map((value, i) => Math.abs((found[i] ?? Number.NaN) - value))) / largest
}
