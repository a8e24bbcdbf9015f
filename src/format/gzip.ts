/**
 * Decompresses gzip with the platform's own DecompressionStream (browsers, Node), which checks the CRC and the length.
 *
 * Promises: the output never grows past the caller's bound, whatever the bytes claim, and every failure is a
 * WeftgradError 'format'.
 */

import { WeftgradError } from '../errors.ts'
import { aNumber, aString, checkOptions, checkValue, theBytes } from '../options.ts'

/** Compressed bytes handed over at a time; small, so that a bomb is stopped after a few megabytes of output. */
const inputChunkBytes = 16 * 1024

/** How much to unpack at most, and what errors say. */
export interface GunzipOptions {
  /** Output larger than this is refused. */
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
 * @throws WeftgradError 'format' if the bytes are damaged, cut off, or unpack to more than `maxBytes` (1 GiB).
 */
export async function gunzip(bytes: Uint8Array, options: GunzipOptions = {}): Promise<Uint8Array> {
  const { maxBytes = 2 ** 30, source = 'The gzip data' } = checkOptions('gunzip', options, {
    ...{ maxBytes: aNumber, source: aString },
  })
  checkValue('gunzip: the bytes', bytes, theBytes)
  if (!isGzip(bytes)) {
    throw new WeftgradError(
      'format',
      `${source} is not gzip: bytes 0 and 1 are not its signature 0x1f 0x8b. Check that this is the right file.`,
      { source },
    )
  }

  const stream = new DecompressionStream('gzip')
  const writer = stream.writable.getWriter()
  const feed = async (): Promise<void> => {
    for (let start = 0; start < bytes.length; start += inputChunkBytes) {
      await writer.write(bytes.slice(start, start + inputChunkBytes))
    }
    await writer.close()
  }
  // A failure shows on the reading side as well, where it is handled.
  feed().catch(() => {})
  writer.closed.catch(() => {})

  const reader = stream.readable.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      length += value.length
      if (length > maxBytes) break
      chunks.push(value)
    }
  } catch (cause) {
    throw new WeftgradError(
      'format',
      `${source} is damaged or cut off: decompressing its ${bytes.length} bytes failed after ${length} bytes of output (${reason(cause)}). Fetch the file again.`,
      { source, compressedBytes: bytes.length, decompressedBytes: length },
      cause,
    )
  }
  if (length > maxBytes) {
    reader.cancel().catch(() => {})
    writer.abort().catch(() => {})
    throw new WeftgradError(
      'format',
      `${source} decompresses to more than the ${maxBytes} bytes allowed here. Check that this is the right file.`,
      { source, compressedBytes: bytes.length, maxBytes },
    )
  }

  const output = new Uint8Array(length)
  let offset = 0
  for (const chunk of chunks) {
    output.set(chunk, offset)
    offset += chunk.length
  }
  return output
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
