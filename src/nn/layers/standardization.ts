/** Layers that prepare inputs: with statistics computed before training, or with fixed numbers. */

import { aDataset, type Dataset } from '../../data/contract.ts'
import { featureStatistics } from '../../data/feature-statistics.ts'
import { WeftgradError } from '../../errors.ts'
import { add, div, maximum, mul, sqrt, sub } from '../../operators/index.ts'
import { aNumber, checkOptions, checkValue } from '../../options.ts'
import { type Initializer, onesInitializer, zerosInitializer } from '../initializers.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Keeps constant features at 0: otherwise a rounding error would be divided by almost nothing. */
const leastDeviation = 1e-7

/** Keras' `Normalization`, before it knows its data. */
export interface NormalizationLayer extends Layer {
  /**
   * The same layer with the mean and variance of a data set's features, which are computed on the device: those of the training
   * examples only. Images of bytes count as numbers from 0 to 1.
   * @throws WeftgradError 'argument' for a generator, or what is no data set; 'shape' for examples without axes.
   */
  adapt(data: Dataset): Promise<Layer>
}

/** A feature's mean and variance, one number each. */
type Statistics = Awaited<ReturnType<typeof featureStatistics>>

/**
 * Keras' `Normalization`: (x - mean) / sqrt(variance) for each feature of the last axis. Training does not change these
 * weights, `mean` and `variance`, which are 0 and 1 until the layer is adapted to data. A model's file holds them.
 *
 * ```ts
 * const model = nn.sequential('prices', train.shape, [await nn.normalization().adapt(train), nn.dense(1)])
 * ```
 */
export function normalization(...given: Named<[]>): NormalizationLayer {
  const of = (statistics?: Statistics): Layer =>
    namedLayer('normalization', given, (name) => makeNormalization(name, statistics))
  return {
    ...of(),
    async adapt(data) {
      checkValue('adapt: the data', data, aDataset)
      channelsOf([data.shape], 'adapt')
      return of(await featureStatistics(data))
    },
  }
}

function makeNormalization(name: string, statistics?: Statistics): Layer {
  const initial = (own: Float32Array | undefined, otherwise: Initializer): Initializer =>
    own === undefined ? otherwise : () => Float32Array.from(own)
  return {
    name,
    className: 'Normalization',
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const features = channelsOf(inputs, name)
      const shape = [features]
      if (statistics !== undefined && statistics.mean.length !== features)
        throw new WeftgradError(
          'shape',
          `${name} was adapted to examples of ${statistics.mean.length} features, and its input has ${features}.`,
        )
      return [
        { name: 'mean', shape, initializer: initial(statistics?.mean, zerosInitializer), trainable: false },
        { name: 'variance', shape, initializer: initial(statistics?.variance, onesInitializer), trainable: false },
      ]
    },
    call: (inputs, [mean, variance]) =>
      div(sub(first(inputs, name), needed(mean, name)), maximum(sqrt(needed(variance, name)), leastDeviation)),
  }
}

/**
 * Keras' `Rescaling`: x scale + offset; the offset is 0 by default. `rescaling(1 / 127.5, { offset: -1 })` takes bytes to [-1, 1].
 * @throws WeftgradError 'argument' for anything but numbers.
 */
export function rescaling(...given: Named<[scale: number, options?: { readonly offset?: number }]>): Layer {
  return namedLayer('rescaling', given, makeRescaling, ['scale'])
}

function makeRescaling(name: string, scale: number, options: { readonly offset?: number } = {}): Layer {
  checkValue(`${name}: scale`, scale, aNumber)
  const { offset = 0 } = checkOptions(name, options, { offset: aNumber })
  return {
    name,
    className: 'Rescaling',
    outputShape: (inputs) => first(inputs, name),
    weights: noWeights,
    call: (inputs) => add(mul(first(inputs, name), scale), offset),
  }
}
