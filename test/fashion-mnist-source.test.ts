import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FashionMnistSurroundings, loadFashionMnist } from '../src/data/fashion-mnist.node.ts'
import {
  type FashionMnistPart,
  fashionMnistClasses,
  fashionMnistFiles,
  fashionMnistParts,
  isPublishedFashionMnist,
  parseFashionMnist,
} from '../src/data/fashion-mnist.ts'
import { writeIdx } from '../src/format/idx.ts'

/** Three training and two test images, well formed but not the published ones. */
const tiny: Record<FashionMnistPart, Uint8Array> = {
  trainImages: writeIdx({ shape: [3, 28, 28], data: new Uint8Array(3 * 784).fill(5) }),
  trainLabels: writeIdx({ shape: [3], data: Uint8Array.of(0, 9, 4) }),
  testImages: writeIdx({ shape: [2, 28, 28], data: new Uint8Array(2 * 784).fill(6) }),
  testLabels: writeIdx({ shape: [2], data: Uint8Array.of(1, 2) }),
}

const csvHeader = ['label', ...Array.from({ length: 784 }, (_, i) => `pixel${i + 1}`)].join(',')
const csvRow = (label: number | string): string => `${label}${',7'.repeat(784)}`

let folder = ''
let lines: string[] = []
const log = (line: string): void => {
  lines.push(line)
}

/** A computer without data and without network. */
function bareSurroundings(changes: Partial<FashionMnistSurroundings> = {}): FashionMnistSurroundings {
  return {
    env: {},
    home: join(folder, 'home'),
    systemFolder: join(folder, 'system'),
    cache: join(folder, 'cache'),
    addresses: ['https://first.example/', 'https://second.example/'],
    fetch: async () => {
      throw new TypeError('fetch failed', { cause: new Error('no network') })
    },
    openApt: async () => {
      throw new Error('there is no apt-get here')
    },
    ...changes,
  }
}

async function put(where: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const path = join(folder, where)
  await mkdir(path, { recursive: true })
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content)
  return path
}

const published = (change: (name: string) => string = (name) => name, pack = (bytes: Uint8Array) => bytes) =>
  Object.fromEntries(fashionMnistParts.map((part) => [change(fashionMnistFiles[part].name), pack(tiny[part])]))

/** The published data, downloaded if this computer has none yet: these tests need it, like others. */
const real = await loadFashionMnist()

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-fashion-'))
  lines = []
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

describe('parseFashionMnist', () => {
  it('checks counts, shapes and labels', () => {
    const parsed = parseFashionMnist(tiny, { anyCount: true })
    expect(parsed.train).toMatchObject({ count: 3, height: 28, width: 28, labels: Uint8Array.of(0, 9, 4) })
    expect(parsed.test.images).toHaveLength(2 * 784)
    expect(() => parseFashionMnist(tiny)).toThrow('has 3 images instead of the published 60000')
    const changed = (part: FashionMnistPart, shape: number[], data: Uint8Array) => () =>
      parseFashionMnist({ ...tiny, [part]: writeIdx({ shape, data }) }, { anyCount: true })
    expect(changed('trainImages', [3, 27, 28], new Uint8Array(3 * 27 * 28))).toThrow('instead of images of 28x28')
    expect(changed('trainImages', [3, 784], new Uint8Array(3 * 784))).toThrow('instead of images of 28x28')
    expect(changed('testImages', [0, 28, 28], new Uint8Array(0))).toThrow('instead of images of 28x28')
    expect(changed('trainLabels', [2], Uint8Array.of(1, 2))).toThrow('needs 3 labels')
    expect(changed('testLabels', [2], Uint8Array.of(1, 10))).toThrow('has the label 10 at index 1')
    expect(changed('testLabels', [1], Uint8Array.of(1))).toThrow(expect.objectContaining({ code: 'data' }))
  })

  it('names ten classes', () => {
    expect(fashionMnistClasses).toHaveLength(10)
  })

  it('recognises the published bytes', async () => {
    expect(await isPublishedFashionMnist('trainLabels', tiny.trainLabels)).toBe(false)
  })
})

