/**
 * A worker: takes units from the queue, runs them on this machine's adapter, and leaves answers and files in the store.
 *
 * Promises: a unit's result is in the store before its job counts as done, so a worker may die at any moment. A unit that
 * has a result is not run again. A unit of another version or data, or from another store, is handed back untouched. When
 * stopped, a unit that does not end in time is handed back with its checkpoint, and goes on from there anywhere.
 */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Job, Worker as QueueWorker } from 'bullmq'
import { WeftgradError } from '../errors.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { FolderLock } from '../runs/folder-lock.node.ts'
import { versions } from '../runs/versions.node.ts'
import type { UnitEvents, UnitKind } from '../units/unit.ts'
import { queueAddress } from './address.ts'
import {
  bullmq,
  connectionTo,
  mostAttempts,
  openQueue,
  queueName,
  type Receipt,
  times,
  type UnitQueue,
} from './bullmq.ts'
import { bring, storeFiles } from './coordinator.ts'
import { type AdapterFacts, type GroundSource, Grounds, Refusal, type WorkerPlaces } from './grounds.ts'
import { keyOf, type Message, messageIn } from './message.ts'
import type { Results } from './store.ts'
import { announce, leave, type WorkerState } from './workers.ts'

export interface WorkerOptions extends WorkerPlaces {
  readonly queue: string
  readonly results: Results
  /** The kinds of units that it runs, and no others. */
  readonly kinds: readonly UnitKind[]
  /** Units at a time. 1 by default. */
  readonly concurrency?: number | undefined
  /** Adapter and data; this machine's by default. */
  readonly grounds?: GroundSource | undefined
  readonly onNote?: ((line: string) => void) | undefined
  /** A unit has begun, ended, failed or been handed back. */
  readonly onUnit?: ((event: string, unit: string, detail: string) => void) | undefined
}

/** Pause after a refusal or a failure, in ms: other workers may do better. */
const restMs = 1_000

/** Units have the priorities 1 and 2; higher numbers come later. */
const refusedPriority = 3

/** Least time between two messages about a unit's progress, in ms. */
const progressMs = 500

type UnitJob = Job<Message, Receipt, string>

export class UnitWorker {
  readonly id = `${hostname()}-${process.pid}-${randomBytes(2).toString('hex')}`
  readonly #options: WorkerOptions
  readonly #grounds: GroundSource
  readonly #queue: UnitQueue
  readonly #store: string
  readonly #worker: QueueWorker<Message, Receipt, string>
  readonly #library: typeof import('bullmq')
  readonly #stop = new AbortController()
  readonly #units = new Map<string, { kind: string; share: number }>()
  readonly #heartbeat: NodeJS.Timeout
  readonly #startedAt = performance.now()
  #adapter: AdapterFacts = { driver: 'not opened yet', name: '', hardware: false }
  #done = 0
  #failed = 0
  #busySeconds = 0
  #refuses: string | undefined
  #resting = false

