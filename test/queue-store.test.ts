/** Addresses, the store of results in a folder and on S3, and the checks of what a queue says; no server of a queue is needed. */
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import S3rver from 's3rver'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { foldKind } from '../src/crossval/fold.node.ts'
import { WeftgradError } from '../src/errors.ts'
import { queueAddress, shownAddress, storeAddress } from '../src/queue/address.ts'
import { FolderStore } from '../src/queue/folder-store.ts'
import { keyOf, messageIn, type Unit } from '../src/queue/message.ts'
import { S3Store } from '../src/queue/s3-store.ts'
import { Results, type Store, type UnitRecord } from '../src/queue/store.ts'
import { Random } from '../src/random.ts'
import { trialKind } from '../src/search/trial.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { featuresKind, shardSize } from '../src/transfer/features-unit.node.ts'
import { freePort } from './support/queue-server.ts'

let place = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-store-'))
})
afterAll(() => rm(place, { recursive: true, force: true }))

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const record: UnitRecord = {
  worker: 'w',
  adapter: { driver: 'd', name: 'n', hardware: false },
  isSamePlan: true,
  seconds: 1,
  versions: {},
}
const key = (letter: string): string => letter.repeat(64)

describe('an address', () => {
  it('of a queue gives host, port, database, TLS, and credentials, also from the environment', () => {
    expect(queueAddress('redis://h', {})).toEqual({ host: 'h', port: 6379, db: 0, shown: 'redis://h' })
    expect(queueAddress('rediss://u:p%40ss@h:1234/2', {})).toEqual({
      ...{ host: 'h', port: 1234, db: 2, username: 'u', password: 'p@ss', tls: {} },
      shown: 'rediss://h:1234/2',
    })
    expect(queueAddress('redis://h', { WEFTGRAD_QUEUE_PASSWORD: 'secret' })).toMatchObject({ password: 'secret' })
  })

  it.each(['', 'h:6379', 'http://h', 'redis://', 'redis://u:secret@h/x', 'redis://:secret@'])(
    'of a queue that is none (%s) is refused without its password',
    (text) => {
      expect(() => queueAddress(text, {})).toThrow(/--queue must be/)
      expect(() => queueAddress(text, {})).not.toThrow(/secret/)
    },
  )

  it('is shown without credentials', () => {
    expect(shownAddress('redis://u:secret@h:1/2')).toBe('redis://h:1/2')
  })

  it('of a store is a folder or a bucket, and carries no credentials', () => {
    expect(storeAddress('/a')).toEqual({ kind: 'folder', folder: '/a' })
    const s3 = { kind: 's3', endpoint: 'https://h:1', bucket: 'b' }
    expect(storeAddress('s3+https://h:1/b')).toEqual({ ...s3, prefix: '' })
    expect(storeAddress('s3+https://h:1/b/c/d/')).toEqual({ ...s3, prefix: 'c/d' })
    for (const text of ['s3://b', 's3+https://h', 's3+https://u:secret@h/b', 'ftp://h/b'])
      expect(() => storeAddress(text)).toThrow(/--store must be/)
  })
})

/** A store that fails about half of its operations, after doing the work or before. */
function failingHalf(store: Store, random: Random): Store {
  const maybe = async <T>(work: () => Promise<T>): Promise<T> => {
    if (random.below(4) === 0) throw new Error('no answer')
    const result = await work()
    if (random.below(3) === 0) throw new Error('answer lost')
    return result
  }
  return {
    shown: store.shown,
    put: (name, bytes) => maybe(() => store.put(name, bytes)),
    create: (name, bytes) => maybe(() => store.create(name, bytes)),
    get: (name) => maybe(() => store.get(name)),
    list: (folder) => maybe(() => store.list(folder)),
    delete: (name) => maybe(() => store.delete(name)),
  }
}

const accessKeyId = 'S3RVER'
let s3: { readonly server: S3rver; readonly address: Extract<ReturnType<typeof storeAddress>, { kind: 's3' }> }
beforeAll(async () => {
  const port = await freePort()
  const server = new S3rver({
    ...{ port, address: '127.0.0.1', silent: true, directory: join(place, 's3') },
    configureBuckets: [{ name: 'bucket', configs: [] }],
  })
  await server.run()
  const address = storeAddress(`s3+http://127.0.0.1:${port}/bucket/some/prefix`)
  if (address.kind === 's3') s3 = { server, address }
})
afterAll(() => s3?.server.close())

