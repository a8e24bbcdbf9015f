/** CRC-32 as in zip, gzip and PNG: polynomial 0xedb88320, bits reversed. */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})

/**
 * The checksum as an unsigned number.
 * @param before the checksum of the preceding bytes, if they come in pieces.
 */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0)
  return ~crc >>> 0
}

/** A checksum as eight hex digits. */
export function crcText(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}
