/**
 * Writes files so that a reader, or a run resumed after a crash, finds either the old content or the new: writes a temporary
 * file in the same folder, flushes it to the disk, renames it over the target, and flushes the folder.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { WeftgradError } from '../errors.ts'

/** Content to write: all at once, or chunk by chunk (a download). If a stream throws, the target stays as it was. */
export type FileContent = Uint8Array | string | AsyncIterable<Uint8Array>

/**
 * Replaces `path` with the content, and creates folders as needed. On any failure the temporary file is removed and the target
 * is untouched; an error thrown by a stream of chunks, or by `guard`, passes through as it is.
 * @param guard called before anything is written, and again before the target is replaced.
 * @throws WeftgradError 'file' if the disk refuses (full, read-only, no permission).
 */
export async function writeFileAtomic(path: string, content: FileContent, guard?: () => Promise<void>): Promise<void> {
  await guard?.()
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`)
  try {
    await onDisk(path, () => mkdir(folder, { recursive: true }))
    const file = await onDisk(path, () => open(temporary, 'wx'))
    try {
      if (typeof content === 'string' || content instanceof Uint8Array) {
        await onDisk(path, () => file.writeFile(content))
      } else {
        for await (const chunk of content) await onDisk(path, () => writeAll(file, chunk))
      }
      await onDisk(path, () => file.sync())
    } finally {
      await file.close()
    }
    await guard?.()
    await onDisk(path, () => rename(temporary, path))
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
  await flushFolder(folder)
}

/**
 * Appends one line and flushes it, for logs of JSON lines: when this returns, the line survives a power cut. If an
 * earlier crash cut off the last line, the new one starts on a new line. If the disk is full, the file is restored to its
 * length before.
 * @throws WeftgradError 'argument' if the text holds a line break, 'file' if the disk refuses.
 */
export async function appendLineDurable(path: string, line: string): Promise<void> {
  if (/[\n\r]/.test(line)) {
    throw new WeftgradError('argument', 'A line to append must not contain line breaks. Escape them, as JSON does.')
  }
  await onDisk(path, async () => {
    await mkdir(dirname(path), { recursive: true })
    const file = await open(path, 'a+')
    try {
      const { size } = await file.stat()
      const last = new Uint8Array(1)
      if (size > 0) await file.read(last, 0, 1, size - 1)
      const separator = size > 0 && last[0] !== 0x0a ? '\n' : ''
      try {
        await writeAll(file, new TextEncoder().encode(`${separator}${line}\n`))
        await file.sync()
      } catch (error) {
        await file.truncate(size).catch(() => {})
        throw error
      }
      if (size === 0) await flushFolder(dirname(path))
    } finally {
      await file.close()
    }
  })
}

export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done)
    done += bytesWritten
  }
}

/** Flushes the rename too. Windows and some network disks cannot do that: there the system decides when it is durable. */
export async function flushFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch {
    // The file itself is flushed and in place.
  }
}

const sentences: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full. Free some space, or choose another folder',
  EDQUOT: 'your disk quota is used up. Free some space, or choose another folder',
  EACCES: 'permission is denied. Choose a folder that you may write to',
  EPERM: 'permission is denied. Choose a folder that you may write to',
  EROFS: 'the disk is read-only. Choose another folder',
  EISDIR: 'a folder has that name. Choose another name',
  ENOTDIR: 'a part of the path is a file, not a folder. Choose another path',
  EEXIST: 'a part of the path is a file, not a folder. Choose another path',
}

/** Turns a file system error into a message. Throws WeftgradError 'file'. */
export async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const sentence = sentences[code] ?? (error instanceof Error ? error.message : String(error))
    throw new WeftgradError('file', `${path} could not be written: ${sentence}.`, { path, code }, error)
  }
}
