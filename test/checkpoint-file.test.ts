/** Training checkpoints as bytes and on disk: nothing is lost, and damaged files are refused. */
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeSafetensors } from '../src/format/safetensors.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../src/nn/checkpoint.ts'
import type { TrainingCheckpoint } from '../src/nn/contract.ts'
import { checkpointIn, keepCheckpoint } from '../src/runs/resumable-fit.node.ts'

const weights = (offset: number): TrainingCheckpoint['weights'] =>
  new Map([
    ['z/kernel', { shape: [2, 3], data: Float32Array.from({ length: 6 }, (_, i) => Math.fround(0.1 * i + offset)) }],
    ['a/bias', { shape: [3], data: Float32Array.of(-0, 1e-40, 3.4e38) }],
  ])

const checkpoint: TrainingCheckpoint = {
  epoch: 2,
  step: 5,
  globalStep: 4_294_967_301,
  weights: weights(0),
  moments: [Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)],
  record: Float32Array.of(0.5, 30, 32, 0, Number.NaN, 0, 32, 0),
  history: [
    { epoch: 1, loss: 0.1 + 0.2, accuracy: 1 / 3, learningRate: 1e-3, seconds: 12.25 },
    {
      epoch: 2,
      loss: 1e-300,
      accuracy: 0.5,
      validationLoss: Number.POSITIVE_INFINITY,
      validationAccuracy: 0.25,
      learningRate: 1e-3,
      seconds: 1,
    },
  ],
  best: { epoch: 1, weights: weights(9) },
  settings: {
    seed: 2 ** 53 - 1,
    batchSize: 32,
    epochs: 15,
    trainCount: 54000,
    validationCount: 6000,
    optimizer: 'adam(0.001, beta1 0.9)',
    model: 'lenet5',
  },
}

describe('a checkpoint as bytes', () => {
  it('comes back bit for bit, with the weights in their order', () => {
    const back = decodeCheckpoint(encodeCheckpoint(checkpoint))
    expect(back).toEqual(checkpoint)
    expect([...back.weights.keys()]).toEqual(['z/kernel', 'a/bias'])
    expect(Object.is(back.weights.get('a/bias')?.data[0], -0)).toBe(true)
    expect(encodeCheckpoint(back)).toEqual(encodeCheckpoint(checkpoint))
  })

  it('may lack best weights, moments, record and history', () => {
    const { best: _, ...rest } = checkpoint
    const early = { ...rest, moments: [], record: new Float32Array(0), history: [] }
    expect(decodeCheckpoint(encodeCheckpoint(early))).toEqual(early)
  })

  it('is refused if any byte has changed or is missing', () => {
    const bytes = encodeCheckpoint(checkpoint)
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice()
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8))
      // In the header's padding, a tab instead of a space has the same meaning.
      let back: TrainingCheckpoint | undefined
      try {
        back = decodeCheckpoint(damaged)
      } catch (error) {
        expect(['format', 'mismatch']).toContain((error as { code?: string }).code)
      }
      if (back !== undefined) expect(back).toEqual(checkpoint)
    }
    for (const length of [0, 7, 100, bytes.length - 1]) {
      expect(() => decodeCheckpoint(bytes.subarray(0, length))).toThrow(expect.objectContaining({ code: 'format' }))
    }
  })

  it('is distinguished from other safetensors files, and from other versions', () => {
    const other = writeSafetensors(new Map([['x', { dtype: 'F32', shape: [1], data: Float32Array.of(1) }]]))
    expect(() => decodeCheckpoint(other, 'here.safetensors')).toThrow(/here\.safetensors .*not a weftgrad checkpoint/)
    const future = writeSafetensors(new Map(), { format: 'weftgrad-training-checkpoint', version: '7' })
    expect(() => decodeCheckpoint(future)).toThrow(expect.objectContaining({ code: 'mismatch' }))
  })
})

describe('a checkpoint on disk', () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-checkpoint-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  const pathOf = (name: string): string => join(folder, name)
  const sums = async (): Promise<string[]> =>
    JSON.parse(await readFile(pathOf('checksums.json'), 'utf8'))['checkpoint.safetensors']

  it('replaces the one before, and leaves nothing else behind but its checksum', async () => {
    expect(await checkpointIn(folder)).toBeUndefined()
    await keepCheckpoint(folder, { ...checkpoint, epoch: 1 })
    await keepCheckpoint(folder, checkpoint)
    expect(await checkpointIn(folder)).toEqual(checkpoint)
    expect((await readdir(folder)).sort()).toEqual(['checkpoint.safetensors', 'checksums.json'])
    const bytes = await readFile(pathOf('checkpoint.safetensors'))
    expect(await sums()).toContain(createHash('sha256').update(bytes).digest('hex'))
    for (let epoch = 3; epoch < 6; epoch++) await keepCheckpoint(folder, { ...checkpoint, epoch })
    expect(await sums()).toHaveLength(2)
  })

  it('is refused if it is damaged, or is another intact checkpoint', async () => {
    await keepCheckpoint(folder, checkpoint)
    const path = pathOf('checkpoint.safetensors')
    const bytes = await readFile(path)
    const changed = bytes.slice()
    changed[bytes.length - 5] = (changed[bytes.length - 5] ?? 0) ^ 1
    const another = encodeCheckpoint({ ...checkpoint, epoch: 1 })
    for (const wrong of [bytes.subarray(0, bytes.length - 3), changed, another]) {
      await writeFile(path, wrong)
      await expect(checkpointIn(folder)).rejects.toMatchObject({
        code: 'checksum',
        message: expect.stringContaining(path),
      })
    }
    await writeFile(pathOf('checksums.json'), '{"checkpoint.safetensors": 7}')
    await expect(checkpointIn(folder)).rejects.toMatchObject({ code: 'format' })
  })

  it('is good wherever a crash came between the checksum and the file, even repeatedly', async () => {
    await keepCheckpoint(folder, { ...checkpoint, epoch: 1 })
    for (let epoch = 2; epoch < 6; epoch++) {
      const old = await readFile(pathOf('checkpoint.safetensors'))
      await keepCheckpoint(folder, { ...checkpoint, epoch })
      // The checksum was written, the file was not.
      await writeFile(pathOf('checkpoint.safetensors'), old)
      expect(await checkpointIn(folder)).toMatchObject({ epoch: 1 })
    }
    await keepCheckpoint(folder, checkpoint)
    expect(await checkpointIn(folder)).toEqual(checkpoint)
  })

  it('without a checksum comes from an early run, and is accepted for its contents', async () => {
    await keepCheckpoint(folder, checkpoint)
    await unlink(pathOf('checksums.json'))
    expect(await checkpointIn(folder)).toEqual(checkpoint)
    const bytes = await readFile(pathOf('checkpoint.safetensors'))
    await writeFile(pathOf('checkpoint.safetensors'), bytes.subarray(0, bytes.length - 3))
    await expect(checkpointIn(folder)).rejects.toMatchObject({ code: 'format' })
  })
})
