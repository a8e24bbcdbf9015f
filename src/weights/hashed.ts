/**
 * Synthetic weights that any language can reproduce, for tests and experiments: each number is a hash of its weight's name and
 * its index. The outputs of a network with them are meaningless.
 */

import { elementCount } from '../kernels/kernel.ts'
import type { ReadWeight } from '../nn/model-weights.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'

/** Keeps the activations of such a deep network within a few orders of magnitude. */
export const hashedGains: { readonly [name in PretrainedName]: number } = { vgg16: 1, xception: 0.8, resnet152v2: 0.5 }

/** FNV-1a over the UTF-8 bytes, 32 bits. */
export function fnv1a(text: string): number {
  let h = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193) >>> 0
  return h
}

/** `offset + scale * u` with u in [-1, 1): the finalizer of MurmurHash3 over the name's hash and the index. */
export function hashedNumbers(name: string, count: number, scale = 1, offset = 0): Float32Array {
  const seed = fnv1a(name)
  const numbers = new Float32Array(count)
  for (let i = 0; i < count; i++) {
    let x = (seed + Math.imul(i, 0x9e3779b9)) >>> 0
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    numbers[i] = offset + scale * (((x ^ (x >>> 16)) >>> 8) * 2 ** -23 - 1)
  }
  return numbers
}

/** The numbers of a weight `<layer>/<weight>`, row-major, by the kind of weight. */
export function hashedWeight(name: string, shape: readonly number[], gain: number): Float32Array {
  const count = elementCount(shape)
  switch (name.slice(name.lastIndexOf('/') + 1)) {
    case 'depthwise_kernel':
      return hashedNumbers(name, count, gain * Math.sqrt(6 / elementCount(shape.slice(0, 2))))
    case 'gamma':
      return hashedNumbers(name, count, 0.2, 1)
    case 'moving_variance':
    case 'variance':
      return hashedNumbers(name, count, 0.5, 1)
    case 'beta':
    case 'moving_mean':
    case 'mean':
      return hashedNumbers(name, count, 0.1)
    case 'bias':
      return hashedNumbers(name, count, 0.05)
    default: // kernels that sum over all axes but the last
      return hashedNumbers(name, count, gain * Math.sqrt(6 / elementCount(shape.slice(0, -1))))
  }
}

/** Hashed weights of this gain, for `Model.load`. */
export function hashedReader(gain: number): ReadWeight {
  return async ({ name, shape }) => hashedWeight(name, shape, gain)
}
