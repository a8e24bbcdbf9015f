/** The LeNet-5 job on a real adapter with small data: the contents of a run's folder, and how a stopped run resumes. */

import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { encodePng } from '../src/format/png.ts'
import { readSafetensors, writeSafetensors } from '../src/format/safetensors.ts'
import { decodeCheckpoint } from '../src/nn/checkpoint.ts'
import { FolderLock } from '../src/runs/folder-lock.node.ts'
import { splitImages } from '../src/runs/images.ts'
import { readAnyConfig, requireSpace, reserveRunFolder } from '../src/runs/run-folder.node.ts'
import { evaluateRun, predictPictures } from '../src/study/use-run.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import type { TrainReport } from '../src/train/result.ts'
import { type TrainOptions, type TrainReporter, train } from '../src/train/run.node.ts'
import { barImages, writeBars } from './support/fashion-files.ts'

let place = ''
let dataDir = ''
let whole: TrainReport
const small = { units: [16, 8], epochs: 3, batchSize: 24, learningRate: 3e-3 } as const

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-run-'))
  dataDir = await writeBars(join(place, 'data'), 500, 60)
  whole = await train(task, { ...small, dataDir, out: join(place, 'whole') })
}, 300_000)
afterAll(() => rm(place, { recursive: true, force: true }))

/** Trains until the first step or epoch is done, and returns the error it ends with. */
async function stoppedAfter(what: 'step' | 'epoch', options: TrainOptions): Promise<unknown> {
  const controller = new AbortController()
  const stop = () => controller.abort()
  const reporter: TrainReporter = what === 'step' ? { onProgress: stop } : { onEpochEnd: stop }
  return await train(task, { ...small, dataDir, ...options, signal: controller.signal }, reporter).then(
    () => 'it was not stopped',
    (error: unknown) => error,
  )
}

const bytesOf = (run: string, file: string) => readFile(join(place, run, file))

describe('a finished run', () => {
  it('leaves its files, and no others', async () => {
    expect((await readdir(join(place, 'whole'))).sort()).toEqual([
      'checkpoint.safetensors',
      'checksums.json',
      'config.json',
      'curves.svg',
      'history.jsonl',
      'model.safetensors',
      'pictures.json',
      'predictions.csv',
      'report.json',
    ])
  })

  it('reports the same results as its files', async () => {
    expect(whole).toMatchObject({ epochs: 3, batchSize: 24, parameters: 9214, runDir: join(place, 'whole') })
    expect(whole.test.accuracy).toBeGreaterThan(0.5)
    expect(whole.perClass.map((one) => one.support)).toEqual(Array(10).fill(6))
    expect(JSON.parse(String(await bytesOf('whole', 'report.json')))).toEqual(whole)
    const lines = String(await bytesOf('whole', 'history.jsonl'))
      .trim()
      .split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual(whole.history)
    const kept = whole.history[whole.keptEpoch - 1]
    expect(whole.validation).toEqual({ loss: kept?.validationLoss, accuracy: kept?.validationAccuracy })
    const [header, ...rows] = String(await bytesOf('whole', 'predictions.csv'))
      .trim()
      .split('\n')
    expect(header).toBe('index,label,predicted')
    const right = rows.filter((row) => row.split(',')[1] === row.split(',')[2]).length
    expect([rows.length, right / rows.length]).toEqual([60, whole.test.accuracy])
    expect(String(await bytesOf('whole', 'curves.svg'))).toContain('<svg xmlns="http://www.w3.org/2000/svg"')
  })

  it('records its settings in its configuration', async () => {
    const config = await readAnyConfig(join(place, 'whole'))
    expect(config.settings).toEqual({ ...small, seed: 1, split: 'official', limit: null, restoreBest: true })
    expect(config.task).toBe(task.name)
    expect(config.recipe).toEqual(task.recipes.seed.recipe)
    expect(config.data).toMatchObject({ train: 500, test: 60, fingerprint: expect.stringMatching(/^sha256:/) })
    expect(Object.keys(config.kernels).filter((kernel) => kernel.startsWith('conv2d'))).not.toEqual([])
    expect(config.adapter.driver).toBe(whole.adapter)
  })

  it('can be evaluated again with the same result', async () => {
    const { test, confusion } = await evaluateRun(task, join(place, 'whole'), { dataDir })
    expect({ test, confusion }).toEqual({ test: whole.test, confusion: whole.confusion })
  })

  it('is not trained again when it is resumed', async () => {
    const notes: string[] = []
    const reporter: TrainReporter = { onNote: (line) => notes.push(line), onBegin: () => expect.fail('trained') }
    expect(await train(task, { resume: join(place, 'whole') }, reporter)).toEqual(whole)
    expect(notes).toEqual([expect.stringContaining('is finished')])
  })
})

