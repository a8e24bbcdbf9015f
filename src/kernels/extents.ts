/** Checks the extents in a key: kernels are planned only for possible tensors, and a missing extent never becomes 0. */

import { WeftgradError } from '../errors.ts'

/**
 * The element of a list at an index that must exist. Throws RangeError otherwise: a missing extent must not become 0.
 */
export function at<T>(list: ArrayLike<T>, index: number): T {
  const found = list[index]
  if (found === undefined) throw new RangeError(`no element ${index}`)
  return found
}

/** The most elements in a tensor: at 4 bytes each, addresses stay within 32 bits. */
const mostElements = 2 ** 30

/**
 * Throws 'shape' unless every number of the key, except padding, is a whole number of at least 1; 'limit' if
 * `elements`, the size of the largest tensor, is more than a kernel can address.
 */
export function checkExtents(family: string, key: object, elements = 0): void {
  for (const [name, value] of Object.entries(key))
    for (const extent of [value].flat())
      if (typeof extent === 'number' && !(Number.isSafeInteger(extent) && extent > 0) && !name.startsWith('pad'))
        throw new WeftgradError('shape', `${family}: ${name} must be a positive whole number, not ${extent}.`, { key })
  if (elements > mostElements)
    throw new WeftgradError('limit', `${family} takes up to 2^30 elements per tensor, not ${elements}.`, { key })
}

/** Throws 'shape' unless every extent of the shape is a whole number of at least 1. */
export function checkShape(family: string, shape: readonly number[]): void {
  checkExtents(family, { extent: shape })
}

/** Throws 'shape' unless padding is a whole number of at least 0. */
export function checkPadding(family: string, key: { readonly padTop: number; readonly padLeft: number }): void {
  for (const pad of [key.padTop, key.padLeft])
    if (!Number.isInteger(pad) || pad < 0)
      throw new WeftgradError('shape', `${family}: padding must be a non-negative whole number, not ${pad}.`, { key })
}
