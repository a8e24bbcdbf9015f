/**
 * A lock file that keeps two processes from doing the same work at once. It names its holder, who touches it every few
 * seconds. Another process takes the lock over if it was not touched for a while or its process has ended.
 *
 * Promises: exactly one of several processes gets the lock. Files are created exclusively. Only the holder of a claim
 * removes a lock: the claim is a file named by the lock's token, also created exclusively. A holder that was suspended
 * until another took over learns this from `verify`, which runs before each write that the lock guards.
 */
import { randomBytes } from 'node:crypto'
import { unlinkSync } from 'node:fs'
import { mkdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { WeftgradError } from '../errors.ts'
import { onDisk } from '../format/atomic-write.node.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'

export interface LockOptions {
  /** Time between touches. 5 s by default. */
  readonly heartbeatMs?: number
  /** Age without a touch at which a lock counts as abandoned. Six heartbeats by default. */
  readonly staleMs?: number
  readonly pollMs?: number
}

export interface AcquireOptions extends LockOptions {
  readonly signal?: AbortSignal | undefined
  /** Called once with the holder's name if another process has the lock. */
  readonly onWait?: ((holder: string) => void) | undefined
}

interface Holder {
  readonly pid: number
  readonly host: string
  /** Distinguishes two locks of one process. */
  readonly token: string
}

export class FolderLock {
  readonly #path: string
  readonly #token: string
  readonly #heartbeat: NodeJS.Timeout

  private constructor(path: string, token: string, heartbeatMs: number) {
    this.#path = path
    this.#token = token
    this.#heartbeat = setInterval(() => void this.#beat(), heartbeatMs)
    this.#heartbeat.unref()
  }

  /** Waits until the lock is free. Throws 'file' on disk errors, 'aborted'. */
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

  /** Takes the lock, or returns its holder's name. Throws 'file' on disk errors. */
  static async take(path: string, options: LockOptions = {}): Promise<FolderLock | string> {
    const { heartbeatMs = 5000, staleMs = 6 * heartbeatMs } = options
    const token = newToken()
    await onDisk(path, () => mkdir(dirname(path), { recursive: true }))
    const busy = await takeFile(path, token, staleMs)
    return busy ?? new FolderLock(path, token, heartbeatMs)
  }

  /**
   * Checks that the lock is still held.
   * @throws WeftgradError 'lock-lost' if another process took it over or its file was removed, 'file' if its folder was
   * removed.
   */
  async verify(): Promise<void> {
    const holder = holderOf(this.#path)
    if (holder?.token === this.#token) return
    clearInterval(this.#heartbeat)
    const folder = dirname(this.#path)
    if ((await stat(folder).catch(() => undefined)) === undefined)
      throw new WeftgradError(
        'file',
        `${folder} was removed while a run was using it, so the run stops. Start it again.`,
        { folder },
      )
    const isTaken = holder !== undefined && holder !== unreadable
    const who = isTaken ? `${nameOf(holder)} took it over` : 'its file was removed or changed'
    throw new WeftgradError(
      'lock-lost',
      `The lock ${this.#path} is lost: ${who}. This process stops and writes nothing more there. Wait until no process uses ${folder}, then resume.`,
      { path: this.#path, holder: isTaken ? nameOf(holder) : undefined },
    )
  }

  /** Releases the lock, unless another process has taken it over. */
  async release(): Promise<void> {
    clearInterval(this.#heartbeat)
    try {
      // Another process may read it at this moment and find it held.
      while (tokenAt(this.#path) === this.#token && !(await removeFile(this.#path, () => true))) await sleep(5)
    } catch {
      // If it cannot be removed, it becomes stale.
    }
  }

  /** Touches the lock, but never that of another process. */
  async #beat(): Promise<void> {
    const holder = holderOf(this.#path)
    const now = new Date()
    if (holder?.token === this.#token) await utimes(this.#path, now, now).catch(() => undefined)
    else clearInterval(this.#heartbeat)
  }
}

const newToken = (): string => randomBytes(8).toString('hex')

const nameOf = ({ pid, host }: Holder): string => `process ${pid} on ${host}`

/** Creates the file with the token, replacing an abandoned one. Returns the holder's name if it is taken. */
async function takeFile(path: string, token: string, staleMs: number): Promise<string | undefined> {
  const text = JSON.stringify({ pid: process.pid, host: hostname(), token } satisfies Holder)
  for (let reads = 1; ; reads += 1) {
    if (await created(path, text)) return undefined
    const holder = holderOf(path)
    if (holder === undefined) continue
    // Its holder may have created the file and not written it yet.
    if (holder === unreadable && reads < 20) {
      await sleep(5)
      continue
    }
    if (!(await isAbandoned(path, holder, staleMs))) return holder === unreadable ? 'unknown' : nameOf(holder)
    // A faster process may take it first; then this one finds it held.
    if (!(await removeFile(path, (now) => isAbandoned(path, now, staleMs), staleMs))) await sleep(5)
  }
}

/**
 * Removes a lock for which `may` holds. A claim on exactly this lock, itself a lock, prevents removing a newer one by
 * mistake. Returns false if another process has the claim.
 */
async function removeFile(
  path: string,
  may: (holder: Holder) => boolean | Promise<boolean>,
  staleMs = 30_000,
): Promise<boolean> {
  const token = tokenAt(path)
  if (token === undefined) return true
  const claim = `${path}.${token}`
  const own = newToken()
  if ((await takeFile(claim, own, staleMs)) !== undefined) return false
  try {
    const holder = holderOf(path)
    // Read again right before removing: a process is then unlikely to be suspended between the two.
    if (holder?.token === token && (await may(holder)) && tokenAt(path) === token) unlinkSync(path)
  } finally {
    if (tokenAt(claim) === own) await rm(claim, { force: true }).catch(() => undefined)
  }
  return true
}

/** Creates the file; false if it existed. */
async function created(path: string, text: string): Promise<boolean> {
  return await onDisk(path, async () => {
    try {
      await writeFile(path, text, { flag: 'wx' })
      return true
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false
      throw error
    }
  })
}

/** The holder of a lock file without valid content, such as one that is being written. */
const unreadable: Holder = { pid: 0, host: '', token: 'unreadable' }

/** The holder in the file; undefined if there is no file. */
function holderOf(path: string): Holder | undefined {
  try {
    return ifThere(() => holderIn(readHostText(path)))
  } catch {
    return unreadable
  }
}

/** The token in the file; undefined if it cannot be read. */
function tokenAt(path: string): string | undefined {
  return holderOf(path)?.token
}

function holderIn(text: string): Holder {
  const value = parsedJson(text)
  const isHolder =
    isRecord(value) &&
    typeof value.pid === 'number' &&
    typeof value.host === 'string' &&
    // The token becomes part of a file name.
    typeof value.token === 'string' &&
    /^[\w-]{1,64}$/.test(value.token)
  return isHolder ? (value as unknown as Holder) : unreadable
}

async function isAbandoned(path: string, holder: Holder, staleMs: number): Promise<boolean> {
  if (holder.host === hostname() && !isRunning(holder.pid)) return true
  const facts = await stat(path).catch(() => undefined)
  return facts !== undefined && Date.now() - facts.mtimeMs > staleMs
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // Another user's process cannot be signalled, but it exists.
    return codeOf(error) === 'EPERM'
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
