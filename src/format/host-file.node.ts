/** Files of the host as sources of bytes: opened once, read where asked, never whole. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { WeftgradError } from '../errors.ts'
import { type ByteSource, closedError } from './byte-source.ts'

/** Opening a pipe would otherwise wait for who writes to it. Windows has no such flag. */
const readOnly = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/** @throws WeftgradError 'file' if the file cannot be opened or is no ordinary file. */
export function openHostFile(path: string): ByteSource {
  const file = fromDisk(path, () => openSync(path, readOnly))
  let isOpen = true
  const close = (): void => {
    if (isOpen) closeSync(file)
    isOpen = false
  }
  try {
    const stat = fromDisk(path, () => fstatSync(file))
    if (!stat.isFile()) throw unreadable(path, 'it is not an ordinary file. Check the path')
    return {
      name: path,
      size: stat.size,
      readInto(target, position) {
        if (!isOpen) throw closedError(path)
        for (let done = 0; done < target.length; ) {
          const count = fromDisk(path, () => readSync(file, target, done, target.length - done, position + done))
          if (count === 0) throw unreadable(path, 'it became shorter while it was read. Try again')
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

const sentences: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file. Check the path',
  ENOTDIR: 'a part of the path is a file, not a folder. Check the path',
  EISDIR: 'it is a folder. Check the path',
  EACCES: 'permission is denied. Check who may read it',
  EPERM: 'permission is denied. Check who may read it',
  EMFILE: 'too many files are open. Close some',
  ENAMETOOLONG: 'the path is too long. Check it',
}

/** Turns what a disk throws into a sentence. Throws WeftgradError 'file'. */
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
