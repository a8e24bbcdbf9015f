/**
 * Networks of Keras Applications with made-up weights: what `fixtures/keras-networks/write.py` wrote, and how far this
 * repository's outputs are from Keras'.
 */
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unzipSync } from 'fflate'
import { openWeightFile } from '../../src/format/open-weights.node.ts'
import type { Device } from '../../src/gpu/device.ts'
import { elementCount } from '../../src/kernels/kernel.ts'
import type { Model } from '../../src/nn/model.ts'
import { tensor } from '../../src/operators/tensor.ts'
import { hashedNumbers } from '../../src/weights/hashed.ts'
import { loadModel } from '../../src/weights/load-model.ts'

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
const writer = fileURLToPath(new URL('write.py', folder))
const python = process.env.WEFTGRAD_PYTHON ?? 'python3'
const keras = process.env.WEFTGRAD_KERAS ?? 'keras'

/** Why no Keras can write files here; undefined if one can. */
export function whyNoKeras(): string | undefined {
  const { status } = spawnSync(python, ['-c', `import ${keras}`], { stdio: 'ignore' })
  if (status === 0) return undefined
  return `${python} cannot import ${keras}. Set WEFTGRAD_PYTHON to a Python with Keras: pip install keras tensorflow.`
}

/** Lets Keras write whole models of these networks into a folder, in every format that it has. */
export async function writeFiles(folder: string, names: readonly string[]): Promise<void> {
  await promisify(execFile)(python, [writer, '--files', folder, ...names], { maxBuffer: 2 ** 26 })
}

/** The files in such a folder. */
export async function writtenFiles(folder: string) {
  const found = []
  for (const file of (await readdir(folder)).sort()) {
    const [, stem, ending] = /^(.*?)(\.keras|\.h5|-tfjs)$/.exec(file) ?? []
    if (stem === undefined || ending === undefined) continue
    const expected: KerasOutput = JSON.parse(await readFile(join(folder, `${stem}.json`), 'utf8'))
    const format = ending === '-tfjs' ? 'TensorFlow.js, converted' : `Keras ${expected.keras}, ${ending}`
    found.push({ path: join(folder, file), format, expected })
  }
  return found
}

/** As {@link errorOf}, of a file. */
export async function errorOfFile(path: string, device: Device, expected: KerasOutput): Promise<number> {
  const file = await openWeightFile(path)
  try {
    using model = await loadModel(file, { device })
    return await errorOf(model, device, expected)
  } finally {
    file.close()
  }
}

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
