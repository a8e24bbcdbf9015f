/** `.keras` archives: compressed or stored, zip or zip64, damaged or malicious. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { strToU8, unzipSync, type Zippable, zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openKerasArchive } from '../src/format/keras-archive.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import { openZipEntry, zipEntries } from '../src/format/zip.ts'

const published = new Uint8Array(readFileSync(fileURLToPath(new URL('fixtures/models/lenet5.keras', import.meta.url))))
const contents = unzipSync(published)
const layers = ['conv1', 'conv2', 'dense1', 'dense2', 'probabilities']

const open = (bytes: Uint8Array): Promise<WeightFile> => openKerasArchive(memorySource(bytes, 'x.keras'), freshHdf5)
const refusal = (bytes: Uint8Array) => expect(open(bytes)).rejects

/** The archive with other files in it; undefined removes a file. */
function archive(changes: Readonly<Record<string, Uint8Array | undefined>>, level: 0 | 6 = 0): Uint8Array {
  const files: Zippable = {}
  for (const [name, bytes] of Object.entries({ ...contents, ...changes })) if (bytes !== undefined) files[name] = bytes
  return zipSync(files, { level })
}

const le32 = (value: number): number[] => [0, 8, 16, 24].map((bits) => (value >>> bits) & 255)
const le64 = (value: number): number[] => [...le32(value), 0, 0, 0, 0]

/** The position of a record in the archive, by its signature; the last one unless `nth` is given. */
function recordAt(bytes: Uint8Array, type: number, nth = -1): number {
  const found: number[] = []
  for (let at = 0; at + 4 <= bytes.length; at++) {
    if (bytes[at] === 0x50 && bytes[at + 1] === 0x4b && bytes[at + 2] === type && bytes[at + 3] === type + 1)
      found.push(at)
  }
  return found.at(nth) ?? expect.fail('there is no such record')
}
const end = 5
const entry = 1

function changed(bytes: Uint8Array, at: number, values: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy.set(values, at)
  return copy
}

describe('a .keras archive', () => {
  it('gives the same weights stored and compressed', async () => {
    const files = await Promise.all([open(published), open(archive({}, 6))])
    const [stored, packed] = files
    if (stored === undefined || packed === undefined) return
    expect(stored.groups).toEqual(packed.groups)
    for (const [i, { name, weights }] of stored.groups.entries()) {
      for (const [j, own] of weights.entries()) {
        const other = packed.groups[i]?.weights[j]
        expect(other && (await packed.read(other)), `${name} ${j}`).toEqual(await stored.read(own))
      }
    }
    for (const file of files) file.close()
  })

  it('takes names and order from the configuration, including nested models', async () => {
    const config = JSON.parse(new TextDecoder().decode(contents['config.json']))
    const [input, ...rest] = config.config.layers
    // The file numbers layers within a class, whatever their names and the order of the classes.
    config.config.layers = [
      input,
      ...rest.map((layer: { config: object }, i: number) => ({ ...layer, config: { name: `l${i}` } })),
    ]
    const renamed = await open(archive({ 'config.json': strToU8(JSON.stringify(config)) }))
    expect(renamed.groups.map(({ name }) => name)).toEqual(['l0', 'l2', 'l5', 'l6', 'l7'])
    renamed.close()
    config.config.layers.reverse()
    const reversed = await open(archive({ 'config.json': strToU8(JSON.stringify(config)) }))
    expect(reversed.groups.map(({ weights }) => String(weights[0]?.shape))).toEqual([
      '400,256',
      '256,32',
      '32,10',
      '5,5,1,6',
      '5,5,6,16',
    ])
    reversed.close()
    const bare = await open(archive({ 'config.json': strToU8('{}') }))
    expect(bare.groups.map(({ name }) => name)).toEqual(layers)
    bare.close()
  })

  it('with a missing or extra part is refused', async () => {
    await refusal(archive({ 'config.json': undefined })).toMatchObject({
      message: expect.stringContaining('no config.json'),
    })
    await refusal(archive({ 'model.weights.h5': undefined })).toMatchObject({
      message: expect.stringContaining('no model.weights.h5'),
    })
    await refusal(archive({ 'config.json': strToU8('{') })).toMatchObject({
      message: expect.stringContaining('not JSON'),
    })
    await refusal(archive({ 'model.weights.h5': strToU8('nothing') })).toMatchObject({
      code: 'format',
      message: expect.stringContaining('HDF5'),
    })
  })
})

it('a .keras archive is unpacked to at most 256 MiB', async () => {
  const bomb = archive({ 'model.weights.h5': new Uint8Array(2 ** 28 + 1) }, 6)
  await refusal(bomb).toMatchObject({
    code: 'format',
    message: expect.stringContaining('more than the 268435456 expected'),
  })
})

