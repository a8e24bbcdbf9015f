/**
 * BullMQ, loaded when a queue is named: an optional package, so nothing else needs it. All settings of the queue that
 * coordinators, workers and commands must agree on are here.
 */
import type { ConnectionOptions, JobsOptions, Queue, QueueEvents } from 'bullmq'
import { WeftgradError } from '../errors.ts'
import type { QueueAddress } from './address.ts'
import type { Message } from './message.ts'

/** The queue's name on the server. */
export const queueName = 'weftgrad'

/** Tries of a unit before it is set aside. */
export const mostAttempts = 3

/**
 * Times in ms. A worker renews its lock on a job twice within `lock`; another worker gets the job of one that has stopped
 * doing so at the next check, so a kill costs at most `lock + stalledCheck` beside the work itself. Compiling a network's
 * kernels can keep a worker busy for seconds, in which it renews nothing.
 */
export const times = { lock: 15_000, stalledCheck: 5_000, heartbeat: 3_000, gone: 12_000, reconcile: 2_000 } as const

/** Finished jobs leave the queue, since results are in the store. Those set aside stay for `weftgrad queue retry`. */
export const jobOptions: JobsOptions = { attempts: mostAttempts, removeOnComplete: true, removeOnFail: false }

/** What a worker returns for a job. */
export interface Receipt {
  readonly seconds: number
}

export type UnitQueue = Queue<Message, Receipt, string>

/** Loads BullMQ. Throws WeftgradError 'queue' if it is not installed. */
export async function bullmq(): Promise<typeof import('bullmq')> {
  try {
    return await import('bullmq')
  } catch (error) {
    throw new WeftgradError(
      'queue',
      'Queues need the package bullmq, which is not installed. Install it: npm install bullmq@5',
      {},
      error,
    )
  }
}

/**
 * Options of a connection. Commands wait for a server that is away, since it may come back.
 * @param mayRetry whether to connect again; by default always.
 */
export function connectionTo(address: QueueAddress, mayRetry: () => boolean = () => true): ConnectionOptions {
  const { shown: _, ...options } = address
  const retryStrategy = (attempt: number): number | null => (mayRetry() ? Math.min(100 * attempt, 2_000) : null)
  return { ...options, maxRetriesPerRequest: null, retryStrategy, connectTimeout: 5_000 }
}

/** Opens the queue. `close()` it. Throws WeftgradError 'queue' if no server answers, or refuses. */
export async function openQueue(address: QueueAddress): Promise<UnitQueue> {
  const { Queue } = await bullmq()
  let isOpen = false
  const queue: UnitQueue = new Queue(queueName, { connection: connectionTo(address, () => isOpen) })
  let problem = 'nothing answers'
  queue.on('error', (error) => {
    // What follows the first problem says only that the connection is closed.
    if (problem === 'nothing answers') problem = error.message || ('code' in error ? String(error.code) : problem)
  })
  try {
    await queue.waitUntilReady()
    isOpen = true
    return queue
  } catch {
    throw new WeftgradError(
      'queue',
      `The queue's server at ${address.shown} cannot be used: ${problem}. Start one with \`weftgrad queue serve\`, or check the address and its password.`,
    )
  }
}

/** Opens the queue's stream of events. `close()` it. */
export async function openEvents(address: QueueAddress): Promise<QueueEvents> {
  const { QueueEvents } = await bullmq()
  const events = new QueueEvents(queueName, { connection: connectionTo(address) })
  // A lost connection is opened again, and what was missed is found by looking.
  events.on('error', () => undefined)
  await events.waitUntilReady()
  return events
}
