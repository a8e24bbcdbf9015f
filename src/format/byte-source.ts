/**
 * A source of bytes with random access: a file on the host's disk, or a browser's memory. Reading is synchronous because the
 * HDF5 library reads bytes in the middle of a call.
 */
import { WeftgradError } from '../errors.ts'

export interface ByteSource {
  /** The source's name in messages. */
  readonly name: string
  /** Its size in bytes. */
  readonly size: number
  /** Fills `target` with the bytes from `position` on, which must all be within the source. Throws 'file'. */
  readInto(target: Uint8Array, position: number): void
  close(): void
}

export function memorySource(bytes: Uint8Array, name: string): ByteSource {
  return {
    name,
    size: bytes.length,
    readInto: (target, position) => target.set(bytesWithin(bytes, position, target.length)),
    close: () => {},
  }
}

/** A part of a source as a source. Closing it closes the whole source. */
export function partOf(whole: ByteSource, start: number, size: number): ByteSource {
  return {
    name: whole.name,
    size,
    readInto(target, position) {
      refuseBeyondEnd(position, target.length, size)
      whole.readInto(target, start + position)
    },
    close: () => whole.close(),
  }
}

/** Concatenates sources. Closing the result closes them all. */
export function joined(parts: readonly ByteSource[], name: string): ByteSource {
  let size = 0
  const starts = parts.map((part) => {
    const start = size
    size += part.size
    return start
  })
  return {
    name,
    size,
    readInto(target, position) {
      refuseBeyondEnd(position, target.length, size)
      for (const [i, part] of parts.entries()) {
        const start = starts[i] ?? 0
        const from = Math.max(position, start)
        const to = Math.min(position + target.length, start + part.size)
        if (from < to) part.readInto(target.subarray(from - position, to - position), from - start)
      }
    },
    close: () => {
      for (const part of parts) part.close()
    },
  }
}

/** A copy of some bytes. Callers check that they exist. */
export function readBytes(source: ByteSource, position: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  source.readInto(bytes, position)
  return bytes
}

function bytesWithin(bytes: Uint8Array, position: number, length: number): Uint8Array {
  refuseBeyondEnd(position, length, bytes.length)
  return bytes.subarray(position, position + length)
}

export function refuseBeyondEnd(position: number, length: number, size: number): void {
  if (position < 0 || position + length > size)
    throw new RangeError(`${length} bytes from ${position} on do not lie within ${size}`)
}

export function closedError(source: string): WeftgradError {
  return new WeftgradError('disposed', `${source} is closed. Open it again to read from it.`, { source })
}
