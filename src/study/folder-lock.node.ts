/**
 * A lock file that keeps two processes from doing the same work at once. It names its holder, who touches it every few
 * seconds; a lock that was not touched for a while, or whose process is gone, is taken over.
 *
 * It saves work and guards nothing: what is written under it must bear being written twice.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { WeftgradError } from '../errors.ts'
import { readHostText } from '../format/host-file.node.ts'

export interface LockOptions {
  /** The lock is touched so often. 5 s unless given. */
  readonly heartbeatMs?: number
  /** A lock that was not touched for so long belongs to nobody: six heartbeats. */
  readonly staleMs?: number
  readonly pollMs?: number
}

export interface AcquireOptions extends LockOptions {
  readonly signal?: AbortSignal | undefined
  /** Told once, if somebody else has the lock, who that is. */
  readonly onWait?: ((holder: string) => void) | undefined
}

interface Holder {
  readonly pid: number
  readonly host: string
  /** Tells apart two locks of one process. */
  readonly token: string
}

export class FolderLock {
  readonly #path: string
  readonly #token: string
  readonly #heartbeat: NodeJS.Timeout

  private constructor(path: string, token: string, heartbeatMs: number) {
    this.#path = path
    this.#token = token
    this.#heartbeat = setInterval(() => {
      const now = new Date()
      utimes(path, now, now).catch(() => undefined) // at worst somebody takes it over and does the work, too
    }, heartbeatMs)
    this.#heartbeat.unref()
  }

  /** Waits until the lock is free. Throws 'file' where the disk refuses, 'aborted'. */
  static async acquire(path: string, options: AcquireOptions = {}): Promise<FolderLock> {
    const { pollMs = 500, signal, onWait } = options
    let waited = false
    for (;;) {
      if (signal?.aborted) throw new WeftgradError('aborted', 'Waiting for another run was stopped.')
      const taken = await FolderLock.take(path, options)
      if (taken instanceof FolderLock) return taken
      if (!waited) onWait?.(taken)
      waited = true
      await sleep(pollMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined)
    }
  }

  /** The lock, or who has it. Throws 'file' where the disk refuses. */
  static async take(path: string, options: LockOptions = {}): Promise<FolderLock | string> {
    const { heartbeatMs = 5000, staleMs = 6 * heartbeatMs } = options
    const token = randomBytes(8).toString('hex')
    const holder: Holder = { pid: process.pid, host: hostname(), token }
    for (;;) {
      if (await created(path, JSON.stringify(holder))) return new FolderLock(path, token, heartbeatMs)
      const other = await holderOf(path)
      if (!(await isAbandoned(path, other, staleMs)))
        return other === undefined ? 'unknown' : `process ${other.pid} on ${other.host}`
      await rm(path, { force: true }).catch(() => undefined)
    }
  }

  /** Gives the lock up, unless somebody has taken it over. */
  async release(): Promise<void> {
    clearInterval(this.#heartbeat)
    const holder = await holderOf(this.#path)
    if (holder?.token === this.#token) await rm(this.#path, { force: true }).catch(() => undefined)
  }
}

/** Whether the file was not there and is now. */
async function created(path: string, text: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    const problem = error instanceof Error ? error.message : String(error)
    throw new WeftgradError('file', `${path} could not be written: ${problem}.`, { path }, error)
  }
}

/** Undefined for a lock that is gone, not written yet, or no lock. */
async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    const value: unknown = JSON.parse(readHostText(path))
    const isHolder = (one: unknown): one is Holder =>
      typeof one === 'object' && one !== null && 'pid' in one && typeof one.pid === 'number' && 'host' in one
    return isHolder(value) ? value : undefined
  } catch {
    return undefined
  }
}

async function isAbandoned(path: string, holder: Holder | undefined, staleMs: number): Promise<boolean> {
  if (holder?.host === hostname() && !isRunning(holder.pid)) return true
  const facts = await stat(path).catch(() => undefined)
  return facts !== undefined && Date.now() - facts.mtimeMs > staleMs
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // Another user's process may not be signalled, but it is there.
    return codeOf(error) === 'EPERM'
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
