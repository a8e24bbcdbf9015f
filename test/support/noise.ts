/** Random numbers and images, the same in every run. */
import { type Tensor, tensor } from '../../src/index.ts'
import { elementCount } from '../../src/kernels/kernel.ts'
import { Random } from '../../src/random.ts'

/** Uniform numbers in [-1, 1), row-major. Each stream has its own numbers. */
export function noise(shape: readonly number[], stream: string | number): Float32Array<ArrayBuffer> {
  const random = new Random(5, stream)
  return Float32Array.from({ length: elementCount(shape) }, () => random.uniform() * 2 - 1)
}

/** `noise` as a tensor. */
export const noiseTensor = (shape: readonly number[], stream: string | number): Tensor =>
  tensor(noise(shape, stream), shape)

/** 28x28 images of noise in ten classes. No image equals its mirror image. */
export function noiseImages(count: number) {
  const random = new Random(3, 'noise')
  const images = Uint8Array.from({ length: count * 784 }, () => random.below(256))
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10)
  return { images, labels, height: 28, width: 28, channels: 1, classes: 10 }
}