describe('a stopped run', () => {
  it('resumes to the same model, bit for bit, from within an epoch and between epochs', async () => {
    const resume = join(place, 'stopped')
    const stops: { what: 'step' | 'epoch'; options: TrainOptions; reached: object }[] = [
      { what: 'step', options: { out: resume }, reached: { epoch: 0, step: 1 } },
      { what: 'epoch', options: { resume }, reached: { epoch: 1, step: 0 } },
      { what: 'step', options: { resume }, reached: { epoch: 1, step: 1 } },
    ]
    for (const { what, options, reached } of stops) {
      const error = await stoppedAfter(what, options)
      expect(error).toMatchObject({ code: 'aborted', details: { runDir: resume, resumable: true } })
      expect(decodeCheckpoint(await bytesOf('stopped', 'checkpoint.safetensors'))).toMatchObject(reached)
      // A line that a crash left behind, from an epoch that is in no checkpoint.
      await appendFile(join(resume, 'history.jsonl'), '{"epoch":99}\n')
    }
    const report = await train(task, { resume, dataDir })
    expect((await bytesOf('stopped', 'model.safetensors')).equals(await bytesOf('whole', 'model.safetensors'))).toBe(
      true,
    )
    expect(await bytesOf('stopped', 'predictions.csv')).toEqual(await bytesOf('whole', 'predictions.csv'))
    expect(report.test).toEqual(whole.test)
    const lines = String(await bytesOf('stopped', 'history.jsonl'))
      .trim()
      .split('\n')
    expect(lines.map((line) => JSON.parse(line).loss)).toEqual(whole.history.map((logs) => logs.loss))
  })

  it('refuses other settings, data and folders, and does not change', async () => {
    const resume = join(place, 'kept')
    await stoppedAfter('step', { out: resume })
    const before = await Promise.all((await readdir(resume)).map((file) => bytesOf('kept', file)))
    const refused = (options: TrainOptions) => expect(train(task, { resume, dataDir, ...options })).rejects
    await refused({ epochs: 4 }).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('--epochs 3, not 4'),
    })
    await refused({ units: [16, 9] }).toMatchObject({ code: 'mismatch' })
    await refused({ restoreBest: false }).toMatchObject({ code: 'mismatch' })
    await refused({ out: join(place, 'elsewhere') }).toMatchObject({ code: 'argument' })
    await refused({ dataDir: await writeBars(join(place, 'other'), 510, 60) }).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('holds other data'),
    })
    expect(await Promise.all((await readdir(resume)).map((file) => bytesOf('kept', file)))).toEqual(before)
  })

  it('refuses a damaged checkpoint instead of training on', async () => {
    const resume = join(place, 'damaged')
    await stoppedAfter('step', { out: resume })
    const path = join(resume, 'checkpoint.safetensors')
    const bytes = await readFile(path)
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 16
    await writeFile(path, bytes)
    await expect(train(task, { resume, dataDir })).rejects.toMatchObject({
      code: 'checksum',
      message: expect.stringContaining('changed or damaged'),
    })
    await writeFile(join(resume, 'config.json'), '{"job":"lenet5"}')
    await expect(train(task, { resume, dataDir })).rejects.toMatchObject({ code: 'format' })
  })

  it('leaves no folder behind if it never started', async () => {
    const out = join(place, 'never')
    const given = { ...small, dataDir, out, signal: AbortSignal.abort() }
    await expect(train(task, given)).rejects.toMatchObject({ code: 'aborted' })
    await expect(train(task, { out, dataDir: join(place, 'nowhere') })).rejects.toMatchObject({ code: 'file' })
    expect(await readdir(place)).not.toContain('never')
  })
})

