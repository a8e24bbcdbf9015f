/**
 * The cache of features: shards that are kept, damaged, interrupted, written by another version, or needed by two runs
 * at once.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { readSafetensors, writeSafetensors } from '../src/format/safetensors.ts'
import { FolderLock } from '../src/runs/folder-lock.node.ts'
import { FeatureCache, type FeatureIdentity, type FillOptions } from '../src/transfer/feature-cache.node.ts'

let place = ''
let root = ''
let runs = 0
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-features-'))
})
beforeEach(() => {
  root = join(place, String(runs++))
})
afterAll(() => rm(place, { recursive: true, force: true }))

const identity: FeatureIdentity = {
  model: 'vgg16',
  weights: 'hashed',
  data: 'published',
  size: 32,
  taps: [{ layer: 'block3_pool', pooling: 'avg2' }],
  preprocessing: 'caffe',
}
const width = 3
const count = 5000
/** Shards of 2048, 2048 and 904 rows. */
const shape = { part: 'train', count, width } as const

const valueAt = (row: number, column: number): number => row + column / 4

interface Filled {
  readonly rows: Float32Array
  readonly computed: number
  readonly computeSeconds: number | null
  /** The requested rows: first row and number of rows. */
  readonly asked: readonly (readonly [number, number])[]
  readonly notes: readonly string[]
}

async function fill(
  cache: FeatureCache = new FeatureCache(identity, root),
  wanted: { readonly part: 'train' | 'test'; readonly count: number; readonly width: number } = shape,
  options: Partial<FillOptions> = {},
): Promise<Filled> {
  const rows = new Float32Array(wanted.count * width).fill(Number.NaN)
  const asked: [number, number][] = []
  const notes: string[] = []
  const { computed, computeSeconds } = await cache.fill(wanted, {
    extract: async (first, many) => {
      asked.push([first, many])
      return Float32Array.from({ length: many * width }, (_, at) => valueAt(first + Math.floor(at / width), at % width))
    },
    use: (first, part) => rows.set(part, first * width),
    onNote: (line) => notes.push(line),
    ...options,
  })
  return { rows, computed, computeSeconds, asked, notes }
}

const expected = (rows = count): Float32Array =>
  Float32Array.from({ length: rows * width }, (_, at) => valueAt(Math.floor(at / width), at % width))

const shardPath = (cache: FeatureCache, index: number): string => join(cache.folder, `train-0000${index}.safetensors`)

describe('features that were already computed', () => {
  it('come from the cache the next time, bit for bit', async () => {
    const first = await fill()
    expect(first).toMatchObject({ computed: count, notes: [] })
    expect(first.asked).toEqual([
      [0, 2048],
      [2048, 2048],
      [4096, 904],
    ])
    expect(first.rows).toEqual(expected())
    const again = await fill()
    expect(again).toMatchObject({ computed: 0, asked: [], notes: [] })
    expect(again.rows).toEqual(first.rows)
    expect((await readdir(new FeatureCache(identity, root).folder)).sort()).toEqual([
      ...['train-00000.safetensors', 'train-00001.safetensors', 'train-00002.safetensors'],
    ])
  })

  it('record how long computing them took, also for runs that only read them', async () => {
    const { computeSeconds } = await fill()
    expect(computeSeconds).toBeGreaterThan(0)
    expect((await fill()).computeSeconds).toBeCloseTo(computeSeconds ?? 0, 9)
    const fewer = await fill(undefined, { ...shape, count: 1024 })
    expect(fewer.computeSeconds).toBeGreaterThan(0)
    expect(fewer.computeSeconds).toBeLessThan(computeSeconds ?? 0)

    const path = shardPath(new FeatureCache(identity, root), 1)
    const { tensors, metadata } = readSafetensors(await readFile(path))
    const { seconds: _, ...silent } = metadata
    await writeFile(path, writeSafetensors(tensors, silent))
    expect(await fill()).toMatchObject({ computed: 0, computeSeconds: null, notes: [] })
  })

  it('serve runs that need fewer, and are extended for runs that need more', async () => {
    expect(await fill(undefined, { ...shape, count: 2500 })).toMatchObject({ computed: 2500 })
    expect(await fill(undefined, { ...shape, count: 100 })).toMatchObject({ computed: 0, rows: expected(100) })
    const whole = await fill()
    expect(whole.asked).toEqual([
      [2048, 2048],
      [4096, 904],
    ])
    expect(whole.rows).toEqual(expected())
    expect(whole.notes).toEqual([])
  })

  it('are stored separately by split and by everything they depend on', async () => {
    await fill()
    expect(await fill(undefined, { ...shape, part: 'test' })).toMatchObject({ computed: count })
    const others: readonly Partial<FeatureIdentity>[] = [
      { model: 'xception' },
      { weights: 'sha256:1' },
      { data: 'sha256:2' },
      { size: 33 },
      { taps: [{ layer: 'block3_pool', pooling: 'avg' }] },
      { taps: [{ layer: 'block4_pool', pooling: 'avg2' }] },
      { taps: [...identity.taps, ...identity.taps] },
      { preprocessing: 'tf' },
    ]
    const folders = others.map((change) => new FeatureCache({ ...identity, ...change }, root).folder)
    expect(new Set([...folders, new FeatureCache(identity, root).folder]).size).toBe(others.length + 1)
  })
})

