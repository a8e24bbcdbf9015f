/**
 * Downloads a published file: computes the checksum while the bytes arrive, and gives only the complete, correct file its name. Until
 * then the bytes are in a hidden partial file beside it, from which the next try resumes.
 *
 * Promises: a file under its final name has the published checksum. An interrupted download is kept for a day; a wrong one, or
 * one that does not match the server's file or fit onto the disk, is removed. Processes that download the same file at the same
 * time do not touch each other's partial files.
 */
import { createHash, type Hash, randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { flushFolder, onDisk, writeAll } from '../format/atomic-write.node.ts'
import { type DownloadOptions, download } from '../format/download.ts'
import { proxiedFetch } from '../format/proxy.node.ts'
import { sweepLeftovers } from '../gpu/node/leftovers.ts'
import type { PublishedFile } from './zoo.ts'

export type DownloadFileOptions = Pick<DownloadOptions, 'answerMs' | 'stallMs' | 'signal' | 'onProgress' | 'fetch'>

/** The limit for files of unpublished size: ConvNeXtXLarge has 1.4 GB. */
const largestBytes = 2 ** 31

/** The algorithm of a published checksum. */
export function hashFor(checksum: string): 'md5' | 'sha256' {
  return checksum.length === 64 ? 'sha256' : 'md5'
}

/** A partial file not written to for this long is abandoned: a stalled download gives up earlier. */
const abandonedMs = 120_000

/** The partial files being written by this process. */
const active = new Set<string>()

/**
 * Returns the path of the complete file, which replaces any file of that name in the folder.
 * @throws WeftgradError 'fetch' if it is not available, 'checksum' if the server has another file, 'file' if the disk
 * refuses, 'aborted' if the signal fired.
 */
export async function downloadFile(
  file: PublishedFile,
  folder: string,
  options: DownloadFileOptions = {},
): Promise<string> {
  const path = join(folder, file.name)
  const partial = join(folder, `.${file.name}.${process.pid}-${randomBytes(4).toString('hex')}.part`)
  active.add(partial)
  try {
    await onDisk(path, () => mkdir(folder, { recursive: true }))
    await onDisk(path, () => claimEarlierPart(file, folder, partial))
    await sweepLeftovers(folder)
    const handle = await onDisk(path, () => open(partial, 'a+'))
    try {
      await new PartialFile(file, path, handle).fill(options)
      await onDisk(path, () => handle.sync())
    } finally {
      await handle.close()
    }
    await onDisk(path, () => rename(partial, path))
  } catch (error) {
    const isWorthKeeping =
      error instanceof WeftgradError && ['fetch', 'aborted'].includes(error.code) && !isOfAnotherFile(error)
    if (!isWorthKeeping || (await sizeOf(partial)) === 0) await rm(partial, { force: true }).catch(() => {})
    throw error
  } finally {
    active.delete(partial)
  }
  await flushFolder(folder)
  return path
}

class PartialFile {
  readonly #file: PublishedFile
  readonly #path: string
  readonly #handle: FileHandle
  #hash: Hash
  #bytes = 0

  /** @param handle opened for reading and appending. */
  constructor(file: PublishedFile, path: string, handle: FileHandle) {
    this.#file = file
    this.#hash = createHash(hashFor(file.checksum))
    this.#path = path
    this.#handle = handle
  }

  /** Downloads what is missing. If the bytes of an earlier try do not match the server's file, starts over once. */
  async fill(options: DownloadFileOptions): Promise<void> {
    await onDisk(this.#path, async () => {
      for await (const chunk of this.#handle.createReadStream({ start: 0, autoClose: false })) this.#count(chunk)
    })
    for (;;) {
      const resumedFrom = this.#bytes
      try {
        if (this.#checksum() !== this.#file.checksum) await this.#receive(options)
        return await this.#check()
      } catch (error) {
        if (resumedFrom === 0 || !isOfAnotherFile(error)) throw this.#withHint(error)
        await this.#startOver()
      }
    }
  }

  #count(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    this.#bytes += chunk.length
  }

  #checksum(): string {
    return this.#hash.copy().digest('hex')
  }

  async #startOver(): Promise<void> {
    await onDisk(this.#path, () => this.#handle.truncate(0))
    this.#hash = createHash(hashFor(this.#file.checksum))
    this.#bytes = 0
  }

  async #receive(options: DownloadFileOptions): Promise<void> {
    const { url, bytes } = this.#file
    let firstByte = 0
    const onStart = (first: number, totalBytes: number | undefined): void => {
      firstByte = first
      if (bytes === undefined || totalBytes === undefined || totalBytes === bytes) return
      const misfit = first > 0 ? { misfit: true } : {}
      throw new WeftgradError('fetch', `${url} has ${totalBytes} bytes, the published file ${bytes}.`, {
        url,
        ...misfit,
      })
    }
    const { fetch = await proxiedFetch() } = options
    const request = { ...options, fetch, maxBytes: bytes ?? largestBytes, resumeFrom: this.#bytes, onStart }
    for await (const chunk of download(url, request)) {
      // The server sends the whole file, whatever was requested.
      if (firstByte < this.#bytes) await this.#startOver()
      await onDisk(this.#path, () => writeAll(this.#handle, chunk))
      this.#count(chunk)
      firstByte = this.#bytes
    }
    if (bytes !== undefined && this.#bytes < bytes) {
      throw new WeftgradError('fetch', `${url} ended after ${this.#bytes} of ${bytes} bytes.`, { url })
    }
  }

  async #check(): Promise<void> {
    const { url, checksum } = this.#file
    const found = this.#checksum()
    if (found !== checksum) {
      throw new WeftgradError(
        'checksum',
        `${url} has the checksum ${found}, the published file ${checksum}. The download was deleted; get the file from another source.`,
        { url, checksum: found },
      )
    }
    const { size } = await onDisk(this.#path, () => this.#handle.stat())
    if (size === this.#bytes) return
    throw new WeftgradError('file', `${this.#path} was changed by another program meanwhile. Download it again.`)
  }

  #withHint(error: unknown): unknown {
    if (!(error instanceof WeftgradError) || error.code !== 'fetch' || this.#bytes === 0) return error
    const message = `${error.message} The first ${this.#bytes} bytes are kept: try again to resume.`
    return new WeftgradError('fetch', message, { ...error.details, keptBytes: this.#bytes }, error)
  }
}

/** The server's file does not continue the existing bytes, or the result is not the published file. */
function isOfAnotherFile(error: unknown): boolean {
  return error instanceof WeftgradError && (error.code === 'checksum' || error.details.misfit === true)
}

/** Renames the longest partial file of an earlier try to `own`; removes the others. */
async function claimEarlierPart(file: PublishedFile, folder: string, own: string): Promise<void> {
  const left: { readonly path: string; readonly bytes: number }[] = []
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if (!name.startsWith(`.${file.name}.`) || !name.endsWith('.part') || !(await isAbandoned(path))) continue
    left.push({ path, bytes: await sizeOf(path) })
  }
  left.sort((a, b) => b.bytes - a.bytes)
  let isClaimed = false
  for (const { path } of left) {
    try {
      if (isClaimed) await rm(path, { force: true })
      else {
        // Its time is updated before the renaming, so that it never looks abandoned. The renaming decides between two processes.
        const now = new Date()
        await utimes(path, now, now)
        await rename(path, own)
        isClaimed = true
      }
    } catch {
      // Another process was faster, or access is denied: try the next one, if any.
    }
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  if (active.has(path)) return false
  const pid = Number(/\.(\d+)-[0-9a-f]+\.part$/.exec(path)?.[1])
  if (pid === process.pid || !isRunning(pid)) return true
  const facts = await stat(path).catch(() => undefined)
  return facts !== undefined && Date.now() - facts.mtimeMs > abandonedMs
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // Another user's process may not be signalled, but it exists.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

async function sizeOf(path: string): Promise<number> {
  const facts = await stat(path).catch(() => undefined)
  return facts?.size ?? 0
}
