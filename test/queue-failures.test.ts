/**
 * The queue on a real Redis or Valkey, with units that only wait: whatever fails, each unit is answered once, and nothing
 * is lost. The store shows how often a unit was answered.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { queueAddress } from '../src/queue/address.ts'
import { openQueue, times } from '../src/queue/bullmq.ts'
import { drain, queueState, retrySetAside } from '../src/queue/control.ts'
import { Coordinator } from '../src/queue/coordinator.ts'
import { FolderStore } from '../src/queue/folder-store.ts'
import { keyOf } from '../src/queue/message.ts'
import { Results } from '../src/queue/store.ts'
import type { UnitWorker } from '../src/queue/worker.ts'
import { Random } from '../src/random.ts'
import { idleJob, idleKind, idleWorker } from './support/idle-units.ts'
import { TcpProxy, TestServer, whyNoServer } from './support/queue-server.ts'

const reason = await whyNoServer()
if (reason !== undefined) console.warn(`The tests of the queue are skipped. ${reason}`)

let place = ''
let server: TestServer
let results: Results
const ending: (() => unknown)[] = []
/** Workers that end within a few seconds once killed: the check for stalled units is at its usual pace. */
Object.assign(times, { lock: 1_000, stalledCheck: 500, reconcile: 200 })

beforeEach(async () => {
  if (reason !== undefined) return
  place = await mkdtemp(join(tmpdir(), 'weftgrad-queue-'))
  process.env.WEFTGRAD_CACHE_DIR = join(place, 'cache')
  server = await TestServer.start()
  results = new Results(new FolderStore(join(place, 'store')))
})
afterEach(async () => {
  if (reason !== undefined) return
  for (const end of ending.splice(0).reverse()) await end()
  await server.end()
  await rm(place, { recursive: true, force: true })
})

async function coordinator(queue = server.url, notes: string[] = []): Promise<Coordinator> {
  const made = await Coordinator.open({ queue, results, onNote: (line) => notes.push(line) })
  ending.push(() => made.close())
  return made
}

async function worker(queue = server.url, own = results): Promise<UnitWorker> {
  const made = await idleWorker({ queue, results: own })
  ending.push(() => made.close())
  return made
}

/** A worker in a process of its own, ready for units. */
async function workerProcess(skewMs = 0): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('support/idle-units.ts', import.meta.url))
  const args = ['--import', resolve('scripts/tsx.mjs'), program, server.url, join(place, 'store'), String(skewMs)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  ending.push(() => child.kill('SIGKILL'))
  return child
}

/** Orders units and checks their answers. */
async function run(remote: Coordinator, count: number, ms = 20): Promise<void> {
  const executor = remote.executor(idleKind, idleJob)
  const all = Array.from({ length: count }, (_, n) => executor.run({ settings: { n, ms }, folder: '' }, undefined))
  const answers = await Promise.all(all)
  expect(answers.map(({ square }) => square)).toEqual(answers.map((_, n) => n * n))
  // A worker that was killed may leave an unfinished file, which no reader takes for a result.
  const stored = await readdir(join(place, 'store/results'))
  expect(stored.filter((name) => !name.startsWith('.'))).toHaveLength(count)
}