const stores: readonly (readonly [string, () => Promise<Store>])[] = [
  ['in a folder', async () => new FolderStore(await mkdtemp(join(place, 'folder-')))],
  ['on S3', () => S3Store.open(s3.address, { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: accessKeyId })],
]

describe.each(stores)('a store %s', (_, open) => {
  it('has one identity, whoever asks first', async () => {
    const store = await open()
    const ids = await Promise.all([1, 2, 3].map(() => new Results(store).identity()))
    expect(await new Results(store).identity()).toBe(ids.at(-1))
  })

  it('returns content and results as they were put, and nothing for others', async () => {
    const results = new Results(await open())
    const content = await results.putContent(bytesOf('content'))
    expect(await results.content(content)).toEqual(bytesOf('content'))
    await results.putResult({ unit: key('a'), answer: { x: [1, 2.5] }, files: { 'f.txt': content }, record })
    expect(await results.result(key('a'))).toEqual({
      ...{ unit: key('a'), answer: { x: [1, 2.5] }, files: { 'f.txt': content }, record },
    })
    expect(await results.result(key('b'))).toBeUndefined()
    await expect(results.content(key('c'))).rejects.toMatchObject({ code: 'queue' })
  })

  it('takes damaged objects for missing ones', async () => {
    const store = await open()
    const results = new Results(store)
    const content = await results.putContent(bytesOf('content'))
    await store.put(`content/${content}`, bytesOf('contest'))
    await expect(results.content(content)).rejects.toThrow(/is damaged/)
    await results.putResult({ unit: key('a'), answer: 1, files: {}, record })
    const whole = (await store.get(`results/${key('a')}.json`)) ?? new Uint8Array()
    await store.put(`results/${key('a')}.json`, whole.subarray(0, whole.length - 5))
    expect(await results.result(key('a'))).toBeUndefined()
    await store.put(`results/${key('a')}.json`, bytesOf(new TextDecoder().decode(whole).replace('answer', 'anzwer')))
    expect(await results.result(key('a'))).toBeUndefined()
  })

  it('loses nothing if half of its operations fail', async () => {
    const store = await open()
    const results = new Results(failingHalf(store, new Random(1, 'store')))
    for (let i = 0; i < 6; i++) {
      const content = await results.putContent(bytesOf(`content ${i}`))
      await results.putResult({ unit: key(String(i)), answer: i, files: { 'f.txt': content }, record })
    }
    const sound = new Results(store)
    for (let i = 0; i < 6; i++) {
      const { 'f.txt': content = '' } = (await sound.result(key(String(i))))?.files ?? {}
      expect(await sound.content(content)).toEqual(bytesOf(`content ${i}`))
    }
  }, 60_000)
})

it('tries again after an error of the disk, whichever way it is reported, but not after other typed errors', async () => {
  const store = new FolderStore(await mkdtemp(join(place, 'folder-')))
  const content = await new Results(store).putContent(bytesOf('content'))
  const failingOnce = (code: 'file' | 'argument'): Results => {
    let calls = 0
    const get = async (name: string): Promise<Uint8Array | undefined> => {
      if (calls++ === 0) throw new WeftgradError(code, 'It cannot be read now.')
      return await store.get(name)
    }
    return new Results({ ...failingHalf(store, new Random(1, 'unused')), get })
  }
  expect(await failingOnce('file').content(content)).toEqual(bytesOf('content'))
  await expect(failingOnce('argument').content(content)).rejects.toMatchObject({ code: 'queue' })
})

