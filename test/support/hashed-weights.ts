/** Reproducible weights that any language can make: numbers hashed from a weight's name and an index. */

import { elementCount } from '../../src/kernels/kernel.ts'
import type { Model, WeightNumbers } from '../../src/nn/model.ts'

export function fnv1a(text: string): number {
  let h = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193) >>> 0
  return h
}

/** `count` numbers in [-1, 1): the finalizer of MurmurHash3 over the name's hash and the index, times `scale`. */
export function hashedNumbers(name: string, count: number, scale = 1): Float32Array {
  const seed = fnv1a(name)
  return Float32Array.from({ length: count }, (_, i) => {
    let x = (seed + Math.imul(i, 0x9e3779b9)) >>> 0
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    return scale * (((x ^ (x >>> 16)) >>> 8) * 2 ** -23 - 1)
  })
}

/** Kernels within Glorot's limits, zero biases: what the trajectories start from. */
export function hashedGlorotWeights(model: Model): WeightNumbers {
  return new Map(
    model.weights.map(({ name, shape }) => {
      const field = elementCount(shape.slice(0, -2))
      const limit = Math.sqrt(6 / (field * ((shape.at(-2) ?? 0) + (shape.at(-1) ?? 0))))
      const data = name.endsWith('/kernel')
        ? hashedNumbers(name, elementCount(shape), limit)
        : new Float32Array(elementCount(shape))
      return [name, { shape, data }]
    }),
  )
}
