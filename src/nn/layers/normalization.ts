/** Batch normalisation (Ioffe & Szegedy 2015). */

import { add, batchNormalizationTraining, mul, batchNormalization as normalize } from '../../operators/index.ts'
import { aFlag, aNumber, checkOptions } from '../../options.ts'
import { onesInitializer, zerosInitializer } from '../initializers.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Options of {@link batchNormalization}; the defaults are Keras'. */
export interface BatchNormalizationOptions {
  /** The share of the moving statistics that each step keeps. 0.99 by default. */
  readonly momentum?: number
  /** Added to the variance. 1e-3 by default. */
  readonly epsilon?: number
  /** Whether there is an offset, `beta`. True by default. */
  readonly center?: boolean
  /** Whether there is a scale, `gamma`. True by default. */
  readonly scale?: boolean
}

/**
 * Keras' `BatchNormalization` (Ioffe & Szegedy 2015), over the channels of the last axis. In training it uses the
 * batch's statistics and updates `moving_mean` and `moving_variance`; otherwise it uses those. Weights in this order:
 * `gamma`, `beta`, `moving_mean`, `moving_variance`, each [channels].
 */
export function batchNormalization(...given: Named<[options?: BatchNormalizationOptions]>): Layer {
  return namedLayer('batch_normalization', given, makeBatchNormalization)
}

function makeBatchNormalization(name: string, options: BatchNormalizationOptions = {}): Layer {
  const kinds = { momentum: aNumber, epsilon: aNumber, center: aFlag, scale: aFlag }
  const { momentum = 0.99, epsilon = 1e-3, center = true, scale = true } = checkOptions(name, options, kinds)
  return {
    name,
    className: 'BatchNormalization',
    role: { kind: 'normalization', epsilon },
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const shape = [channelsOf(inputs, name)]
      return [
        ...(scale ? [{ name: 'gamma', shape, initializer: onesInitializer, trainable: true }] : []),
        ...(center ? [{ name: 'beta', shape, initializer: zerosInitializer, trainable: true }] : []),
        { name: 'moving_mean', shape, initializer: zerosInitializer, trainable: false },
        { name: 'moving_variance', shape, initializer: onesInitializer, trainable: false },
      ]
    },
    call(inputs, weights, context) {
      const rest = [...weights]
      const gamma = scale ? rest.shift() : undefined
      const beta = center ? rest.shift() : undefined
      const [movingMean, movingVariance] = [needed(rest[0], name), needed(rest[1], name)]
      const x = first(inputs, name)
      if (!context.training) return normalize(x, { gamma, beta, mean: movingMean, variance: movingVariance, epsilon })
      const { y, mean, variance } = batchNormalizationTraining(x, { gamma, beta, epsilon })
      context.update(movingMean, add(mul(movingMean, momentum), mul(mean, 1 - momentum)))
      context.update(movingVariance, add(mul(movingVariance, momentum), mul(variance, 1 - momentum)))
      return y
    },
  }
}
