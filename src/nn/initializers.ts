/** Initial weights. They depend only on the model's seed and the weight's name. */

import type { Shape } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { Random } from '../random.ts'

/** Creates a weight's initial numbers, row-major, from its shape and the random stream of its name. */
export type Initializer = (shape: Shape, random: Random) => Float32Array

/**
 * Number of inputs and outputs that one unit of a kernel connects: HWIO and [in, out]. The receptive field counts for
 * both.
 */
function fans(shape: Shape): readonly [fanIn: number, fanOut: number] {
  const field = elementCount(shape.slice(0, -2))
  // A vector has no inputs, and a single number has no outputs either: a missing extent counts as 1.
  return [field * elementCount(shape.slice(-2, -1)), field * elementCount(shape.slice(-1))]
}

/** Uniform in +-sqrt(6 / (fanIn + fanOut)) (Glorot & Bengio 2010, equation 16): Keras' default for kernels. */
export const glorotUniform: Initializer = (shape, random) => {
  const [fanIn, fanOut] = fans(shape)
  const limit = Math.sqrt(6 / (fanIn + fanOut))
  return Float32Array.from({ length: elementCount(shape) }, () => (random.uniform() * 2 - 1) * limit)
}

/** Normal with variance 2 / fanIn, cut off at two standard deviations (He et al. 2015): for relu networks. */
export const heNormal: Initializer = (shape, random) => {
  const [fanIn] = fans(shape)
  // 0.8796: the standard deviation of a standard normal cut off at +-2; dividing by it restores the variance.
  const deviation = Math.sqrt(2 / fanIn) / 0.87962566103423978
  const next = (): number => {
    for (;;) {
      const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()))
      const x = radius * Math.cos(2 * Math.PI * random.uniform())
      if (Math.abs(x) <= 2) return x * deviation
    }
  }
  return Float32Array.from({ length: elementCount(shape) }, next)
}

/** Zeros: Keras' default for biases. */
export const zerosInitializer: Initializer = (shape) => new Float32Array(elementCount(shape))
/** Ones: Keras' default for the scales of normalisations. */
export const onesInitializer: Initializer = (shape) => new Float32Array(elementCount(shape)).fill(1)
