/**
 * Reads zip archives from their table of contents at the end: uncompressed entries, as Keras writes them, are read in place,
 * however large they are. fflate unpacks the others; its archive reader would need all bytes in memory.
 *
 * Promises: every offset and length is checked against the file; unpacking never yields more than the table says or the caller
 * allows; an entry's CRC-32 is checked before any of it is returned. Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
import { Inflate } from 'fflate'
import { WeftgradError } from '../errors.ts'
import { type ByteSource, memorySource, partOf, readBytes } from './byte-source.ts'
import { crc32, crcText } from './crc32.ts'

export interface ZipEntry {
  readonly name: string
  readonly isStored: boolean
  /** Sizes packed and unpacked. */
  readonly packedBytes: number
  readonly bytes: number
  /** CRC-32 of the unpacked bytes. */
  readonly crc: number
  /** Offset of the entry's local header. */
  readonly start: number
}

const endBytes = 22
const longestComment = 0xffff
const endSignature = 0x06054b50
const wideEndSignature = 0x06064b50
const wideLocatorSignature = 0x07064b50
const entrySignature = 0x02014b50
const headSignature = 0x04034b50
const wide32 = 0xffffffff
const wideExtra = 0x0001
const stored = 0
const deflated = 8
/** Deflate cannot pack more tightly: https://zlib.net/zlib_tech.html */
const mostDeflated = 1032
/** Bytes read at a time. */
const pieceBytes = 64 * 1024

/** Reads the table of contents. Throws WeftgradError 'format'. */
export function zipEntries(source: ByteSource): ReadonlyMap<string, ZipEntry> {
  const { start, bytes, count } = tableOf(source)
  const table = readBytes(source, start, bytes)
  const view = viewOf(table)
  const entries = new Map<string, ZipEntry>()
  let at = 0
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes || view.getUint32(at, true) !== entrySignature) {
      throw refusal(source, `its table of contents is damaged at entry ${i + 1} of ${count}`)
    }
    const flags = view.getUint16(at + 8, true)
    const method = view.getUint16(at + 10, true)
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true))
    const extraStart = at + 46 + (nameBytes ?? 0)
    const end = extraStart + (extraBytes ?? 0) + (commentBytes ?? 0)
    if (end > bytes) throw refusal(source, `its table of contents is cut off at entry ${i + 1} of ${count}`)
    const name = new TextDecoder().decode(table.subarray(at + 46, extraStart))
    const sizes = { bytes: at + 24, packedBytes: at + 20, start: at + 42 }
    const extra = table.subarray(extraStart, extraStart + (extraBytes ?? 0))
    const crc = view.getUint32(at + 16, true)
    const entry = { name, crc, isStored: method === stored, ...widened(view, sizes, extra) }
    if (method !== stored && method !== deflated) throw refusal(source, `'${name}' has an unknown compression method`)
    if ((flags & 1) !== 0) throw refusal(source, `'${name}' is encrypted`)
    if (entries.has(name)) throw refusal(source, `it has two entries '${name}'`)
    const isSane = entry.isStored ? entry.bytes === entry.packedBytes : entry.bytes <= entry.packedBytes * mostDeflated
    if (!isSane || !(entry.start + entry.packedBytes <= start)) {
      throw refusal(source, `'${name}' claims ${entry.bytes} bytes, more than it can have`)
    }
    entries.set(name, entry)
    at = end
  }
  return entries
}

/**
 * Opens an entry: in place if it is stored, else unpacked into memory. Closing it closes the archive.
 * @throws WeftgradError 'format' if it is damaged, has the wrong CRC-32 or more than `mostBytes`.
 */
export function openZipEntry(source: ByteSource, entry: ZipEntry, mostBytes: number): ByteSource {
  const { name, bytes, packedBytes, crc, start, isStored } = entry
  if (bytes > mostBytes) throw refusal(source, `'${name}' has ${bytes} bytes, more than the ${mostBytes} expected`)
  const head = start + 30 <= source.size ? viewOf(readBytes(source, start, 30)) : undefined
  if (head?.getUint32(0, true) !== headSignature) throw refusal(source, `'${name}' is not where it should be`)
  const dataStart = start + 30 + head.getUint16(26, true) + head.getUint16(28, true)
  if (dataStart + packedBytes > source.size) throw refusal(source, `'${name}' is cut off`)
  const content = isStored
    ? partOf(source, dataStart, bytes)
    : { ...memorySource(inflated(source, entry, dataStart), source.name), close: () => source.close() }
  const found = crcOf(content)
  if (found !== crc)
    throw refusal(
      source,
      `'${name}' has the CRC-32 ${crcText(found)} instead of ${crcText(crc)}: it was damaged or changed`,
    )
  return content
}

