/**
 * The layout of the bundled Fashion-MNIST sample, which the build writes and the worker reads: a gzipped IDX array of
 * bytes with one row per image, the label before the pixels, training images first.
 */

export const sampleCounts = { train: 2000, test: 500 } as const
export const pixelsPerImage = 28 * 28
export const sampleRowBytes = 1 + pixelsPerImage
