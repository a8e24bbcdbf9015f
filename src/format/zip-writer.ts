/** Writes zip archives of uncompressed entries, as Keras does: weights do not pack. The same entries give the same bytes. */
import { zipSync } from 'fflate'

/** The first day that the format can express. fflate writes local time. */
const noDate = new Date(1980, 0, 1)

/** The bytes of an archive with these entries, in their order. */
export function zipOf(entries: Readonly<Record<string, Uint8Array>>): Uint8Array {
  return zipSync(entries, { level: 0, mtime: noDate })
}
