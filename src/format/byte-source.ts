/**
 * Bytes that can be read from any place: a file on the host's disk, or what a browser holds in memory. Reading is
 * synchronous because the HDF5 library asks for bytes in the middle of a call.
 */
import { WeftgradError } from '../errors.ts'

export interface ByteSource {
  /** Where the bytes come from, for messages. */
  readonly name: string
  /** In bytes. */
  readonly size: number
  /** Fills `target` with the bytes from `position` on, all of which have to lie within the source. Throws 'file'. */
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

/** A part of a source as a source of its own; closing it closes the whole. */
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

/** Sources one after the other as one; closing it closes them all. */
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

/** A copy of some bytes, as many as there are: lengths are checked by whoever asks. */
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
  return new WeftgradError('disposed', `${source} has been closed. Open it again to read from it.`, { source })
}
