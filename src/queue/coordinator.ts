/**
 * Orders a job's units from the queue and follows them. The store says what is done; the queue only carries. So a
 * coordinator that looks again (every few seconds) misses nothing: a unit that is neither answered nor queued, as after a
 * restart of the server, is queued again.
 *
 * Promises: each order is answered once. Several coordinators may order the same units; each unit is queued once and all
 * get its answer. Nothing depends on the clocks of other machines.
 */
import { setMaxListeners } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { QueueEvents } from 'bullmq'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostFile } from '../format/host-file.node.ts'
import { isRecord } from '../format/json.ts'
import { printable } from '../printable.ts'
import { writeCheckedFile } from '../runs/checked-file.node.ts'
import { versions } from '../runs/versions.node.ts'
import type { Executor, JobGround, Remote } from '../units/executor.node.ts'
import type { UnitEvents, UnitKind, UnitOrder } from '../units/unit.ts'
import { type QueueAddress, queueAddress } from './address.ts'
import { jobOptions, openEvents, openQueue, times, type UnitQueue } from './bullmq.ts'
import { keyOf, type Message, type Unit } from './message.ts'
import type { FileKeys, Results, UnitResult } from './store.ts'
import { workersOf } from './workers.ts'

/** A unit that is under way. */
interface Pending {
  readonly message: Message
  readonly events: UnitEvents
  readonly priority: number
  resolve(result: UnitResult): void
  reject(error: unknown): void
}

export interface CoordinatorOptions {
  readonly queue: string
  readonly results: Results
  readonly onNote?: ((line: string) => void) | undefined
}

export class Coordinator implements Remote {
  readonly #queue: UnitQueue
  readonly #events: QueueEvents
  readonly #results: Results
  readonly #store: string
  readonly #address: QueueAddress
  readonly #note: (line: string) => void
  /** By the unit's key. Orders of one unit share it. */
  readonly #pending = new Map<string, Set<Pending>>()
  readonly #told = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #looking = false

