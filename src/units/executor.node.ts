/**
 * Who runs a job's units: this process by default, or the workers of a queue. A job orders all units that are independent
 * at once, and the executor says how many may be under way.
 */
import type { VariantTable } from '../graph/plan/choice.ts'
import type { Task } from '../tasks/task.ts'
import type { UnitEvents, UnitKind, UnitOrder } from './unit.ts'

export interface Executor<Settings, Answer> {
  /** Number of units to have under way. */
  readonly lanes: number
  /**
   * Runs a unit, or finds its answer.
   * @throws WeftgradError 'aborted' if the signal fired, 'set-aside' if it failed several times elsewhere, and what the
   * unit throws here.
   */
  run(order: UnitOrder<Settings>, signal: AbortSignal | undefined, events?: UnitEvents): Promise<Answer>
  /** The files of a unit that has run, by name, unless they are in its folder. */
  files(order: UnitOrder<Settings>): Promise<ReadonlyMap<string, Uint8Array>>
}

/** What an executor needs to know of the job. */
export interface JobGround {
  readonly task: Task
  /** Identifies the data, as `fingerprintOf` does. */
  readonly data: string
  /** The driver of the job's adapter, on which its kernels were chosen. */
  readonly driver: string
  readonly kernels: VariantTable
}

/** Makes executors that run units elsewhere; the queue is one. */
export interface Remote {
  executor<Settings, Answer>(kind: UnitKind<Settings, Disposable, Answer>, job: JobGround): Executor<Settings, Answer>
}

/** An option of every job that orders units. */
export interface RemoteOption {
  /** Where units run; in this process by default. */
  readonly remote?: Remote | undefined
}
