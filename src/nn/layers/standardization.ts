/** Standardises features with statistics computed before training: Keras' `Normalization`. */

import { div, maximum, sqrt, sub } from '../../operators/index.ts'
import { onesInitializer, zerosInitializer } from '../initializers.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Keeps constant features at 0: otherwise a rounding error would be divided by almost nothing. */
const leastDeviation = 1e-7

/**
 * Keras' `Normalization`: (x - mean) / sqrt(variance) for each feature of the last axis. Training does not change these
 * weights, `mean` and `variance`: set them from `FeatureDataset.statistics()`.
 */
export function normalization(...given: Named<[]>): Layer {
  return namedLayer('normalization', given, (name) => ({
    name,
    className: 'Normalization',
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const shape = [channelsOf(inputs, name)]
      return [
        { name: 'mean', shape, initializer: zerosInitializer, trainable: false },
        { name: 'variance', shape, initializer: onesInitializer, trainable: false },
      ]
    },
    call: (inputs, [mean, variance]) =>
      div(sub(first(inputs, name), needed(mean, name)), maximum(sqrt(needed(variance, name)), leastDeviation)),
  }))
}