  private constructor(
    queue: UnitQueue,
    events: QueueEvents,
    store: string,
    address: QueueAddress,
    { results, onNote = () => undefined }: CoordinatorOptions,
  ) {
    this.#queue = queue
    this.#events = events
    this.#store = store
    this.#address = address
    this.#results = results
    this.#note = onNote
    events.on('completed', ({ jobId }) => void this.#look(jobId))
    events.on('failed', ({ jobId }) => void this.#look(jobId))
    events.on('progress', ({ jobId, data }) => this.#tell(jobId, data))
  }

  /** Connects. `close()` it. Throws WeftgradError 'argument', 'queue'. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const address = queueAddress(options.queue)
    const store = await options.results.identity()
    const queue = await openQueue(address)
    const events = await openEvents(address)
    return new Coordinator(queue, events, store, address, options)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([this.#events.close(), this.#queue.close()]).catch(() => undefined)
  }

  executor<Settings, Answer>(kind: UnitKind<Settings, Disposable, Answer>, job: JobGround): Executor<Settings, Answer> {
    const unitOf = (settings: Settings): Unit => ({
      kind: kind.name,
      version: versions().weftgrad,
      task: { name: job.task.name, facts: job.task.facts ?? {} },
      data: job.data,
      kernels: { driver: job.driver, variants: job.kernels },
      settings,
    })
    return {
      lanes: Number.POSITIVE_INFINITY,
      run: async (order, signal, events = {}) => {
        const unit = unitOf(order.settings)
        const before = order.after === undefined ? {} : await this.#filesOf(kind, unitOf, order.after)
        const message = { unit, store: this.#store, before, reached: {} }
        // What continues an earlier unit goes first: more waits for it.
        const result = await this.#answer(message, order.after === undefined ? 2 : 1, signal, events)
        if (kind.isAnswer(result.answer, order.settings)) return result.answer
        throw new WeftgradError('queue', `The store's result of unit ${keyOf(unit)} is not an answer to it.`)
      },
      files: async ({ settings }) => {
        const result = await this.#results.result(keyOf(unitOf(settings)))
        const files = Object.entries(result?.files ?? {})
        return new Map(
          await Promise.all(files.map(async ([name, key]) => [name, await this.#results.content(key)] as const)),
        )
      },
    }
  }

  /** The files of a unit that has run: those in its folder here, or those of its result. */
  async #filesOf<Settings>(
    kind: UnitKind<Settings>,
    unitOf: (settings: Settings) => Unit,
    { settings, folder }: Pick<UnitOrder<Settings>, 'settings' | 'folder'>,
  ): Promise<FileKeys> {
    const result = await this.#results.result(keyOf(unitOf(settings)))
    return result?.files ?? (await storeFiles(this.#results, folder, kind.files))
  }

  async #answer(
    message: Message,
    priority: number,
    signal: AbortSignal | undefined,
    events: UnitEvents,
  ): Promise<UnitResult> {
    const key = keyOf(message.unit)
    const known = await this.#results.result(key)
    if (known !== undefined) return known
    // All units of a job listen to one signal.
    if (signal !== undefined) setMaxListeners(0, signal)
    let stop = (): void => undefined
    return await new Promise<UnitResult>((resolve, reject) => {
      const pending: Pending = { message, priority, events, resolve, reject }
      const others = this.#pending.get(key)
      if (others === undefined) this.#pending.set(key, new Set([pending]))
      else others.add(pending)
      stop = () => {
        this.#settle(key, (one) => one.reject(new WeftgradError('aborted', 'The unit was stopped.')))
        void this.#withdraw(key)
      }
      if (signal?.aborted) {
        stop()
        return
      }
      signal?.addEventListener('abort', stop, { once: true })
      this.#timer ??= setInterval(() => void this.#lookAtAll(), times.reconcile)
      this.#enqueue(key, pending).catch(reject)
    }).finally(() => {
      signal?.removeEventListener('abort', stop)
      if (this.#pending.size === 0) {
        clearInterval(this.#timer)
        this.#timer = undefined
      }
    })
  }

  async #enqueue(key: string, { message, priority }: Pending): Promise<void> {
    await this.#queue.add(message.unit.kind, message, { ...jobOptions, jobId: key, priority })
  }

  /** Takes a unit that no worker has begun out of the queue. */
  async #withdraw(key: string): Promise<void> {
    try {
      const job = await this.#queue.getJob(key)
      const state = await job?.getState()
      if (state === 'waiting' || state === 'prioritized') await job?.remove()
    } catch {
      // A worker has begun it. Its answer stays in the store.
    }
  }

  #settle(key: string, how: (pending: Pending) => void): void {
    const all = this.#pending.get(key) ?? []
    this.#pending.delete(key)
    for (const one of all) how(one)
  }

  /** Looks what has become of a unit, and does what follows. */
  async #look(key: string): Promise<void> {
    const [pending] = this.#pending.get(key) ?? []
    if (pending === undefined) return
    try {
      const state = await this.#queue.getJobState(key)
      if (state === 'failed') {
        const job = await this.#queue.getJob(key)
        const reason = printable(job?.failedReason ?? 'unknown', 300).replace(/\.$/, '')
        const error = new WeftgradError(
          'set-aside',
          `Unit ${key.slice(0, 12)} (${pending.message.unit.kind}) was set aside after failing ${job?.attemptsMade ?? 'several'} times: ${reason}. \`weftgrad queue status\` shows its log, \`weftgrad queue retry\` tries again.`,
          { unit: key },
        )
        this.#note(error.message)
        this.#settle(key, (one) => one.reject(error))
        return
      }
      if (state !== 'unknown' && state !== 'completed') return
      const result = await this.#results.result(key)
      if (result !== undefined) {
        this.#settle(key, (one) => one.resolve(result))
        return
      }
      // The server lost the job, or the store its result.
      if (this.#pending.has(key)) await this.#enqueue(key, pending)
    } catch (error) {
      if (error instanceof WeftgradError) this.#settle(key, (one) => one.reject(error))
      // Anything else is about the connection: the next look tells.
    }
  }

  async #lookAtAll(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      for (const key of [...this.#pending.keys()]) await this.#look(key)
      await this.#lookAtWorkers()
    } catch {
      // The server is away.
    } finally {
      this.#looking = false
    }
  }

  /** Says once what a user must know about the workers. */
  async #lookAtWorkers(): Promise<void> {
    const workers = await workersOf(this.#queue)
    const tell = (line: string): void => {
      if (!this.#told.has(line)) this.#note(line)
      this.#told.add(line)
    }
    if (workers.length === 0 && this.#pending.size > 0)
      tell(`No worker is connected. Start one: weftgrad worker --queue ${this.#address.shown}`)
    for (const { id, refuses } of workers) if (refuses !== undefined) tell(`Worker ${id} refuses work: ${refuses}`)
  }

  /** Passes a worker's progress on. */
  #tell(key: string, data: unknown): void {
    if (!isRecord(data)) return
    for (const { events } of this.#pending.get(key) ?? []) {
      // Sent by a worker of this version; only shown.
      if (isRecord(data.progress)) events.onProgress?.(data.progress as never)
      if (isRecord(data.epoch)) events.onEpochEnd?.(data.epoch as never)
    }
  }
}

/** Writes stored files into a folder. Throws WeftgradError 'queue' if one is missing. */
export async function bring(results: Results, files: FileKeys, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [name, key] of Object.entries(files))
    await writeCheckedFile(join(folder, name), await results.content(key))
}

/** Stores those files of a folder that are there. */
export async function storeFiles(results: Results, folder: string, names: readonly string[]): Promise<FileKeys> {
  const stored: [string, string][] = []
  for (const name of names) {
    const bytes = ifThere(() => readHostFile(join(folder, name), 2 ** 31))
    if (bytes !== undefined) stored.push([name, await results.putContent(bytes)])
  }
  return Object.fromEntries(stored)
}
