/**
 * Opens untrusted files on the host: only regular files, so that a pipe or a device cannot block or be endless, and none
 * larger than the reader can use. Reads them in pieces, as a source of bytes, or as a whole.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { WeftgradError } from '../errors.ts'
import { type ByteSource, closedError, readBytes } from './byte-source.ts'

/** More than any text file that weftgrad writes: the predictions of a run's test images take 0.2 MB. */
const mostTextBytes = 64 * 2 ** 20

/** The most bytes that Node.js reads at once. A model of that size has half a billion parameters. */
export const mostReadableBytes = 2 ** 31 - 1

/** Without it, opening a pipe waits for a writer. Windows has no such flag. */
const readOnly = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/** @throws WeftgradError 'file' if the file cannot be opened or is not a regular file. */
export function openHostFile(path: string): ByteSource {
  const file = fromDisk(path, () => openSync(path, readOnly))
  let isOpen = true
  const close = (): void => {
    if (isOpen) closeSync(file)
    isOpen = false
  }
  try {
    const stat = fromDisk(path, () => fstatSync(file))
    if (!stat.isFile()) throw unreadable(path, 'it is not a regular file. Check the path')
    return {
      name: path,
      size: stat.size,
      readInto(target, position) {
        if (!isOpen) throw closedError(path)
        for (let done = 0; done < target.length; ) {
          const count = fromDisk(path, () => readSync(file, target, done, target.length - done, position + done))
          if (count === 0) throw unreadable(path, 'it was shortened while it was read. Try again')
          done += count
        }
      },
      close,
    }
  } catch (error) {
    close()
    throw error
  }
}

/**
 * Reads a whole file.
 * @throws WeftgradError 'file' if it cannot be opened, is not a regular file or has more than `mostBytes` bytes.
 */
export function readHostFile(path: string, mostBytes: number): Uint8Array<ArrayBuffer> {
  const file = openHostFile(path)
  try {
    if (file.size > mostBytes) {
      throw unreadable(
        path,
        `it has ${file.size} bytes, more than the ${mostBytes} allowed. Check that it is the right file`,
      )
    }
    return readBytes(file, 0, file.size)
  } finally {
    file.close()
  }
}

/** Reads a whole file of UTF-8 text, of at most 64 MiB. Throws as `readHostFile`. */
export function readHostText(path: string): string {
  return new TextDecoder().decode(readHostFile(path, mostTextBytes))
}

/** The result of `read`; undefined if the file does not exist. */
export function ifThere<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    const code = error instanceof WeftgradError ? error.details.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

const sentences: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file. Check the path',
  ENOTDIR: 'a part of the path is a file, not a folder. Check the path',
  EISDIR: 'it is a folder. Check the path',
  EACCES: 'permission is denied. Check its permissions',
  EPERM: 'permission is denied. Check its permissions',
  EMFILE: 'too many files are open. Close some',
  ENAMETOOLONG: 'the path is too long. Check it',
}

/** Turns a file system error into a message. Throws WeftgradError 'file'. */
export function fromDisk<T>(path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    throw unreadable(path, sentences[code] ?? (error instanceof Error ? error.message : String(error)), code, error)
  }
}

function unreadable(path: string, problem: string, code = '', cause?: unknown): WeftgradError {
  return new WeftgradError('file', `${path} could not be read: ${problem}.`, { path, code }, cause)
}
