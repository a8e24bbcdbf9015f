/**
 * Decompresses gzip with the platform's DecompressionStream (browsers, Node), which checks CRC and length.
 *
 * Promises: the output never exceeds the caller's limit, whatever the bytes claim, and every failure is a
 * WeftgradError 'format'.
 */

import { WeftgradError } from '../errors.ts'
import { aNumber, aString, checkOptions, checkValue, theBytes } from '../options.ts'
import { mostUnpacked } from './unpacked.ts'

/** Compressed bytes per write; small, so that a zip bomb is stopped after a few megabytes of output. */
const inputChunkBytes = 16 * 1024

/** Deflate cannot pack more tightly: https://zlib.net/zlib_tech.html */
const mostDeflated = 1032

/** Options of {@link gunzip}. */
export interface GunzipOptions {
  /** The most bytes of output; by default 256 MiB, or twice the compressed size if that is more. */
  readonly maxBytes?: number
  /** Names the bytes in errors, for example the file's path. */
  readonly source?: string
}

/** Whether the bytes start with gzip's signature. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b
}

/**
 * Decompresses a whole gzip file.
 * @throws WeftgradError 'format' if the bytes are damaged, cut off, or unpack to more than `maxBytes`.
 */
export async function gunzip(bytes: Uint8Array, options: GunzipOptions = {}): Promise<Uint8Array> {
  checkValue('gunzip: the bytes', bytes, theBytes)
  const { maxBytes = mostUnpacked(bytes.length), source = 'The gzip data' } = checkOptions('gunzip', options, {
    ...{ maxBytes: aNumber, source: aString },
  })
  if (!isGzip(bytes)) {
    throw new WeftgradError(
      'format',
      `${source} is not gzip: bytes 0 and 1 are not its signature 0x1f 0x8b. Check that this is the right file.`,
      { source },
    )
  }

  const tooLarge = (): WeftgradError =>
    new WeftgradError(
      'format',
      `${source} decompresses to more than the ${maxBytes} bytes allowed here. Check that this is the right file, or decompress it first.`,
      { source, compressedBytes: bytes.length, maxBytes },
    )
  const stream = new DecompressionStream('gzip')
  const writer = stream.writable.getWriter()
  const feed = async (): Promise<void> => {
    for (let start = 0; start < bytes.length; start += inputChunkBytes) {
      await writer.write(bytes.slice(start, start + inputChunkBytes))
    }
    await writer.close()
  }
  // A failure also shows on the reading side, which handles it.
  feed().catch(() => {})
  writer.closed.catch(() => {})

  const reader = stream.readable.getReader()
  // The last 4 bytes are the unpacked length, unless the file is cut off, has several parts or is malicious.
  const claimed = bytes.length < 4 ? 0 : viewOf(bytes).getUint32(bytes.length - 4, true)
  let output = new Uint8Array(Math.min(claimed, maxBytes, mostDeflated * bytes.length))
  let length = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      const end = length + value.length
      if (end > maxBytes) {
        reader.cancel().catch(() => {})
        writer.abort().catch(() => {})
        throw tooLarge()
      }
      if (end > output.length) output = grown(output, Math.min(maxBytes, Math.max(2 * output.length, end)))
      output.set(value, length)
      length = end
    }
  } catch (cause) {
    if (cause instanceof WeftgradError) throw cause
    throw new WeftgradError(
      'format',
      `${source} is damaged or cut off: decompressing its ${bytes.length} bytes failed after ${length} bytes of output (${reason(cause)}). Download the file again.`,
      { source, compressedBytes: bytes.length, decompressedBytes: length },
      cause,
    )
  }
  return output.length === length ? output : output.slice(0, length)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length)
  larger.set(bytes)
  return larger
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
