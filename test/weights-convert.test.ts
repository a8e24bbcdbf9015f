/** Weight files, in memory, written as safetensors. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { readSafetensors } from '../src/format/safetensors.ts'
import { convertWeights } from '../src/weights/convert.node.ts'
import { hashedNumbers } from '../src/weights/hashed.ts'
import { memoryWeightFile } from './support/weight-files.ts'

let folder = ''
let out = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-convert-'))
  out = join(folder, 'out.safetensors')
})
afterEach(() => rm(folder, { recursive: true }))

const file = memoryWeightFile('keras-h5', [
  ['b', { 'b_W_1:0': [3, 3, 1, 2], 'b_b_1:0': [2] }],
  ['a', { 'a_W_1:0': [2, 5] }],
])

describe('converting', () => {
  it('refuses a file without weights, and writes nothing', async () => {
    for (const none of [memoryWeightFile('tfjs-layers', []), memoryWeightFile('keras-h5', [['flatten', {}]])])
      await expect(convertWeights(none, out)).rejects.toMatchObject({ code: 'format' })
    expect(await readdir(folder)).toEqual([])
  })

  it("keeps the file's order and numbers, with weftgrad's names for weights", async () => {
    const told: [string, number, number][] = []
    const written = await convertWeights(file, out, {
      onProgress: ({ tensor, bytes, totalBytes }) => told.push([tensor.name, bytes, totalBytes]),
    })
    const { tensors, metadata } = readSafetensors(await readFile(out))
    expect([...tensors.keys()]).toEqual(['b/kernel', 'b/bias', 'a/kernel'])
    expect(tensors.get('a/kernel')).toEqual({ dtype: 'F32', shape: [2, 5], data: hashedNumbers('a/a_W_1:0', 10) })
    expect(metadata).toMatchObject({ convertedFrom: 'keras-h5' })
    expect(told).toEqual([
      ['b/kernel', 72, 120],
      ['b/bias', 80, 120],
      ['a/kernel', 120, 120],
    ])
    const numbers = [...hashedNumbers('a/a_W_1:0', 10)]
    expect(written[2]).toEqual({
      ...{ name: 'a/kernel', shape: [2, 5], storedAs: 'float32', notFinite: 0 },
      ...{ min: Math.min(...numbers), max: Math.max(...numbers) },
    })
  })

  it("keeps the file's own names if two weights would get the same name", async () => {
    const twice = memoryWeightFile('tfjs-layers', [
      ['a', { 'a/kernel': [1, 2] }],
      ['a', { 'x/a/kernel': [1, 2] }],
    ])
    await convertWeights(twice, out)
    expect([...readSafetensors(await readFile(out)).tensors.keys()]).toEqual(['a/kernel', 'x/a/kernel'])
  })

  it('leaves out counters, and does not mistake layer numbers for names', async () => {
    const plain = memoryWeightFile('keras-3-h5', [['dense_1', { 'vars/0': [1, 2], 'vars/1': [] }]])
    const groups = plain.groups.map((group) => ({
      ...group,
      names: [],
      weights: group.weights.map((entry) => (entry.name === 'vars/1' ? { ...entry, dtype: 'int64' } : entry)),
    }))
    const read: typeof file.read = async ({ shape }) => new Float32Array(shape.length)
    await convertWeights({ ...plain, groups, read }, out)
    expect([...readSafetensors(await readFile(out)).tensors.keys()]).toEqual(['unnamed_dense_1/kernel'])
  })

  it('counts numbers that are not finite and leaves them out of the range', async () => {
    const read: typeof file.read = async ({ shape }) =>
      shape.length === 1
        ? Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY)
        : file.read(file.groups[0]?.weights[0] ?? expect.fail())
    const small = { ...file, groups: file.groups.slice(0, 1), read }
    const [, bias] = await convertWeights(small, out)
    expect(bias).toMatchObject({ name: 'b/bias', notFinite: 2, min: Number.NaN, max: Number.NaN })
  })

  it('keeps the old file if reading fails, or the signal fires', async () => {
    await writeFile(out, 'old')
    const broken: typeof file.read = async (entry) => {
      if (entry.name === 'a_W_1:0') throw new WeftgradError('data', 'Damaged.')
      return file.read(entry)
    }
    await expect(convertWeights({ ...file, read: broken }, out)).rejects.toMatchObject({ code: 'data' })
    const controller = new AbortController()
    const stopped = convertWeights(file, out, { signal: controller.signal, onProgress: () => controller.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    const short: typeof file.read = async () => new Float32Array(1)
    await expect(convertWeights({ ...file, read: short }, out)).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining('b/kernel'),
    })
    expect(await readFile(out, 'utf8')).toBe('old')
    expect(await readdir(folder)).toEqual(['out.safetensors'])
  })
})
