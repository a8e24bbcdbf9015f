/** Weights that any language can reproduce: numbers hashed from a weight's name and an index. */

import { elementCount } from '../../src/kernels/kernel.ts'
import type { Model } from '../../src/nn/model.ts'
import type { WeightNumbers } from '../../src/nn/model-weights.ts'
import { hashedNumbers } from '../../src/weights/hashed.ts'

export { hashedNumbers } from '../../src/weights/hashed.ts'

/** Kernels within Glorot's limits, zero biases: the initial weights of the trajectories. */
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
