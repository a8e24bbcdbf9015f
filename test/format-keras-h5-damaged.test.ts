/** Keras' HDF5 files that are damaged or malicious, and the memory that reading takes. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { File, ready } from 'h5wasm/node'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { h5FilesIn, hashed, listKernel } from './support/h5-files.ts'
import type { KerasLayer } from './support/keras-h5-writer.ts'
import { writeKerasH5 } from './support/keras-h5-writer.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-h5-damaged-'))
  await ready
})
afterAll(() => rm(folder, { recursive: true }))
const fileWith = h5FilesIn(() => folder)

describe('a damaged file', () => {
  afterEach(() => vi.restoreAllMocks())

  /**
   * Whatever the bytes, the outcome is weights that can all be read, or a typed error. Nothing is printed, and nothing
   * larger than the file is allocated.
   */
  async function tryToRead(bytes: Uint8Array): Promise<'read' | 'refused'> {
    try {
      const file = await openWeights(memorySource(bytes, 'x.h5'), { hdf5: freshHdf5 })
      try {
        for (const entry of file.groups.flatMap(({ weights }) => weights)) {
          const { length } = await file.read(entry)
          expect(length).toBe(entry.shape.reduce((product, extent) => product * extent, 1))
        }
        return 'read'
      } finally {
        file.close()
      }
    } catch (error) {
      expect(error).toMatchObject({ name: 'WeftgradError', code: expect.stringMatching(/^(format|disposed)$/) })
      return 'refused'
    }
  }

  const small = (extra: Partial<{ readonly chunks: number[] }> = {}): KerasLayer[] =>
    ['conv', 'dense'].map((name) => ({
      name,
      weights: [
        { name: `${name}/kernel:0`, shape: [3, 4], data: hashed(name, 3, 4), ...extra },
        { name: `${name}/bias:0`, shape: [4], data: hashed(name, 4) },
      ],
    }))

  it.each([
    ['lists of fixed-length text', async (path: string) => writeKerasH5(path, small())],
    ['packed chunks', async (path: string) => writeKerasH5(path, small({ chunks: [2, 3] }))],
    [
      'variable-length text',
      async (path: string) => {
        await writeKerasH5(path, small())
        const file = new File(path, 'a')
        file.delete_attribute('layer_names')
        file.create_attribute('layer_names', ['conv', 'dense'])
        file.close()
      },
    ],
  ])('with %s gives weights or a format error, whichever bytes are changed', async (name, write) => {
    const printed = [vi.spyOn(console, 'log'), vi.spyOn(console, 'error'), vi.spyOn(console, 'warn')]
    const path = join(folder, `${name}.h5`)
    await write(path)
    const bytes = new Uint8Array(readFileSync(path))
    expect(await tryToRead(bytes)).toBe('read')
    // Most of a small file is unused space between its structures.
    const places = [...bytes.keys()].filter((at) =>
      bytes.subarray(Math.max(0, at - 8), at + 8).some((byte) => byte !== 0),
    )
    const change = fc.tuple(fc.constantFrom(...places), fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)))
    let refused = 0
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const changed = Uint8Array.from(bytes)
        for (const [at, byte] of changes) changed[at] = byte
        if ((await tryToRead(changed)) === 'refused') refused += 1
      }),
      { seed: 5, numRuns: 150, endOnFailure: true },
    )
    expect(refused).toBeGreaterThan(20)
    for (const print of printed) expect(print).not.toHaveBeenCalled()
    expect(process.resourceUsage().maxRSS).toBeLessThan(768 * 1024)
  })

  it('truncated anywhere is refused', async () => {
    const path = join(folder, 'whole.h5')
    await writeKerasH5(path, small())
    const bytes = new Uint8Array(readFileSync(path))
    for (let length = 0; length < bytes.length; length += 61) {
      expect(await tryToRead(bytes.subarray(0, length)), `${length} bytes`).toBe('refused')
    }
    const cut = openWeights(memorySource(bytes.subarray(0, -1), 'x.h5'), { hdf5: freshHdf5 })
    await expect(cut).rejects.toMatchObject({ message: expect.stringContaining('cut off') })
  })

  it('whose string heap does not advance is refused, without hanging', async () => {
    const path = await fileWith('heap.h5', listKernel)
    const bytes = new Uint8Array(readFileSync(path))
    const heap = Buffer.from(bytes.buffer).lastIndexOf('GCOL')
    expect(heap).toBeGreaterThan(0)
    // The first entry becomes free space of length zero.
    bytes.fill(0, heap + 16, heap + 32)
    await expect(openWeights(memorySource(bytes, 'x.h5'), { hdf5: freshHdf5 })).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining(`string heap at byte ${heap}`),
    })
  })
})

describe('memory', () => {
  it('of the library is bounded, and separate for every file', async () => {
    const { instantiate } = WebAssembly
    const [library, other] = [await freshHdf5(), await freshHdf5()]
    expect(library._malloc(300 * 2 ** 20)).toBe(0)
    expect(library.HEAPU8.length).toBeLessThan(2 ** 25)
    expect(library._malloc(100 * 2 ** 20)).toBeGreaterThan(0)
    expect(other.HEAPU8.buffer).not.toBe(library.HEAPU8.buffer)
    expect(WebAssembly.instantiate).toBe(instantiate)
  })

  it('holds only the tensor being read, not the file', async () => {
    const path = join(folder, 'heavy.h5')
    const layers = 16
    const shape = [3, 3, 512, 512]
    await writeKerasH5(
      path,
      Array.from({ length: layers }, (_, i) => ({
        name: `conv${i}`,
        weights: [{ name: 'kernel', shape, data: () => new Float32Array(9 * 512 * 512).fill(i + 1) }],
      })),
    )
    const layerBytes = 9 * 512 * 512 * 4
    expect((await stat(path)).size).toBeGreaterThan(layers * layerBytes)
    // In its own process, whose memory is that of reading.
    const program = fileURLToPath(new URL('support/read-weights.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', program, path])
    const { sum, peakBytes } = JSON.parse(stdout) as { sum: number; peakBytes: number }
    expect(sum).toBe((layers * (layers + 1)) / 2)
    expect(peakBytes).toBeLessThan(layerBytes + 96e6)
  })
})