describe('the model of a run', () => {
  /** Copies the whole run. */
  async function copied(name: string): Promise<string> {
    const run = join(place, name)
    await cp(join(place, 'whole'), run, { recursive: true })
    return run
  }
  const picture = async (): Promise<string> => {
    const path = join(place, 'picture.png')
    await writeFile(path, encodePng({ width: 28, height: 28, channels: 1, data: new Uint8Array(784).fill(9) }))
    return path
  }

  it('is refused if its file was changed', async () => {
    const run = await copied('changed')
    const path = join(run, 'model.safetensors')
    const bytes = await readFile(path)
    // The last bit of a weight: still a valid number.
    bytes[bytes.length - 4] = (bytes[bytes.length - 4] ?? 0) ^ 1
    await writeFile(path, bytes)
    const refusal = { code: 'checksum', message: expect.stringContaining('model.safetensors was changed or damaged') }
    await expect(evaluateRun(task, run, { dataDir })).rejects.toMatchObject(refusal)
    await expect(predictPictures(task, run, [await picture()])).rejects.toMatchObject(refusal)
  })

  it('is refused if its weights, or its results, are not finite', async () => {
    const images = await picture()
    for (const [name, value, code] of [
      ['nan', Number.NaN, 'data'],
      ['infinite', Number.POSITIVE_INFINITY, 'data'],
      ['large', 3e38, 'not-finite'],
    ] as const) {
      const run = await copied(name)
      const model = join(run, 'model.safetensors')
      const { tensors, metadata } = readSafetensors(await readFile(model))
      for (const { data } of tensors.values()) if (data instanceof Float32Array) data.fill(value)
      await writeFile(model, writeSafetensors(tensors, metadata))
      // Like early runs, which have no checksums.
      await rm(join(run, 'checksums.json'))
      await expect(evaluateRun(task, run, { dataDir })).rejects.toMatchObject({ code })
      await expect(predictPictures(task, run, [images])).rejects.toMatchObject({ code })
    }
  })
})

describe('a run that loses its folder', () => {
  const elsewhere = JSON.stringify({ pid: 1, host: 'elsewhere', token: 'theirs' })

  it('fails if the folder is removed in the middle, and does not create it again', async () => {
    const out = join(place, 'removed')
    const reporter: TrainReporter = { onSaved: () => rmSync(out, { recursive: true, force: true }) }
    await expect(train(task, { ...small, dataDir, out }, reporter)).rejects.toMatchObject({
      code: 'file',
      message: expect.stringContaining('removed'),
    })
    expect(await readdir(place)).not.toContain('removed')
  })

  it('writes nothing once another process has taken it over', async () => {
    const out = join(place, 'taken')
    let before: Record<string, string> = {}
    const contents = async (): Promise<Record<string, string>> =>
      Object.fromEntries(
        await Promise.all((await readdir(out)).map(async (name) => [name, await readFile(join(out, name), 'latin1')])),
      )
    const reporter: TrainReporter = {
      async onSaved() {
        await writeFile(join(out, 'lock'), elsewhere)
        before = await contents()
      },
    }
    await expect(train(task, { ...small, dataDir, out }, reporter)).rejects.toMatchObject({
      code: 'lock-lost',
      message: expect.stringContaining('process 1 on elsewhere took it over'),
    })
    expect(await contents()).toEqual(before)
    expect(before.lock).toBe(elsewhere)
  })

  it('checks, once it has the lock, what another process did', async () => {
    const resume = join(place, 'finished-meanwhile')
    await cp(join(place, 'whole'), resume, { recursive: true })
    const report = await readFile(join(resume, 'report.json'))
    await rm(join(resume, 'report.json'))
    // The report comes while the second process waits for the lock.
    await writeFile(
      join(resume, 'lock'),
      JSON.stringify({ pid: spawnSync('true').pid, host: hostname(), token: 'gone' }),
    )
    const take = FolderLock.take
    const spy = vi.spyOn(FolderLock, 'take').mockImplementation(async (path, options) => {
      await writeFile(join(resume, 'report.json'), report)
      return await take.call(FolderLock, path, options)
    })
    try {
      const never: TrainReporter = { onAdapter: () => expect.fail('it trains again') }
      expect(await train(task, { resume, dataDir }, never)).toEqual({ ...whole, runDir: resume })
    } finally {
      spy.mockRestore()
    }
  })
})

