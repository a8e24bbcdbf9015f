/**
 * Reads which shared libraries an ELF library needs (its DT_NEEDED entries), so that a driver's dependencies can be
 * found in unpacked packages and loaded in order. 64-bit little-endian only: x86-64 and AArch64 Linux.
 * Format: System V ABI, "Program Header" and "Dynamic Section".
 */
import { WeftgradError } from '../../errors.ts'

const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT_NULL = 0n
const DT_NEEDED = 1n
const DT_STRTAB = 5n

/**
 * The names of the libraries that `bytes` needs, in order. Throws WeftgradError('format') unless it is a complete
 * 64-bit ELF library.
 */
export function neededLibraries(bytes: Buffer, name: string): string[] {
  const bad = (what: string) =>
    new WeftgradError('format', `${name} is not a usable shared library: ${what}.`, { name })
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) throw bad('it does not start with an ELF header')
  if (bytes[4] !== 2 || bytes[5] !== 1) throw bad('it is not 64-bit little-endian')
  const u64 = (at: number): bigint => {
    if (at < 0 || at + 8 > bytes.length) throw bad(`it ends before byte ${at + 8}`)
    return bytes.readBigUInt64LE(at)
  }
  const position = (at: number): number => {
    const value = u64(at)
    if (value > BigInt(bytes.length)) throw bad(`it points to byte ${value} but has ${bytes.length}`)
    return Number(value)
  }

  const tableAt = position(32)
  const entryBytes = bytes.readUInt16LE(54)
  const entries = bytes.readUInt16LE(56)
  const loads: { address: bigint; bytes: bigint; at: bigint }[] = []
  let dynamic: { at: number; end: number } | undefined
  for (let index = 0; index < entries; index++) {
    const at = tableAt + index * entryBytes
    const segmentBytes = u64(at + 32)
    const type = bytes.readUInt32LE(at)
    if (type === PT_LOAD) loads.push({ address: u64(at + 16), bytes: segmentBytes, at: u64(at + 8) })
    if (type === PT_DYNAMIC) {
      const start = position(at + 8)
      dynamic = { at: start, end: start + Number(segmentBytes) }
    }
  }
  if (dynamic === undefined) throw bad('it has no dynamic section')

  const nameOffsets: bigint[] = []
  let stringsAddress: bigint | undefined
  for (let at = dynamic.at; at < dynamic.end; at += 16) {
    const tag = u64(at)
    if (tag === DT_NULL) break
    if (tag === DT_NEEDED) nameOffsets.push(u64(at + 8))
    if (tag === DT_STRTAB) stringsAddress = u64(at + 8)
  }
  if (nameOffsets.length === 0) return []
  const address = stringsAddress
  const segment = loads.find((l) => address !== undefined && address >= l.address && address < l.address + l.bytes)
  if (address === undefined || segment === undefined) throw bad('its names lie outside its segments')
  const stringsAt = segment.at + address - segment.address
  return nameOffsets.map((offset) => {
    if (stringsAt + offset >= BigInt(bytes.length)) throw bad('a name lies past its end')
    const start = Number(stringsAt + offset)
    const end = bytes.indexOf(0, start)
    if (end < 0) throw bad('a name does not end')
    return bytes.toString('latin1', start, end)
  })
}
