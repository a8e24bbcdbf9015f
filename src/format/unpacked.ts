/** One bound for everything that is unpacked, whatever it is packed by. */

/** 256 MiB: above Fashion-MNIST as CSV (133 MB) and the largest published network (ResNet152V2, 242 MB). */
const alwaysAllowed = 2 ** 28
/** Numbers of trained networks hardly shrink when packed, to nine tenths at best. */
const timesItsSize = 2

/**
 * The most bytes in total that may come out of a file of `fileBytes` bytes. Deflate makes a thousand zeros of one byte, so that a small
 * file would otherwise fill the memory.
 */
export function mostUnpacked(fileBytes: number): number {
  return Math.max(alwaysAllowed, timesItsSize * fileBytes)
}