describe.skipIf(reason !== undefined)('units on a queue', { timeout: 60_000 }, () => {
  it('are answered once each, by several workers for several coordinators', async () => {
    const workers = await Promise.all([worker(), worker(), worker()])
    await Promise.all([run(await coordinator(), 20), run(await coordinator(), 20)])
    expect(workers).toHaveLength(3)
    const queue = await openQueue(queueAddress(server.url))
    ending.push(() => queue.close())
    const begun = Number((await queue.getMetrics('completed')).meta.count)
    expect(begun).toBeGreaterThanOrEqual(20)
    expect(begun).toBeLessThanOrEqual(40)
    expect(await queue.getJobCounts('waiting', 'active', 'prioritized', 'failed')).toMatchObject({
      ...{ waiting: 0, active: 0, prioritized: 0, failed: 0 },
    })
  })

  it('survive workers that are killed at random moments', async () => {
    const random = new Random(3, 'kills')
    let done = false
    const killing = (async () => {
      for (let kills = 0; !done && kills < 2; kills++) {
        const child = await workerProcess()
        await new Promise((begun) => child.stdout?.once('data', begun))
        await pause(random.below(200))
        child.kill('SIGKILL')
      }
      if (!done) await worker()
    })()
    await run(await coordinator(), 8, 150)
    done = true
    await killing
  })

  it('survive a network that is cut, on either side', async () => {
    const proxy = await TcpProxy.before(server.port)
    ending.push(() => proxy.end())
    await worker(proxy.url)
    const remote = await coordinator(proxy.url)
    const all = run(remote, 12, 100)
    for (let cuts = 0; cuts < 3; cuts++) {
      await pause(250)
      proxy.cut()
      await pause(100)
      proxy.mend()
    }
    await all
  })

  it.each([true, false])('survive a restart of the server; persistent: %s', async (persistent) => {
    await server.stop()
    await server.again(persistent)
    await worker()
    const all = run(await coordinator(), 12, 100)
    await pause(400)
    await server.stop('SIGKILL')
    await pause(200)
    await server.again(persistent)
    await all
  })

  it('survive clocks that are an hour apart', async () => {
    for (const skew of [-3_600_000, 3_600_000]) await workerProcess(skew)
    const remote = await coordinator()
    await run(remote, 10, 50)
  })

  it('that fail three times are set aside with their log, while the others go on, and can be tried again', async () => {
    await worker()
    const notes: string[] = []
    const remote = await coordinator(server.url, notes)
    const executor = remote.executor(idleKind, idleJob)
    const order = (n: number, fails: boolean) => ({ settings: { n, ms: 10, fails }, folder: '' })
    const poisoned = executor.run(order(1, true), undefined)
    const sound = [2, 3, 4].map((n) => executor.run(order(n, false), undefined))
    await expect(poisoned).rejects.toMatchObject({
      code: 'set-aside',
      message: expect.stringContaining('unit 1 is poisoned'),
    })
    expect((await Promise.all(sound)).map(({ square }) => square)).toEqual([4, 9, 16])
    expect(notes.join()).toContain('was set aside after failing 3 times')
    const queue = await openQueue(queueAddress(server.url))
    ending.push(() => queue.close())
    const { setAside } = await queueState(queue)
    expect(setAside).toMatchObject([{ kind: 'idle', attempts: 3, reason: 'unit 1 is poisoned' }])
    expect(setAside[0]?.log).toHaveLength(3)
    // A new order finds it set aside; trying again gives it three more attempts.
    await expect(executor.run(order(1, true), undefined)).rejects.toMatchObject({ code: 'set-aside' })
    expect(await retrySetAside(queue)).toBe(1)
    await expect.poll(async () => (await queueState(queue)).setAside.length, { timeout: 20_000 }).toBe(1)
    expect(await drain(queue)).toBe(1)
  })

  it('of another version or store are handed back, and the coordinator says so', async () => {
    const notes: string[] = []
    const remote = await coordinator(server.url, notes)
    const other = await worker(server.url, new Results(new FolderStore(join(place, 'other'))))
    const all = run(remote, 2)
    await expect.poll(() => notes.join(), { timeout: 15_000 }).toMatch(/refuses work.*another store/)
    await worker()
    await other.close()
    await all
    const queue = await openQueue(queueAddress(server.url))
    ending.push(() => queue.close())
    const unit = {
      ...{ kind: 'idle', version: '0.0.0', task: { name: 't', facts: {} }, data: 'none', settings: { n: 1, ms: 1 } },
      kernels: { driver: 'idle', variants: {} },
    }
    const message = { unit, store: await results.identity(), before: {}, reached: {} }
    await queue.add('idle', message, { jobId: keyOf(unit) })
    await expect
      .poll(async () => (await queueState(queue)).workers.map(({ refuses }) => refuses).join(), { timeout: 15_000 })
      .toMatch(/of weftgrad 0\.0\.0/)
    // What is no unit at all fails, and is set aside.
    await queue.add('idle', { code: 'process.exit()' } as never, { attempts: 1, jobId: 'intruder' })
    await expect.poll(async () => (await queueState(queue)).setAside.length, { timeout: 15_000 }).toBe(1)
  })

  it('under way when a worker is stopped go on from their checkpoint elsewhere', async () => {
    const first = await worker()
    const remote = await coordinator()
    const executor = remote.executor(idleKind, idleJob)
    const answer = executor.run({ settings: { n: 7, ms: 1_000 }, folder: '' }, undefined)
    await pause(500)
    await first.close()
    // As on another machine.
    process.env.WEFTGRAD_CACHE_DIR = join(place, 'other-cache')
    await worker()
    const { square, resumedAt } = await answer
    expect(square).toBe(49)
    expect(resumedAt).toBeGreaterThan(10)
  })

  it('leave the queue when their job is stopped', async () => {
    const remote = await coordinator()
    const controller = new AbortController()
    const executor = remote.executor(idleKind, idleJob)
    const answer = executor.run({ settings: { n: 1, ms: 1 }, folder: '' }, controller.signal)
    const queue = await openQueue(queueAddress(server.url))
    ending.push(() => queue.close())
    await expect.poll(async () => (await queueState(queue)).waiting).toBe(1)
    controller.abort()
    await expect(answer).rejects.toMatchObject({ code: 'aborted' })
    await expect.poll(async () => (await queueState(queue)).waiting).toBe(0)
  })
})