describe('an invalid shard is detected and computed again', () => {
  async function spoilt(spoil: (path: string) => Promise<void>): Promise<Filled> {
    const cache = new FeatureCache(identity, root)
    await fill(cache)
    await spoil(shardPath(cache, 1))
    const again = await fill(cache)
    expect(again.rows).toEqual(expected())
    expect(again.asked).toEqual([[2048, 2048]])
    expect(await fill(cache)).toMatchObject({ computed: 0, notes: [] })
    return again
  }

  it('if a byte of its numbers was changed', async () => {
    const { notes } = await spoilt(async (path) => {
      const bytes = await readFile(path)
      bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1
      await writeFile(path, bytes)
    })
    expect(notes).toEqual([expect.stringMatching(/train-00001.*is damaged.*computed again/)])
  })

  it('if it is truncated', async () => {
    for (const bytes of [0, 7, 200, 20_000]) {
      const { notes } = await spoilt((path) => truncate(path, bytes))
      expect(notes).toEqual([expect.stringContaining('is damaged')])
      await rm(root, { recursive: true })
    }
  })

  it('if another version wrote it', async () => {
    const { notes } = await spoilt(async (path) => {
      const { tensors, metadata } = readSafetensors(await readFile(path))
      await writeFile(path, writeSafetensors(tensors, { ...metadata, version: '0' }))
    })
    expect(notes).toEqual([expect.stringContaining('another version')])
  })

  it('if it holds other rows, or rows of other features', async () => {
    const { notes } = await spoilt(async (path) => writeFile(path, await readFile(path.replace('00001', '00000'))))
    expect(notes).toEqual([expect.stringContaining('other features')])
    await rm(root, { recursive: true })
    const stranger = await spoilt(async (path) => {
      const { tensors, metadata } = readSafetensors(await readFile(path))
      await writeFile(path, writeSafetensors(tensors, { ...metadata, key: 'another' }))
    })
    expect(stranger.notes).toEqual([expect.stringContaining('other features')])
  })
})

