/**
 * A browser's `File`, or any `Blob`, as a source of bytes. A worker reads it in pieces with `FileReaderSync`, so it is never
 * in memory as a whole. A page cannot read synchronously, so there, and in Node.js, the whole blob is read first.
 */
import { WeftgradError } from '../errors.ts'
import { type ByteSource, closedError, memorySource, refuseBeyondEnd } from './byte-source.ts'

/** A tab holds twice this in memory for a while. VGG16 without its top has 59 MB. */
const mostWholeBytes = 2 ** 28
/**
 * Each read of a blob sends a message to the browser's process, and HDF5 reads dozens of bytes at a time, so short reads are
 * served from a cached piece of this size.
 */
const windowBytes = 2 ** 18

/** Exists in workers only, so the types of a page lack it. */
interface BlobReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer
}

/**
 * A source over a blob's bytes.
 * @param name its name in messages; by default a `File`'s own.
 * @throws WeftgradError 'file' if it cannot be read, or is too large for a page to read as a whole.
 */
export async function blobSource(blob: Blob, name: string = nameOf(blob)): Promise<ByteSource> {
  const { FileReaderSync } = globalThis as { readonly FileReaderSync?: new () => BlobReader }
  if (FileReaderSync !== undefined) return pieceByPiece(blob, name, new FileReaderSync())
  if (blob.size > mostWholeBytes) {
    throw new WeftgradError(
      'file',
      `${name} has ${blob.size} bytes, and a page can read at most ${mostWholeBytes} bytes, because it must read files as a whole. ` +
        'Open it in a worker, which reads it in pieces.',
      { source: name, bytes: blob.size },
    )
  }
  try {
    return memorySource(new Uint8Array(await blob.arrayBuffer()), name)
  } catch (cause) {
    throw unreadable(name, cause)
  }
}

function pieceByPiece(blob: Blob, name: string, reader: BlobReader): ByteSource {
  const { size } = blob
  let window = { start: 0, bytes: new Uint8Array() }
  let isOpen = true
  const read = (start: number, end: number): Uint8Array<ArrayBuffer> => {
    try {
      return new Uint8Array(reader.readAsArrayBuffer(blob.slice(start, end)))
    } catch (cause) {
      throw unreadable(name, cause)
    }
  }
  return {
    name,
    size,
    readInto(target, position) {
      if (!isOpen) throw closedError(name)
      refuseBeyondEnd(position, target.length, size)
      const end = position + target.length
      if (target.length >= windowBytes) {
        target.set(read(position, end))
        return
      }
      if (position < window.start || end > window.start + window.bytes.length)
        window = { start: position, bytes: read(position, Math.min(size, position + windowBytes)) }
      target.set(window.bytes.subarray(position - window.start, end - window.start))
    },
    close() {
      isOpen = false
      window = { start: 0, bytes: new Uint8Array() }
    },
  }
}

function nameOf(blob: Blob): string {
  return 'name' in blob && typeof blob.name === 'string' ? blob.name : 'the file'
}

function unreadable(name: string, cause: unknown): WeftgradError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new WeftgradError(
    'file',
    `${name} could not be read: ${reason}. It may have been moved or changed: choose it again.`,
    { source: name },
    cause,
  )
}
