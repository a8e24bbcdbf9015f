/**
 * Node.js returns bytes as `Buffer`s: views into a larger block, at any offset, whose `slice()` copies nothing. Every
 * reader must treat one like a plain array.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { parseLabelledCsv } from '../src/format/csv.ts'
import { gunzip } from '../src/format/gzip.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { parseIdx, writeIdx } from '../src/format/idx.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { decodePng, encodePng } from '../src/format/png.ts'
import { readSafetensors, type SafeTensor, writeSafetensors } from '../src/format/safetensors.ts'
import { decodeCheckpoint } from '../src/nn/checkpoint.ts'

const model = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`fixtures/models/${name}`, import.meta.url))))

async function weightsIn(bytes: Uint8Array): Promise<unknown> {
  const file = await openWeights(memorySource(bytes, 'x'), { hdf5: freshHdf5 })
  try {
    const entries = file.groups.flatMap(({ weights }) => weights)
    return await Promise.all(entries.map((entry) => file.read(entry)))
  } finally {
    file.close()
  }
}

const halves = Uint16Array.of(0x3c00, 0xc000, 0x7bff)
const tensors: ReadonlyMap<string, SafeTensor> = new Map<string, SafeTensor>([
  ['a/f64', { dtype: 'F64', shape: [2], data: Float64Array.of(1.5, -2) }],
  ['a/i64', { dtype: 'I64', shape: [1], data: BigInt64Array.of(-3n) }],
  ['a/f32', { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) }],
  ['a/f16', { dtype: 'F16', shape: [3], data: halves }],
  ['a/u8', { dtype: 'U8', shape: [3], data: Uint8Array.of(7, 8, 9) }],
])
const floats = new Map([...tensors].filter(([, { dtype }]) => dtype.startsWith('F')))

/** The file with more spaces in its header: the format does not require alignment. */
function padded(bytes: Uint8Array, blanks: number): Uint8Array {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
  const more = new Uint8Array(bytes.length + blanks).fill(0x20)
  more.set(bytes.subarray(0, 8 + length))
  more.set(bytes.subarray(8 + length), 8 + length + blanks)
  new DataView(more.buffer).setBigUint64(0, BigInt(length + blanks), true)
  return more
}

const image = { width: 5, height: 3, channels: 3, data: Uint8Array.from({ length: 45 }, (_, i) => 5 * i) } as const
const csv = new TextEncoder().encode('label,pixel1,pixel2\n3,1,2\n4, 5,"6"\n')

/** Some bytes, and what is read from them. */
const readers: Readonly<Record<string, readonly [Uint8Array, (bytes: Uint8Array) => unknown]>> = {
  IDX: [writeIdx({ shape: [2, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) }), (bytes) => parseIdx(bytes).shape],
  CSV: [csv, (bytes) => parseLabelledCsv(bytes, { pixels: 2 })],
  gzip: [gzipSync('some text, some text'), (bytes) => gunzip(bytes)],
  PNG: [encodePng(image), (bytes) => decodePng(bytes)],
  safetensors: [writeSafetensors(tensors), (bytes) => readSafetensors(bytes)],
  'safetensors, unaligned': [padded(writeSafetensors(tensors), 3), (bytes) => readSafetensors(bytes)],
  'weights as safetensors': [padded(writeSafetensors(floats), 3), weightsIn],
  'weights as .h5': [model('lenet5_keras2_weights.h5'), weightsIn],
  'weights as .keras': [model('lenet5.keras'), weightsIn],
}

/** The bytes as a Buffer that starts `offset` bytes into a larger block. */
function bufferAt(offset: number, bytes: Uint8Array): Buffer {
  const block = Buffer.alloc(bytes.length + 16, 0xff)
  block.set(bytes, offset)
  return block.subarray(offset, offset + bytes.length)
}

describe.each(Object.entries(readers))('%s', (_, [bytes, read]) => {
  it('is read from a Buffer at any offset', async () => {
    const expected = await read(Uint8Array.from(bytes))
    for (const offset of [0, 1, 2, 3, 5, 7])
      expect(await read(bufferAt(offset, bytes)), `offset ${offset}`).toEqual(expected)
  })

  it('is refused if damaged, from a Buffer as from a plain array', async () => {
    const outcome = async (given: Uint8Array): Promise<unknown> => {
      try {
        return await read(given)
      } catch (error) {
        expect(error).toMatchObject({ name: 'WeftgradError' })
        return error instanceof Error ? error.message : error
      }
    }
    const change = fc.tuple(fc.nat(Math.min(bytes.length, 4096) - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), fc.nat(9), async (changes, offset) => {
        const damaged = Uint8Array.from(bytes)
        for (const [at, byte] of changes) damaged[at] = byte
        expect(await outcome(bufferAt(offset, damaged))).toEqual(await outcome(damaged))
      }),
      { seed: 9, numRuns: bytes.length > 10_000 ? 10 : 100 },
    )
  })
})

it('a checkpoint cut out of a Buffer is refused with a message', () => {
  const bytes = bufferAt(3, padded(writeSafetensors(floats), 3))
  expect(() => decodeCheckpoint(bytes, 'x')).toThrow(expect.objectContaining({ code: 'format' }))
})
