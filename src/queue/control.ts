/** What a user can see and do about a queue: its state, pausing, retrying what was set aside, emptying it. */
import { printable } from '../printable.ts'
import type { UnitQueue } from './bullmq.ts'
import { type WorkerState, workersOf } from './workers.ts'

export interface SetAside {
  readonly unit: string
  readonly kind: string
  readonly attempts: number
  readonly reason: string
  /** The last lines of its log. */
  readonly log: readonly string[]
}

export interface QueueState {
  readonly isPaused: boolean
  readonly waiting: number
  readonly active: number
  readonly setAside: readonly SetAside[]
  readonly workers: readonly WorkerState[]
  /** Units finished in each of the last 10 minutes, the latest first. */
  readonly donePerMinute: readonly number[]
  /** Time until the queue is empty at the workers' rate; null without one. */
  readonly etaSeconds: number | null
}

/** The most units set aside that are described. */
const mostDescribed = 20

export async function queueState(queue: UnitQueue): Promise<QueueState> {
  const counts = await queue.getJobCounts('waiting', 'prioritized', 'paused', 'delayed', 'active')
  const { active = 0, ...others } = counts
  const waiting = Object.values(others).reduce((sum, one) => sum + one, 0)
  const failed = await queue.getFailed(0, mostDescribed - 1)
  const setAside = await Promise.all(
    failed.map(async ({ id = '', name, attemptsMade, failedReason }) => ({
      ...{ unit: id, kind: name, attempts: attemptsMade, reason: printable(failedReason ?? '', 500) },
      log: (await queue.getJobLogs(id, 0, 4, false)).logs.map((line) => printable(line, 500)),
    })),
  )
  const workers = await workersOf(queue)
  const { data } = await queue.getMetrics('completed', 0, 9)
  return {
    ...{ isPaused: await queue.isPaused(), waiting, active, setAside, workers },
    donePerMinute: data.map(Number),
    etaSeconds: etaOf(waiting + active, workers),
  }
}

/** At the mean time of finished units, with every lane of every worker busy. */
export function etaOf(left: number, workers: readonly WorkerState[]): number | null {
  const done = workers.reduce((sum, worker) => sum + worker.done, 0)
  const busy = workers.reduce((sum, worker) => sum + worker.busySeconds, 0)
  const lanes = workers.reduce((sum, { concurrency }) => sum + concurrency, 0)
  if (left === 0) return 0
  return done === 0 || lanes === 0 ? null : (left * busy) / done / lanes
}

/** Queues again what was set aside, with all its attempts. Returns the number of units. */
export async function retrySetAside(queue: UnitQueue): Promise<number> {
  const failed = await queue.getFailed()
  for (const job of failed) await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })
  return failed.length
}

/** Removes all units that no worker has begun, and those set aside. Returns their number. */
export async function drain(queue: UnitQueue): Promise<number> {
  const { waiting = 0, prioritized = 0, paused = 0, delayed = 0, failed = 0 } = await queue.getJobCounts()
  await queue.drain(true)
  for (const job of await queue.getFailed()) await job.remove()
  return waiting + prioritized + paused + delayed + failed
}