describe.skipIf(reason !== undefined)('a connection', { timeout: 60_000 }, () => {
  it('that cannot be made is one sentence without the password', async () => {
    const attempt = openQueue(queueAddress('redis://u:secret@127.0.0.1:1'))
    await expect(attempt).rejects.toMatchObject({ code: 'queue', message: expect.stringMatching(/ECONNREFUSED/) })
    await expect(attempt).rejects.toMatchObject({ message: expect.not.stringContaining('secret') })
  })

  it('goes through TLS, and only to a server that a known authority vouches for', async () => {
    const file = (name: string): string => resolve('test/fixtures/tls', name)
    const tls = createServer(
      { cert: await readFile(file('cert.pem')), key: await readFile(file('key.pem')) },
      (socket) => {
        const onward = createConnection({ host: '127.0.0.1', port: server.port })
        for (const one of [socket, onward]) one.on('error', () => onward.destroy())
        socket.pipe(onward)
        onward.pipe(socket)
      },
    )
    tls.on('tlsClientError', () => undefined)
    await new Promise<void>((listening) => tls.listen(0, '127.0.0.1', listening))
    ending.push(() => tls.close())
    const url = `rediss://localhost:${(tls.address() as AddressInfo).port}`
    await expect(openQueue(queueAddress(url))).rejects.toMatchObject({ code: 'queue' })
    const program = `
      const { openQueue } = await import(${JSON.stringify(resolve('src/queue/bullmq.ts'))})
      const { queueAddress } = await import(${JSON.stringify(resolve('src/queue/address.ts'))})
      const queue = await openQueue(queueAddress(${JSON.stringify(url)}))
      console.log('open', await queue.count())
      await queue.close()`
    const child = spawn(
      process.execPath,
      ['--import', resolve('scripts/tsx.mjs'), '--input-type=module', '--eval', program],
      { env: { ...process.env, NODE_EXTRA_CA_CERTS: file('cert.pem') }, stdio: ['ignore', 'pipe', 'inherit'] },
    )
    let said = ''
    child.stdout.on('data', (text) => {
      said += text
    })
    await new Promise((ended) => child.once('exit', ended))
    expect(said).toBe('open 0\n')
  })
})
