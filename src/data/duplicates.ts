/** Finds images that are equal byte for byte, within a data set and across several. */

import { WeftgradError } from '../errors.ts'
import { checkValue, theBytes } from '../options.ts'

/** The position of an image: its set, and its index there. */
export interface ImagePlace {
  readonly set: number
  readonly index: number
}

/**
 * The groups of at least two equal images, sorted by their first members; members are sorted by set and index. `size` is the
 * bytes per image. Throws 'argument' if a set's bytes are not a whole number of images.
 */
export function equalImages(sets: readonly Uint8Array[], size: number): ImagePlace[][] {
  const wrong = sets.find((images) => !Number.isInteger(size) || size < 1 || images.length % size !== 0)
  if (wrong !== undefined)
    throw new WeftgradError('argument', `${wrong.length} bytes are not a whole number of images of ${size} bytes.`, {
      size,
    })
  /** Groups, also of single images, by hash. */
  const byHash = new Map<
    number,
    { readonly image: Uint8Array; readonly first: ImagePlace; readonly places: ImagePlace[] }[]
  >()
  const repeated: { readonly first: ImagePlace; readonly places: ImagePlace[] }[] = []
  for (const [set, images] of sets.entries()) {
    for (let index = 0; index * size < images.length; index++) {
      const image = images.subarray(index * size, (index + 1) * size)
      const key = hashBytes(image)
      const candidates = byHash.get(key)
      const group = candidates?.find((one) => equalBytes(one.image, image))
      if (group !== undefined) {
        if (group.places.length === 1) repeated.push(group)
        group.places.push({ set, index })
      } else {
        const single = { image, first: { set, index }, places: [{ set, index }] }
        if (candidates === undefined) byHash.set(key, [single])
        else candidates.push(single)
      }
    }
  }
  return repeated.sort(({ first: a }, { first: b }) => a.set - b.set || a.index - b.index).map(({ places }) => places)
}

/**
 * Indices of the images that do not equal an earlier one, byte for byte. `size` is the bytes per image.
 * @throws WeftgradError 'argument' if the bytes are not a whole number of images.
 */
export function dropDuplicates(images: Uint8Array, size: number): Uint32Array {
  checkValue('dropDuplicates: the images', images, theBytes)
  const dropped = new Set(equalImages([images], size).flatMap(([, ...others]) => others.map(({ index }) => index)))
  return Uint32Array.from({ length: images.length / size }, (_, i) => i).filter((i) => !dropped.has(i))
}

/** FNV-1a, 32 bits. */
function hashBytes(bytes: Uint8Array): number {
  let h = 0x811c9dc5
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193)
  return h >>> 0
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i])
}
