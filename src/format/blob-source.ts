/**
 * What a browser hands out, a `File` or any `Blob`, as a source of bytes. In a worker it is read where asked, through
 * `FileReaderSync`, and never stands in memory whole. A page has no reading that does not wait, so there, and in Node.js,
 * the blob is read whole first.
 */
import { WeftgradError } from '../errors.ts'
import { type ByteSource, closedError, memorySource, refuseBeyondEnd } from './byte-source.ts'

/** Twice that is in memory for a while, in a tab that has other things to do. VGG16 without its top has 59 MB. */
const mostWholeBytes = 2 ** 28
/**
 * Each read of a blob takes a message to the browser's process, and HDF5 asks for some dozens of bytes at a time: a short
 * request is answered out of a piece of this size, which is kept.
 */
const windowBytes = 2 ** 18

/** Of a worker's own surface, which the types of a page lack. */
interface BlobReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer
}

/**
 * A source over a blob's bytes.
 * @param name for messages; a `File` brings its own.
 * @throws WeftgradError 'file' where it cannot be read, or is too large for a page to read whole.
 */
export async function blobSource(blob: Blob, name: string = nameOf(blob)): Promise<ByteSource> {
  const { FileReaderSync } = globalThis as { readonly FileReaderSync?: new () => BlobReader }
  if (FileReaderSync !== undefined) return pieceByPiece(blob, name, new FileReaderSync())
  if (blob.size > mostWholeBytes) {
    throw new WeftgradError(
      'file',
      `${name} has ${blob.size} bytes, and a page reads files of ${mostWholeBytes} bytes at most, because it has to take them whole. ` +
        'Open it in a worker, which reads it piece by piece.',
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