describe('an interrupted extraction', () => {
  it('resumes with the next shard', async () => {
    let turns = 0
    const broken = fill(undefined, shape, {
      extract: async (first, many) => {
        if (turns++ === 1) throw new WeftgradError('device-lost', 'gone')
        return expected().subarray(first * width, (first + many) * width)
      },
    })
    await expect(broken).rejects.toMatchObject({ code: 'device-lost' })
    const rest = await fill()
    expect(rest.asked).toEqual([
      [2048, 2048],
      [4096, 904],
    ])
    expect(rest.rows).toEqual(expected())
  })

  it('leaves no lock and no half-written file when the disk fails', async () => {
    const cache = new FeatureCache(identity, root)
    await writeFile(root, 'a file where the folder should be')
    await expect(fill(cache)).rejects.toMatchObject({ code: 'file' })
    await rm(root)
    await expect(
      fill(cache, shape, { extract: () => Promise.reject(new WeftgradError('aborted', 'stopped')) }),
    ).rejects.toMatchObject({ code: 'aborted' })
    expect(await readdir(cache.folder)).toEqual([])
  })

  it('reports a stop by a signal', async () => {
    await expect(fill(undefined, shape, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' })
  })
})

describe('two runs at once', () => {
  const quick = { lock: { heartbeatMs: 20, pollMs: 5 } }

  it('compute each shard once, and both get all rows', async () => {
    const slowly: Partial<FillOptions> = {
      ...quick,
      extract: async (first, many) => {
        asked.push(first)
        await new Promise((done) => setTimeout(done, 30))
        return expected().slice(first * width, (first + many) * width)
      },
    }
    const asked: number[] = []
    const both = await Promise.all([fill(undefined, shape, slowly), fill(undefined, shape, slowly)])
    expect(asked).toEqual([0, 2048, 4096])
    for (const { rows } of both) expect(rows).toEqual(expected())
    expect(both.flatMap(({ notes }) => notes)).toEqual([
      expect.stringMatching(/Another run \(process \d+ on .*waiting/),
    ])
    expect(both.map(({ computed }) => computed).sort()).toEqual([0, count].sort())
  })

  it('both finish with the same shards even if the lock fails', async () => {
    const cache = new FeatureCache(identity, root)
    let removed = 0
    const careless: Partial<FillOptions> = {
      ...quick,
      extract: async (first, many) => {
        // As if another process had taken the lock for abandoned.
        await rm(join(cache.folder, 'lock'), { force: true })
        removed++
        await new Promise((done) => setTimeout(done, 20))
        return expected().slice(first * width, (first + many) * width)
      },
    }
    const both = await Promise.all([fill(cache, shape, careless), fill(cache, shape, careless)])
    for (const { rows } of both) expect(rows).toEqual(expected())
    expect(removed).toBeGreaterThan(3)
    expect(await fill(cache)).toMatchObject({ computed: 0, notes: [], rows: expected() })
    expect(await readdir(cache.folder)).toHaveLength(3)
  })
})

describe('the lock', () => {
  const options = { heartbeatMs: 20, pollMs: 5 }
  const path = (): string => join(root, 'lock')
  /** The id of a process that has ended. */
  const deadPid = spawnSync('true').pid

  const written = (holder: object): Promise<void> => writeFile(path(), JSON.stringify(holder))

  beforeEach(async () => {
    const lock = await FolderLock.acquire(path(), options)
    await lock.release()
    await expect(stat(path())).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('is taken over at once from a dead process', async () => {
    await written({ pid: deadPid, host: hostname(), token: 'x' })
    const began = performance.now()
    const lock = await FolderLock.acquire(path(), { ...options, staleMs: 60_000 })
    expect(performance.now() - began).toBeLessThan(5000)
    await lock.release()
  })

  it('is taken over from a process, here or on another machine, that has not touched it for long', async () => {
    for (const host of [hostname(), 'elsewhere']) {
      await written({ pid: process.pid, host, token: 'x' })
      const longAgo = new Date(Date.now() - 60_000)
      await utimes(path(), longAgo, longAgo)
      await (await FolderLock.acquire(path(), options)).release()
    }
    await writeFile(path(), 'no lock at all')
    await (await FolderLock.acquire(path(), options)).release()
  })

  it('is held by touching it, and released only by its holder', async () => {
    const lock = await FolderLock.acquire(path(), options)
    const waiting: string[] = []
    const second = FolderLock.acquire(path(), { ...options, onWait: (holder) => waiting.push(holder) })
    await new Promise((done) => setTimeout(done, 300)) // more than twice as long as it takes to go stale
    expect(waiting).toEqual([`process ${process.pid} on ${hostname()}`])
    await lock.release()
    const next = await second
    await lock.release()
    expect(await readFile(path(), 'utf8')).toContain('token')
    await next.release()
  })

  it('goes to only one of several that take it over at once', async () => {
    for (let round = 0; round < 20; round++) {
      await written({ pid: deadPid, host: hostname(), token: `dead${round}` })
      const taken = await Promise.all(Array.from({ length: 12 }, () => FolderLock.take(path(), options)))
      const locks = taken.filter((one) => one instanceof FolderLock)
      expect(locks).toHaveLength(1)
      await locks[0]?.verify()
      await locks[0]?.release()
      expect(await readdir(root)).toEqual([])
    }
  })

  it('goes to only one of many processes, and claims of dead processes do not block it', async () => {
    await written({ pid: deadPid, host: hostname(), token: 'first' })
    await writeFile(`${path()}.first`, JSON.stringify({ pid: deadPid, host: hostname(), token: 'second' }))
    await writeFile(`${path()}.first.second`, JSON.stringify({ pid: deadPid, host: hostname(), token: 'third' }))
    const log = join(root, 'log')
    const script = `
      import { appendFileSync } from 'node:fs'
      import { FolderLock } from ${JSON.stringify(resolve('src/runs/folder-lock.node.ts'))}
      const lock = await FolderLock.take(process.argv[1])
      appendFileSync(process.argv[2], lock instanceof FolderLock ? 'has it\\n' : 'has it not\\n')
      // Until all have tried.
      while ((await import('node:fs')).readFileSync(process.argv[2], 'utf8').split('\\n').length < 5) await new Promise((done) => setTimeout(done, 5))
    `
    const child = (): Promise<number | null> =>
      new Promise((done) =>
        spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script, path(), log]).on(
          'close',
          done,
        ),
      )
    expect(await Promise.all([child(), child(), child(), child()])).toEqual([0, 0, 0, 0])
    expect((await readFile(log, 'utf8')).trim().split('\n').sort()).toEqual([
      'has it',
      ...Array.from({ length: 3 }, () => 'has it not'),
    ])
  })

  it('that another process took over is known to be lost, and is not touched again', async () => {
    const lock = await FolderLock.acquire(path(), options)
    await lock.verify()
    const longAgo = new Date(Date.now() - 60_000)
    await written({ pid: 1, host: 'elsewhere', token: 'theirs' })
    await utimes(path(), longAgo, longAgo)
    await expect(lock.verify()).rejects.toMatchObject({
      code: 'lock-lost',
      message: expect.stringContaining('process 1 on elsewhere'),
    })
    await new Promise((done) => setTimeout(done, 100)) // five heartbeats
    // Some file systems store it a microsecond early.
    expect(Math.round((await stat(path())).mtimeMs)).toBe(longAgo.getTime())
    await lock.release()
    expect(await readFile(path(), 'utf8')).toContain('theirs')
  })

  it('of a removed folder is lost, and releasing it does not create the folder again', async () => {
    const folder = join(root, 'run')
    const lock = await FolderLock.acquire(join(folder, 'lock'), options)
    await rm(join(folder, 'lock'))
    await expect(lock.verify()).rejects.toMatchObject({ code: 'lock-lost' })
    await rm(folder, { recursive: true })
    await expect(lock.verify()).rejects.toMatchObject({ code: 'file', message: expect.stringContaining('was removed') })
    await lock.release()
    expect(await readdir(root)).not.toContain('run')
  })

  it('names a holder who has created the file and writes it a moment later', async () => {
    await writeFile(path(), '')
    setTimeout(() => void written({ pid: process.pid, host: hostname(), token: 'theirs' }), 30)
    expect(await FolderLock.take(path(), options)).toBe(`process ${process.pid} on ${hostname()}`)
  })

  it('can be tried without waiting', async () => {
    const lock = await FolderLock.acquire(path(), options)
    expect(await FolderLock.take(path(), options)).toBe(`process ${process.pid} on ${hostname()}`)
    await lock.release()
    const next = await FolderLock.take(path(), options)
    expect(next).toBeInstanceOf(FolderLock)
    if (next instanceof FolderLock) await next.release()
  })

  it('stops waiting on a signal', async () => {
    const lock = await FolderLock.acquire(path(), options)
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 20)
    await expect(FolderLock.acquire(path(), { ...options, signal: controller.signal })).rejects.toMatchObject({
      code: 'aborted',
    })
    await lock.release()
  })
})
