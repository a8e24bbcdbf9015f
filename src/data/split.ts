/** Splits by seed, and exact duplicates. */

import { WeftgradError } from '../errors.ts'
import { Random } from '../random.ts'

export interface Split {
  /** Positions that stay, in rising order. */
  readonly rest: Uint32Array
  /** Positions that are held out, in rising order. */
  readonly held: Uint32Array
}

/**
 * Holds out a share of `count` positions, drawn by `seed`: round(count * share) of them, at least one on either side.
 * Throws 'argument' for a share outside (0, 1) or fewer than two positions.
 */
export function randomSplit(count: number, share: number, seed: number): Split {
  if (!(share > 0 && share < 1)) throw new WeftgradError('argument', `A share must lie between 0 and 1, not ${share}.`)
  if (!Number.isInteger(count) || count < 2)
    throw new WeftgradError('argument', `A set of ${count} images cannot be split.`)
  const heldCount = Math.min(count - 1, Math.max(1, Math.round(count * share)))
  const order = new Random(seed, 'split').shuffle(Uint32Array.from({ length: count }, (_, i) => i))
  return { rest: order.slice(heldCount).sort(), held: order.slice(0, heldCount).sort() }
}

/**
 * Positions of the images that are not byte for byte equal to an earlier one. `size` is bytes an image; throws 'argument'
 * where the bytes are no whole number of images.
 */
export function dropDuplicates(images: Uint8Array, size: number): Uint32Array {
  if (!Number.isInteger(size) || size < 1 || images.length % size !== 0)
    throw new WeftgradError('argument', `${images.length} bytes are no whole number of images of ${size} bytes.`, {
      size,
    })
  const first = new Map<number, number[]>()
  const kept: number[] = []
  for (let i = 0; i * size < images.length; i++) {
    const image = images.subarray(i * size, (i + 1) * size)
    const key = hashBytes(image)
    const candidates = first.get(key)
    if (candidates?.some((j) => equalBytes(images.subarray(j * size, (j + 1) * size), image))) continue
    if (candidates === undefined) first.set(key, [i])
    else candidates.push(i)
    kept.push(i)
  }
  return Uint32Array.from(kept)
}

function hashBytes(bytes: Uint8Array): number {
  let h = 0x811c9dc5
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193)
  return h >>> 0
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
