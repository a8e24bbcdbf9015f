/** SHA-256, for content that is in memory. */
import { createHash } from 'node:crypto'

/** The checksum in hexadecimal; of text, that of its UTF-8. */
export function sha256(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('hex')
}