describe("loadFashionMnist from a user's folder", () => {
  it('reads plain and compressed files under every usual name, and reports that they are not the published ones', async () => {
    const variants: [string, Record<string, Uint8Array>][] = [
      ['plain', published()],
      ['gz', published((name) => `${name}.gz`, gzipSync)],
      ['dotted', published((name) => name.replace('-idx', '.idx'))],
      ['suffix', published((name) => `${name}.idx`)],
      ['short', published((name) => `${name.replace(/-idx.*/, '')}.idx`)],
      ['torchvision/FashionMNIST/raw', published()],
      ['parent/fashion-mnist', published((name) => name, gzipSync)],
    ]
    for (const [where, files] of variants) {
      lines = []
      await put(where, files)
      const dataDir = join(folder, where.split('/')[0] ?? '')
      const loaded = await loadFashionMnist({ dataDir, log })
      expect(loaded).toMatchObject({
        published: false,
        folder: join(folder, where),
        train: { count: 3 },
        test: { count: 2 },
      })
      expect(lines).toEqual([expect.stringContaining('does not hold the published Fashion-MNIST')])
    }
  })

  it("reads Kaggle's CSV and leaves out rows with missing cells if asked to", async () => {
    const dataDir = await put('kaggle', {
      'fashion-mnist_train.csv': `${csvHeader}\n${csvRow(1)}\n${csvRow('')}\n${csvRow(2)}\n`,
      'fashion-mnist_test.csv.gz': gzipSync(`${csvHeader}\r\n${csvRow(3)}`),
    })
    await expect(loadFashionMnist({ dataDir })).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('line 3: the label is missing'),
    })
    const loaded = await loadFashionMnist({ dataDir, missing: 'drop', log })
    expect(loaded.train).toMatchObject({ count: 2, height: 28, width: 28, labels: Uint8Array.of(1, 2) })
    expect(loaded.test.images).toEqual(new Uint8Array(784).fill(7))
    expect(lines).toEqual([expect.stringContaining('dropped 1 rows with missing cells (lines 3)')])
  })

  it('refuses damaged and incomplete folders instead of looking elsewhere', async () => {
    const surroundings = bareSurroundings()
    const dataDir = await put('damaged', {
      ...published(),
      'train-images-idx3-ubyte': tiny.trainImages.subarray(0, 99),
    })
    await expect(loadFashionMnist({ dataDir, surroundings })).rejects.toMatchObject({ code: 'format' })
    await expect(
      loadFashionMnist({ surroundings: { ...surroundings, env: { WEFTGRAD_DATA_DIR: dataDir } } }),
    ).rejects.toMatchObject({ code: 'format', message: expect.stringContaining(dataDir) })

    await rm(join(dataDir, 'train-images-idx3-ubyte'))
    await expect(loadFashionMnist({ dataDir, surroundings })).rejects.toMatchObject({
      code: 'file',
      message: expect.stringContaining('train-images-idx3-ubyte missing'),
    })
    await expect(loadFashionMnist({ dataDir: join(folder, 'nowhere'), surroundings })).rejects.toMatchObject({
      code: 'file',
      message: expect.stringContaining('no such folder'),
    })
  })
})

describe('loadFashionMnist on a computer without the data', () => {
  it('says in one sentence where it looked, what it tried, and what to do', async () => {
    await put('empty', {})
    const failure = loadFashionMnist({
      surroundings: bareSurroundings({ env: { WEFTGRAD_DATA_DIR: join(folder, 'empty') } }),
      log,
    })
    await expect(failure).rejects.toMatchObject({ name: 'WeftgradError', code: 'fetch' })
    const message = await failure.then(String, String)
    for (const part of ['empty', 'system', '.keras', 'cache', 'no network', 'no apt-get', '--data-dir']) {
      expect(message).toContain(part)
    }
    expect(lines[0]).toContain('No Fashion-MNIST in WEFTGRAD_DATA_DIR')
    expect(lines[1]).toContain('not on this computer yet: downloading from https://first.example/')
    expect(await filesBelow(folder)).toEqual([])
  })

  it('downloads nothing if that is switched off', async () => {
    const fetch = () => expect.fail('fetched')
    const off = { env: { WEFTGRAD_NO_SETUP: '1' }, fetch }
    await expect(loadFashionMnist({ surroundings: bareSurroundings(off) })).rejects.toThrow('switched off')
    await expect(
      loadFashionMnist({ provision: false, surroundings: bareSurroundings({ fetch }) }),
    ).rejects.toMatchObject({ code: 'fetch' })
  })

  it('rejects other bytes, from caches and from servers, and keeps none of them', async () => {
    await put('home/.keras/datasets/fashion-mnist', published())
    const urls: string[] = []
    const fetch = async (input: string | URL | Request) => {
      urls.push(String(input))
      const part = fashionMnistParts.find((name) => String(input).includes(fashionMnistFiles[name].name))
      return new Response(Buffer.from(gzipSync(part === undefined ? '' : tiny[part])))
    }
    const failure = loadFashionMnist({ surroundings: bareSurroundings({ fetch }), log })
    await expect(failure).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringContaining('.gz does not hold the published bytes'),
    })
    expect(lines[0]).toContain("Skipping Keras' cache")
    expect(urls.filter((url) => url.startsWith('https://second.example/'))).toHaveLength(4)
    expect((await filesBelow(folder)).every((path) => path.includes('.keras'))).toBe(true)
  })

  it('stops when the signal fires', async () => {
    const surroundings = bareSurroundings()
    await expect(loadFashionMnist({ surroundings, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    })
    const controller = new AbortController()
    const fetch: typeof globalThis.fetch = (_, init) =>
      new Promise((_, reject) => {
        init?.signal?.addEventListener('abort', () => reject(new Error('stopped')))
        setTimeout(() => controller.abort(), 10)
      })
    await expect(
      loadFashionMnist({ surroundings: { ...surroundings, fetch }, signal: controller.signal }),
    ).rejects.toMatchObject({ code: 'aborted' })
  })
})