describe('collecting a store', () => {
  it('deletes old results and content without a result, by the time of its newest object', async () => {
    const folder = await mkdtemp(join(place, 'collect-'))
    const results = new Results(new FolderStore(folder))
    const put = async (name: string, ageDays: number): Promise<void> => {
      const content = await results.putContent(bytesOf(name))
      await results.putResult({ unit: key(name), answer: name, files: { 'f.txt': content }, record })
      // The store's clock is a year behind.
      const then = Date.now() / 1000 - (365 + ageDays) * 86_400
      for (const path of [`content/${content}`, `results/${key(name)}.json`])
        await utimes(join(folder, path), then, then)
    }
    await put('a', 0)
    await put('b', 10)
    await put('c', 40)
    const stray = await results.putContent(bytesOf('stray'))
    const then = Date.now() / 1000 - 367 * 86_400
    await utimes(join(folder, 'content', stray), then, then)
    expect(await results.collect(30)).toMatchObject({ objects: 3 })
    expect(await readdir(join(folder, 'content'))).toHaveLength(2)
    expect((await readdir(join(folder, 'results'))).sort()).toEqual([`${key('a')}.json`, `${key('b')}.json`])
  })

  it('leaves no unfinished file after a failed write', async () => {
    const folder = await mkdtemp(join(place, 'failed-'))
    await writeFile(join(folder, 'content'), 'a file in the place of the folder')
    const store = new FolderStore(folder)
    await expect(store.put(`content/${key('a')}`, bytesOf('x'))).rejects.toMatchObject({ code: 'file' })
    expect(await readdir(folder)).toEqual(['content'])
    expect(await readFile(join(folder, 'content'), 'utf8')).toContain('in the place')
  })
})

describe('what a queue says', () => {
  const unit: Unit = {
    ...{ kind: 'trial', version: '1', task: { name: 't', facts: {} }, data: 'd', settings: { a: 1, b: [2] } },
    kernels: { driver: 'x', variants: {} },
  }
  const message = { unit, store: 's', before: {}, reached: {} }

  it('is named by all that its answer depends on, in any order', () => {
    expect(keyOf(unit)).toBe(keyOf({ ...unit, settings: { b: [2], a: 1 } }))
    const others: Partial<Unit>[] = [
      ...[{ kind: 'fold' }, { version: '2' }, { data: 'e' }, { settings: { a: 2, b: [2] } }],
      { kernels: { driver: 'x', variants: { k: 'v' } } },
    ]
    for (const other of others) expect(keyOf({ ...unit, ...other })).not.toBe(keyOf(unit))
  })

  it.each([
    undefined,
    'code()',
    { ...message, store: 1 },
    { ...message, unit: { ...unit, kind: 'shell' } },
    { ...message, unit: { ...unit, kernels: { driver: 'x', variants: { a: 1 } } } },
    { ...message, before: { '../../etc/passwd': key('a') } },
    { ...message, before: { 'f.txt': '../../secret' } },
    { ...message, reached: { 'a/b': key('a') } },
  ])('is refused if it is no unit: %j', (value) => {
    expect(() => messageIn(value, [trialKind])).toThrow(/not a unit/)
    expect(messageIn(message, [trialKind])).toEqual(message)
  })

  it('has settings that its kind checks', () => {
    const images = { split: 'official', limit: null, seed: 1 }
    const { dimensions } = task.search.space
    const point = Object.fromEntries(Object.entries(dimensions).map(([name, values]) => [name, values[0]]))
    const trial = { images, batchSize: 32, hyperparameters: point, seed: 1, epochs: 2 }
    expect(trialKind.read(trial, task)).toEqual(trial)
    for (const wrong of [
      { epochs: 0 },
      { batchSize: 1e9 },
      { seed: -1 },
      { hyperparameters: { ...point, units_1: 1e9 } },
    ])
      expect(() => trialKind.read({ ...trial, ...wrong }, task)).toThrow()
    expect(() => foldKind.read({ kind: 'honest', fold: 1, settings: {} }, task)).toThrow(/folds/)
    const shard = {
      model: 'vgg16',
      weights: 'hashed',
      size: 32,
      preprocessing: 'caffe',
      taps: [{ layer: 'block1_pool', pooling: 'avg' }],
    }
    const range = { counts: { train: 10, test: 5 }, part: 'train', first: 2, count: 8 }
    expect(featuresKind.read({ ...shard, ...range }, task)).toEqual({ ...shard, ...range })
    for (const wrong of [{ count: 9 }, { part: 'all' }, { model: 'x' }, { taps: [] }, { size: 1e6 }])
      expect(() => featuresKind.read({ ...shard, ...range, ...wrong }, task)).toThrow()
  })
})

describe('a shard of features', () => {
  it('takes about 20 s, in powers of two', () => {
    expect([0.1, 3.2, 10, 20, 51, 1000, 1e6].map(shardSize)).toEqual([64, 64, 256, 512, 1024, 2048, 2048])
    for (let rate = 4; rate < 140; rate *= 1.1) {
      const seconds = shardSize(rate) / rate
      expect(seconds).toBeGreaterThan(14)
      expect(seconds).toBeLessThan(29)
    }
  })
})
