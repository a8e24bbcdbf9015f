/** Checks of the extents in a key: a kernel is planned only for tensors that can exist, and no missing extent becomes 0. */

import { WeftgradError } from '../errors.ts'

/** The most elements of a tensor: with 4 bytes each, addresses stay within 32 bits. */
export const mostElements = 2 ** 30

/**
 * Throws 'shape' unless every extent is a whole number from 1, 'limit' where `elements`, those of the largest tensor, are
 * more than a kernel can address.
 */
export function checkExtents(family: string, extents: Readonly<Record<string, number>>, elements = 0): void {
  for (const [name, value] of Object.entries(extents))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new WeftgradError('shape', `${family}: ${name} must be a whole number from 1, not ${value}.`, extents)
  if (elements > mostElements)
    throw new WeftgradError('limit', `${family} takes up to 2^30 elements a tensor, not ${elements}.`, extents)
}

/** Throws 'shape' unless every extent of the shape is a whole number from 1. */
export function checkShape(family: string, shape: readonly number[]): void {
  if (!shape.every((extent) => Number.isSafeInteger(extent) && extent > 0))
    throw new WeftgradError('shape', `${family}: extents are whole numbers from 1, not [${shape.join(', ')}].`, {
      shape,
    })
}

/** Throws 'shape' for padding that is no whole number from 0. */
export function checkPadding(
  family: string,
  { padTop, padLeft }: { readonly padTop: number; readonly padLeft: number },
): void {
  for (const [name, value] of Object.entries({ padTop, padLeft }))
    if (!Number.isInteger(value) || value < 0)
      throw new WeftgradError('shape', `${family}: ${name} must be a whole number from 0, not ${value}.`, {
        padTop,
        padLeft,
      })
}
