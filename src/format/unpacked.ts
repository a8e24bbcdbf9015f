/** The limit for all decompression. */

/** 256 MiB: more than Fashion-MNIST as CSV (133 MB) and the largest published network (ResNet152V2, 242 MB). */
const alwaysAllowed = 2 ** 28
/** Weights of trained networks hardly compress, to nine tenths at best. */
const timesItsSize = 2

/**
 * The most bytes to unpack from a file of `fileBytes` bytes. Deflate expands one byte to a thousand zeros, so a small file
 * could otherwise fill the memory.
 */
export function mostUnpacked(fileBytes: number): number {
  return Math.max(alwaysAllowed, timesItsSize * fileBytes)
}