describe('the folder of a new run', () => {
  it('is refused first of all if it cannot be written', async () => {
    await writeFile(join(place, 'file'), '')
    const reporter: TrainReporter = { onAdapter: () => expect.fail('the adapter was opened') }
    for (const out of [join(place, 'file'), join(place, 'file', 'run')]) {
      await expect(train(task, { ...small, dataDir, out }, reporter)).rejects.toMatchObject({ code: 'file' })
    }
    await expect(train(task, { ...small, dataDir, out: join(place, 'whole') }, reporter)).rejects.toMatchObject({
      code: 'argument',
      message: expect.stringContaining('already holds a run'),
    })
  })

  it('needs space on its disk', async () => {
    await requireSpace(place, 1e6)
    await expect(requireSpace(place, 1e18)).rejects.toMatchObject({
      code: 'file',
      message: expect.stringContaining('MB free'),
    })
  })

  it('is named by the time, and two runs in the same second get different names', async () => {
    const here = process.cwd()
    process.chdir(place)
    try {
      const now = new Date(2025, 0, 31, 12, 34, 56)
      expect(await reserveRunFolder(undefined, now)).toBe(join(process.cwd(), 'runs', '2025-01-31T12-34-56'))
      expect(await reserveRunFolder(undefined, now)).toBe(join(process.cwd(), 'runs', '2025-01-31T12-34-56-2'))
    } finally {
      process.chdir(here)
    }
  })
})

describe('the images of a run', () => {
  const bytes = (count: number, stream: string) => {
    const { pixels, labels } = barImages(count, stream)
    return { images: pixels, labels, count, height: 28, width: 28, channels: 1, classes: 10 } as const
  }
  const train = bytes(200, 'train')
  train.images.copyWithin(784, 0, 784)
  const data = { train, test: bytes(50, 'test') }
  const settings = { split: 'seed', seed: 3, limit: null } as const

  it('of the official split are the first ones, up to the limit', () => {
    const limited = splitImages(data, { ...settings, split: 'official', limit: 60 })
    expect([limited.train.labels.length, limited.test.labels.length]).toEqual([60, 50])
    expect(limited.train.images).toEqual(data.train.images.subarray(0, 60 * 784))
    expect(limited.testIndices[49]).toBe(49)
  })

  it('of a split by seed leave out duplicates and share none between training and test', () => {
    const { train, test, testIndices, duplicates } = splitImages(data, settings)
    expect([duplicates, train.labels.length, test.labels.length]).toEqual([1, 179, 20])
    const texts = (part: typeof train) =>
      Array.from(part.labels, (_, i) => String(part.images.subarray(i * 784, (i + 1) * 784)))
    expect(new Set([...texts(train), ...texts(test)]).size).toBe(199)
    for (const [k, index] of testIndices.entries()) {
      expect(test.images.subarray(k * 784, (k + 1) * 784)).toEqual(
        data.train.images.subarray(index * 784, (index + 1) * 784),
      )
    }
    expect(splitImages(data, settings).testIndices).toEqual(testIndices)
    expect(splitImages(data, { ...settings, seed: 4 }).testIndices).not.toEqual(testIndices)
  })
})