function crcOf(content: ByteSource): number {
  const piece = new Uint8Array(Math.min(pieceBytes, content.size))
  let crc = 0
  for (let done = 0; done < content.size; done += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, content.size - done))
    content.readInto(part, done)
    crc = crc32(part, crc)
  }
  return crc
}

function inflated(source: ByteSource, { name, bytes, packedBytes }: ZipEntry, dataStart: number): Uint8Array {
  const unpacked = new Uint8Array(bytes)
  let length = 0
  const inflate = new Inflate((part) => {
    if (length + part.length <= bytes) unpacked.set(part, length)
    length += part.length
  })
  try {
    for (let done = 0; done < packedBytes && length <= bytes; done += pieceBytes) {
      const count = Math.min(pieceBytes, packedBytes - done)
      inflate.push(readBytes(source, dataStart + done, count), done + count === packedBytes)
    }
  } catch (cause) {
    if (cause instanceof WeftgradError) throw cause
    throw refusal(source, `'${name}' cannot be unpacked (${cause instanceof Error ? cause.message : cause})`, cause)
  }
  if (length !== bytes) throw refusal(source, `'${name}' does not unpack to the expected ${bytes} bytes`)
  return unpacked
}

/** Finds the table of contents through the record at the end of the file. */
function tableOf(source: ByteSource): { start: number; bytes: number; count: number } {
  const tailBytes = Math.min(source.size, endBytes + longestComment)
  const tail = viewOf(readBytes(source, source.size - tailBytes, tailBytes))
  let at = tailBytes - endBytes
  while (at >= 0 && tail.getUint32(at, true) !== endSignature) at--
  if (at < 0) throw refusal(source, 'its end is missing')
  let [count, bytes, start] = [
    tail.getUint16(at + 10, true),
    tail.getUint32(at + 12, true),
    tail.getUint32(at + 16, true),
  ]
  let end = source.size - tailBytes + at
  if (at >= 20 && tail.getUint32(at - 20, true) === wideLocatorSignature) {
    end = Number(tail.getBigUint64(at - 12, true))
    const record = end + 56 <= source.size ? viewOf(readBytes(source, end, 56)) : undefined
    if (record?.getUint32(0, true) !== wideEndSignature) throw refusal(source, 'its end is damaged')
    ;[count, bytes, start] = [32, 40, 48].map((field) => Number(record.getBigUint64(field, true))) as [
      number,
      number,
      number,
    ]
  }
  if (!(start + bytes <= end) || count * 46 > bytes) {
    throw refusal(source, `its table of contents claims ${count} entries and ${bytes} bytes`)
  }
  return { start, bytes, count }
}

/** Numbers too large for their fields are in an extra field, in this order, each only if needed. */
function widened<Field extends string>(
  view: DataView,
  fields: Readonly<Record<Field, number>>,
  extra: Uint8Array,
): Readonly<Record<Field, number>> {
  const wide = wideFields(extra)
  let next = 0
  const values = (Object.entries(fields) as [Field, number][]).map(([field, at]): [Field, number] => {
    const value = view.getUint32(at, true)
    return [field, value === wide32 ? (wide[next++] ?? value) : value]
  })
  return Object.fromEntries(values) as Record<Field, number>
}

function wideFields(extra: Uint8Array): readonly number[] {
  const view = viewOf(extra)
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = view.getUint16(at + 2, true)
    if (view.getUint16(at, true) === wideExtra) {
      const count = Math.floor(Math.min(length, extra.length - at - 4) / 8)
      return Array.from({ length: count }, (_, i) => Number(view.getBigUint64(at + 4 + 8 * i, true)))
    }
    at += 4 + length
  }
  return []
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function refusal(source: ByteSource, problem: string, cause?: unknown): WeftgradError {
  const { name } = source
  return new WeftgradError(
    'format',
    `${name} is not a readable archive: ${problem}. Download it again.`,
    { source: name },
    cause,
  )
}
