/** Standardisation of features by statistics that were found before training: Keras' `Normalization`. */

import { div, maximum, sqrt, sub } from '../../autograd/ops.ts'
import { onesInitializer, zerosInitializer } from '../initializers.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Features that never vary come out as 0, not as the rounding error of a mean divided by nothing. */
const leastDeviation = 1e-7

/**
 * Keras' `Normalization`: (x - mean) / sqrt(variance), feature by feature of the last axis. Both are weights that training
 * leaves as they are: `mean` and `variance`, to be set from `FeatureDataset.statistics()`.
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
