/**
 * The bundled sample of Fashion-MNIST: an IDX array of bytes with a row an image, the label before the pixels, training
 * images first; gzipped. What the build writes and the worker reads.
 */

export const sampleCounts = { train: 2000, test: 500 } as const
export const pixelsPerImage = 28 * 28
export const sampleRowBytes = 1 + pixelsPerImage