describe('loadFashionMnist with the published data', () => {
  const gz = (part: FashionMnistPart): Uint8Array<ArrayBuffer> => {
    const half = part.startsWith('train') ? real.train : real.test
    const data = part.endsWith('Images') ? half.images : half.labels
    const bytes = writeIdx({ shape: fashionMnistFiles[part].shape, data })
    return Uint8Array.from(gzipSync(bytes, { level: 1 }))
  }
  const whole = Object.fromEntries(fashionMnistParts.map((part) => [`${fashionMnistFiles[part].name}.gz`, gz(part)]))

  it('reads the published files', () => {
    expect(real).toMatchObject({ published: true, train: { count: 60_000 }, test: { count: 10_000 } })
    expect([...(real.train.labels.subarray(0, 10) ?? [])]).toEqual([9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
    const perClass = new Uint32Array(10)
    for (const label of real.train.labels ?? []) perClass[label] = (perClass[label] ?? 0) + 1
    expect([...perClass]).toEqual(Array(10).fill(6000))
  })

  it('downloads from the second address if the first fails, and finds the files next time', async () => {
    const fetch = async (input: string | URL | Request) => {
      const url = String(input)
      if (url.startsWith('https://first.example/')) return new Response('no', { status: 503 })
      return new Response(whole[url.replace('https://second.example/', '')] ?? null)
    }
    const loaded = await loadFashionMnist({ surroundings: bareSurroundings({ fetch }), log })
    expect(loaded).toMatchObject({ published: true, train: { count: 60_000 } })
    expect(lines).toHaveLength(2)
    const kept = await readdir(join(folder, 'cache', 'fashion-mnist'))
    expect(kept.sort()).toEqual(Object.keys(whole).sort())
    const again = await loadFashionMnist({ provision: false, surroundings: bareSurroundings() })
    expect(again.published).toBe(true)
  })

  it('replaces a damaged cache, and unpacks the Debian package if nothing can be downloaded', async () => {
    const cache = await put('cache/fashion-mnist', whole)
    await writeFile(join(cache, 't10k-labels-idx1-ubyte.gz'), 'damaged')
    const abandoned = await put('cache/.fashion-mnist-abandoned', { file: '' })
    await utimes(abandoned, 0, 0)
    const openApt: FashionMnistSurroundings['openApt'] = async () => ({
      candidate: async (name) => (name === 'dataset-fashion-mnist' ? '1.0' : undefined),
      unpack: async (packages, into) => {
        expect(packages).toEqual([{ name: 'dataset-fashion-mnist', version: '1.0' }])
        const data = join(into, 'usr/share/datasets/fashion-mnist')
        await mkdir(data, { recursive: true })
        for (const [name, bytes] of Object.entries(whole)) await writeFile(join(data, name), bytes)
      },
    })
    const loaded = await loadFashionMnist({ surroundings: bareSurroundings({ openApt }), log })
    expect(loaded.published).toBe(true)
    expect(lines[0]).toContain("Skipping weftgrad's cache")
    expect(lines.at(-1)).toContain('dataset-fashion-mnist')
    expect((await filesBelow(join(folder, 'cache'))).sort()).toEqual(
      Object.keys(whole)
        .map((name) => join(cache, name))
        .sort(),
    )
  })

  it('uses downloaded files even if they cannot be cached', async () => {
    await put('cache', { 'fashion-mnist': 'a file where the folder should be' })
    const fetch = async (input: string | URL | Request) =>
      new Response(whole[String(input).split('/').at(-1) ?? ''] ?? null)
    const loaded = await loadFashionMnist({ surroundings: bareSurroundings({ fetch }), log })
    expect(loaded.published).toBe(true)
    expect(lines.at(-1)).toContain('cannot be stored')
  })
})

async function filesBelow(path: string): Promise<string[]> {
  const names = await readdir(path, { recursive: true })
  const files: string[] = []
  for (const name of names) if ((await stat(join(path, name))).isFile()) files.push(join(path, name))
  return files
}