it('the configuration of a .keras archive is not parsed if it is made to fill the memory', async () => {
  const lists = 2 ** 23
  const bomb = archive({ 'config.json': strToU8('['.repeat(lists) + ']'.repeat(lists)) }, 6)
  expect(bomb.length).toBeLessThan(2 ** 21)
  const before = process.memoryUsage().rss
  await refusal(bomb).toMatchObject({ code: 'format', message: expect.stringContaining('config.json') })
  // A list would take 50 bytes.
  expect(process.memoryUsage().rss - before).toBeLessThan(25 * lists)
})

describe('a zip archive', () => {
  const small = zipSync({ 'a.txt': strToU8('stored') }, { level: 0 })
  const text = 'packed '.repeat(100)
  const packed = zipSync({ 'a.txt': strToU8(text) }, { level: 9 })

  const contentOf = (bytes: Uint8Array, mostBytes = 1e6): string => {
    const source = memorySource(bytes, 'x.zip')
    const found = zipEntries(source).get('a.txt')
    if (found === undefined) return expect.fail('a.txt is not in it')
    const content = openZipEntry(source, found, mostBytes)
    const read = new Uint8Array(content.size)
    content.readInto(read, 0)
    return new TextDecoder().decode(read)
  }

  it('is read with a comment, and in zip64 form', () => {
    expect(contentOf(small)).toBe('stored')
    expect(contentOf(packed)).toBe(text)
    const endAt = recordAt(small, end)
    expect(contentOf(Uint8Array.from([...small.subarray(0, endAt + 20), 3, 0, 80, 75, 5]))).toBe('stored')

    const entryAt = recordAt(small, entry)
    const table = small.subarray(entryAt, endAt)
    const sizes = [1, 0, 24, 0, ...le64(6), ...le64(6), ...le64(0)]
    const wideEntry = changed(table, 20, Array(8).fill(255))
    wideEntry.set(Array(4).fill(255), 42)
    wideEntry.set([sizes.length, 0], 30)
    const wideTable = [...wideEntry, ...sizes]
    const wideEnd = [
      ...[0x50, 0x4b, 6, 6, ...le64(44), 45, 0, 45, 0, ...le32(0), ...le32(0)],
      ...[...le64(1), ...le64(1), ...le64(wideTable.length), ...le64(entryAt)],
      ...[0x50, 0x4b, 6, 7, ...le32(0), ...le64(entryAt + wideTable.length), ...le32(1)],
      ...[0x50, 0x4b, 5, 6, 0, 0, 0, 0, ...Array(12).fill(255), 0, 0],
    ]
    expect(contentOf(Uint8Array.from([...small.subarray(0, entryAt), ...wideTable, ...wideEnd]))).toBe('stored')
  })

  it('is refused for impossible sizes before anything is allocated', () => {
    const entryAt = recordAt(packed, entry)
    const giant = changed(packed, entryAt + 24, le32(0xf0000000))
    expect(() => contentOf(giant)).toThrow(/claims 4026531840 bytes, more than it can have/)
    expect(() => contentOf(packed, 100)).toThrow(/has 700 bytes, more than the 100 expected/)
    // Entries that unpack to more or less than the table says.
    for (const bytes of [650, 750]) {
      expect(() => contentOf(changed(packed, entryAt + 24, le32(bytes)))).toThrow(
        `does not unpack to the expected ${bytes} bytes`,
      )
    }
    expect(() => contentOf(changed(small, recordAt(small, end) + 10, [255, 255]))).toThrow(/claims 65535 entries/)
    expect(() => contentOf(changed(small, recordAt(small, entry) + 42, le32(4)))).toThrow(/not where it should be/)
    expect(() => contentOf(changed(small, recordAt(small, entry) + 10, [12, 0]))).toThrow(/unknown compression method/)
    expect(() => contentOf(changed(small, recordAt(small, entry) + 8, [1, 0]))).toThrow(/encrypted/)
  })

  it('is refused for a wrong CRC-32, stored or compressed', () => {
    const changedByte = changed(small, small.indexOf('s'.charCodeAt(0), 30 + 5), [0x53])
    expect(() => contentOf(changedByte)).toThrow(/'a.txt' has the CRC-32 [0-9a-f]{8} instead of [0-9a-f]{8}/)
    for (const bytes of [small, packed]) {
      const other = changed(bytes, recordAt(bytes, entry) + 16, le32(0x12345678))
      expect(() => contentOf(other)).toThrow(/instead of 12345678: it was damaged or changed/)
    }
  })

  it('that is truncated or changed gives its content or a format error', () => {
    const bytes = zipSync({ 'a.txt': [strToU8('stored'), { level: 0 }], 'b.txt': strToU8(text) })
    for (let length = 0; length < bytes.length; length++) {
      expect(() => contentOf(bytes.subarray(0, length)), `${length} bytes`).toThrow(
        expect.objectContaining({ code: 'format' }),
      )
    }
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const copy = Uint8Array.from(bytes)
        for (const [at, byte] of changes) copy[at] = byte
        try {
          const source = memorySource(copy, 'x.zip')
          for (const found of zipEntries(source).values()) openZipEntry(source, found, 1e6)
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
        }
      }),
      { seed: 6, numRuns: 3000 },
    )
  })
})
