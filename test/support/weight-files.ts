/** Weight files in memory, with numbers hashed from the names of their tensors. */

import type { WeightEntry, WeightFile, WeightFormat } from '../../src/format/weight-file.ts'
import { elementCount } from '../../src/kernels/kernel.ts'
import { batchNormalization, conv2d, dense, globalAveragePooling2d } from '../../src/nn/layers.ts'
import { type Model, sequential } from '../../src/nn/model.ts'
import { hashedNumbers } from '../../src/weights/hashed.ts'

/**
 * conv [3, 3, 3, 4] with bias, normalisation, a convolution of the same size without bias, and optionally a dense head.
 */
export const smallModel = (head = false): Model =>
  sequential(
    'small',
    [8, 8, 3],
    [
      conv2d('conv', 4, 3),
      batchNormalization('norm'),
      conv2d('last', 4, 3, { useBias: false }),
      globalAveragePooling2d('pool'),
      ...(head ? [dense('logits', 2)] : []),
    ],
  )

/** A layer's name, its tensors by name, and Keras' class if the file states it. */
export type GivenLayer = readonly [string, Readonly<Record<string, readonly number[]>>, string?]

export function memoryWeightFile(format: WeightFormat, layers: readonly GivenLayer[]): WeightFile {
  const numbers = new Map<WeightEntry, string>()
  const groups = layers.map(([name, weights, className]) => ({
    name,
    ...(className === undefined ? {} : { className }),
    weights: Object.entries(weights).map(([weight, shape]): WeightEntry => {
      const entry = { name: weight, shape, dtype: 'float32' }
      numbers.set(entry, `${name}/${weight}`)
      return entry
    }),
  }))
  return {
    format,
    source: 'memory',
    groups,
    read: async (entry) => hashedNumbers(numbers.get(entry) ?? '', elementCount(entry.shape)),
    close: () => {},
  }
}