  private constructor(options: WorkerOptions, library: typeof import('bullmq'), queue: UnitQueue, store: string) {
    this.#options = options
    this.#library = library
    this.#queue = queue
    this.#store = store
    this.#grounds = options.grounds ?? new Grounds(options, (line) => this.#note(line))
    this.#worker = new library.Worker<Message, Receipt, string>(queueName, (job, token) => this.#process(job, token), {
      connection: connectionTo(queueAddress(options.queue)),
      concurrency: options.concurrency ?? 1,
      ...{ lockDuration: times.lock, stalledInterval: times.stalledCheck, maxStalledCount: mostAttempts },
      metrics: { maxDataPoints: 24 * 60 },
    })
    // A lost connection is opened again; a job that another worker took over ends there.
    this.#worker.on('error', (error) => this.#note(`Queue: ${error.message}`))
    this.#heartbeat = setInterval(() => void this.#beat(), times.heartbeat)
    void this.#beat()
  }

  /** Connects and begins to take units. Throws WeftgradError 'argument', 'queue'. */
  static async start(options: WorkerOptions): Promise<UnitWorker> {
    const store = await options.results.identity()
    const queue = await openQueue(queueAddress(options.queue))
    return new UnitWorker(options, await bullmq(), queue, store)
  }

  /** Opens the adapter before the first unit needs it. Throws as `open`. */
  async warmUp(): Promise<AdapterFacts> {
    this.#adapter = await this.#grounds.adapter()
    await this.#beat()
    return this.#adapter
  }

  /** Takes no more units, gives those under way `withinMs` to end, hands the others back, and disconnects. */
  async close(withinMs = 0): Promise<void> {
    const closing = this.#worker.close()
    const patience = setTimeout(() => this.#stop.abort(), withinMs)
    await closing.catch(() => undefined)
    clearTimeout(patience)
    clearInterval(this.#heartbeat)
    await leave(this.#queue, this.id).catch(() => undefined)
    await this.#queue.close().catch(() => undefined)
    await this.#grounds.close()
  }

  async #process(job: UnitJob, token: string | undefined): Promise<Receipt> {
    const began = performance.now()
    const name = `${job.name} ${job.id?.slice(0, 12)}`
    try {
      const message = messageIn(job.data, this.#options.kinds)
      const key = keyOf(message.unit)
      if (job.id !== key) throw new WeftgradError('format', 'The job has another name than its unit.')
      this.#requireOwn(message)
      this.#tell('begins', name, '')
      this.#units.set(key, { kind: message.unit.kind, share: 0 })
      await this.#run(message, key, job)
      const seconds = (performance.now() - began) / 1000
      this.#done++
      this.#busySeconds += seconds
      this.#refuses = undefined
      this.#tell('done', name, `${seconds.toFixed(1)} s`)
      return { seconds }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      const isStop = error instanceof WeftgradError && error.code === 'aborted' && this.#stop.signal.aborted
      if (error instanceof Refusal || isStop) {
        if (!isStop) this.#refuses = reason
        await job.log(`${this.id} hands it back: ${reason}`)
        this.#tell('handed back', name, reason)
        if (!isStop) await this.#rest()
        await job.moveToWait(token)
        // Behind all others, which it would keep from this worker. Another worker may have taken it already.
        if (!isStop) await job.changePriority({ priority: refusedPriority }).catch(() => undefined)
        throw new this.#library.WaitingError()
      }
      this.#failed++
      await job.log(`${this.id}: ${reason}`).catch(() => undefined)
      this.#tell('failed', name, reason)
      await this.#rest()
      throw error
    } finally {
      this.#units.delete(job.id ?? '')
    }
  }

  /** Throws Refusal for units of another version or store. */
  #requireOwn({ unit, store }: Message): void {
    const { weftgrad } = versions()
    if (unit.version !== weftgrad)
      throw new Refusal(`the unit is of weftgrad ${unit.version}, and this worker has ${weftgrad}`)
    if (store !== this.#store)
      throw new Refusal(
        `the unit's results belong into another store than ${this.#options.results.store.shown}: name the coordinator's with --store`,
      )
  }

  async #run(message: Message, key: string, job: UnitJob): Promise<void> {
    const { results, kinds } = this.#options
    if ((await results.result(key)) !== undefined) return
    const { unit } = message
    const kind = kinds.find(({ name }) => name === unit.kind)
    if (kind === undefined) throw new Refusal(`this worker runs no ${unit.kind}`)
    await this.#grounds.with(unit, kind, async (ground, settings) => {
      this.#adapter = await this.#grounds.adapter()
      const isSamePlan = this.#adapter.driver === unit.kernels.driver
      await inFolder(key, async (folder) => {
        await bring(results, only(message.before, kind), join(folder, 'before'))
        await bring(results, only(message.reached, kind), join(folder, 'own'))
        const began = performance.now()
        let answer: unknown
        try {
          answer = await kind.run(ground, settings, {
            ...{ folder: join(folder, 'own'), before: join(folder, 'before'), signal: this.#stop.signal },
            kernels: isSamePlan ? unit.kernels.variants : {},
            events: this.#eventsTo(job, key),
          })
        } catch (error) {
          if (this.#stop.signal.aborted)
            await job.updateData({ ...message, reached: await storeFiles(results, join(folder, 'own'), kind.files) })
          throw error
        }
        const files = await storeFiles(results, join(folder, 'own'), kind.files)
        const seconds = (performance.now() - began) / 1000
        const record = { worker: this.id, adapter: this.#adapter, isSamePlan, seconds, versions: { ...versions() } }
        await results.putResult({ unit: key, answer, files, record })
      })
    })
  }

  #eventsTo(job: UnitJob, key: string): UnitEvents {
    let last = Number.NEGATIVE_INFINITY
    // Progress may be lost.
    const send = (data: object): void => void job.updateProgress(data).catch(() => undefined)
    return {
      onProgress: (progress) => {
        const own = this.#units.get(key)
        const { epoch, epochs, step, steps } = progress
        if (own !== undefined) own.share = (epoch - 1 + step / steps) / epochs
        if (performance.now() - last < progressMs) return
        last = performance.now()
        send({ progress })
      },
      onEpochEnd: (epoch) => send({ epoch }),
    }
  }

  /** Takes no further unit for a moment. */
  async #rest(): Promise<void> {
    if (this.#resting || this.#stop.signal.aborted || this.#worker.closing !== undefined) return
    this.#resting = true
    await this.#worker.pause(true)
    void pause(restMs).then(() => {
      this.#resting = false
      if (this.#worker.closing === undefined) this.#worker.resume()
    })
  }

  async #beat(): Promise<void> {
    const { driver, hardware } = this.#adapter
    const state: WorkerState = {
      ...{ id: this.id, host: hostname(), version: versions().weftgrad, adapter: driver, hardware },
      concurrency: this.#options.concurrency ?? 1,
      units: [...this.#units].map(([key, { kind, share }]) => ({ key, kind, share })),
      ...{ done: this.#done, failed: this.#failed, busySeconds: this.#busySeconds },
      upSeconds: (performance.now() - this.#startedAt) / 1000,
      ...(this.#refuses === undefined ? {} : { refuses: this.#refuses }),
    }
    await announce(this.#queue, state).catch(() => undefined)
  }

  #note(line: string): void {
    this.#options.onNote?.(line)
  }

  #tell(event: string, unit: string, detail: string): void {
    this.#options.onUnit?.(event, unit, detail)
  }
}

/** Those files that units of the kind leave. */
function only(files: Message['before'], kind: UnitKind): Message['before'] {
  return Object.fromEntries(Object.entries(files).filter(([name]) => kind.files.includes(name)))
}

/**
 * Runs `work` in a folder of the cache that belongs to the unit: what an attempt of this machine has left is found again.
 * A second attempt at the same time gets a folder of its own.
 */
async function inFolder(key: string, work: (folder: string) => Promise<void>): Promise<void> {
  const own = join(cacheFolder(), 'queue', key)
  const lock = await FolderLock.take(join(own, 'lock'))
  const folder = typeof lock === 'string' ? `${own}-${randomBytes(4).toString('hex')}` : own
  try {
    await work(folder)
    await rm(folder, { recursive: true, force: true })
  } finally {
    if (typeof lock !== 'string') await lock.release()
    else await rm(folder, { recursive: true, force: true })
  }
}
