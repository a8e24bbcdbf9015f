/** Layers that prepare inputs: with statistics computed before training, or with fixed numbers. */

import { aDataset, type Dataset } from '../../data/contract.ts'
import { featureStatistics } from '../../data/feature-statistics.ts'
import { WeftgradError } from '../../errors.ts'
import { add, div, maximum, mul, sqrt, sub } from '../../operators/index.ts'
import { type Tensor, tensor } from '../../operators/tensor.ts'
import type { Kind } from '../../options.ts'
import { aNumber, checkOptions, checkValue } from '../../options.ts'
import {
  constantInitializer,
  type Initializer,
  initializerOf,
  onesInitializer,
  zerosInitializer,
} from '../initializers.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Keeps constant features at 0: otherwise a rounding error would be divided by almost nothing. */
const leastDeviation = 1e-7

/** A number for all features of the last axis, or one for each. */
type PerFeature = number | readonly number[]

const perFeature: Kind = [
  'a number, or one for each feature',
  (value) => [value].flat().every(aNumber[1]) && !(Array.isArray(value) && value.length === 0),
]

/** Throws 'shape' unless the numbers are one, or one for each feature. */
function checkCount(name: string, numbers: PerFeature, features: number): void {
  if (typeof numbers !== 'number' && numbers.length !== 1 && numbers.length !== features)
    throw new WeftgradError('shape', `${name} has ${numbers.length} numbers for ${features} features.`)
}

const asTensor = (numbers: PerFeature): Tensor => tensor(numbers, typeof numbers === 'number' ? [] : [numbers.length])

/** Options of {@link normalization}: both or none. */
export interface NormalizationOptions {
  /** Fixed means: a number, or one for each feature. The layer then has no weights. */
  readonly mean?: number | readonly number[]
  /** Fixed variances: a number, or one for each feature. */
  readonly variance?: number | readonly number[]
}

/** Keras' `Normalization`, before it knows its data. */
export interface NormalizationLayer extends Layer {
  /**
   * The same layer with the mean and variance of a data set's features, which are computed on the device: those of the training
   * examples only. Images of bytes count as numbers from 0 to 1.
   * @throws WeftgradError 'argument' for a generator, what is no data set, or a layer with fixed numbers; 'shape' for examples
   * without axes.
   */
  adapt(data: Dataset): Promise<Layer>
}

/** A feature's mean and variance, one number each. */
type Statistics = Awaited<ReturnType<typeof featureStatistics>>

/**
 * Keras' `Normalization`: (x - mean) / sqrt(variance) for each feature of the last axis. Unless the options give both, they are
 * weights, `mean` and `variance`, which training does not change: 0 and 1 until the layer is adapted to data. A model's file
 * holds them.
 *
 * ```ts
 * const model = nn.sequential('prices', train.shape, [await nn.normalization().adapt(train), nn.dense(1)])
 * ```
 * @throws WeftgradError 'argument' for one without the other; 'shape', in a model, for another number of features.
 */
export function normalization(...given: Named<[options?: NormalizationOptions]>): NormalizationLayer {
  const of = (statistics?: Statistics): Layer =>
    namedLayer('normalization', given, (name, options?: NormalizationOptions) =>
      makeNormalization(name, options, statistics),
    )
  const layer = of()
  return {
    ...layer,
    async adapt(data) {
      checkValue('adapt: the data', data, aDataset)
      channelsOf([data.shape], 'adapt')
      if (layer.config?.mean !== undefined)
        throw new WeftgradError('argument', `${layer.name} has a fixed mean and variance: leave them out to adapt it.`)
      return of(await featureStatistics(data))
    },
  }
}

function makeNormalization(name: string, options: NormalizationOptions = {}, statistics?: Statistics): Layer {
  const fixed = checkOptions(name, options, { mean: perFeature, variance: perFeature })
  if ((fixed.mean === undefined) !== (fixed.variance === undefined))
    throw new WeftgradError('argument', `${name} takes mean and variance, or neither.`)
  const initial = (own: Float32Array | undefined, otherwise: Initializer): Initializer =>
    own === undefined ? otherwise : () => Float32Array.from(own)
  return {
    name,
    className: 'Normalization',
    outputShape(inputs) {
      for (const numbers of [fixed.mean, fixed.variance])
        if (numbers !== undefined) checkCount(name, numbers, channelsOf(inputs, name))
      return first(inputs, name)
    },
    weights(inputs) {
      if (fixed.mean !== undefined) return []
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
    call(inputs, weights) {
      const [mean, variance] = [fixed.mean, fixed.variance].map((numbers, i) =>
        numbers === undefined ? needed(weights[i], name) : asTensor(numbers),
      )
      return div(sub(first(inputs, name), needed(mean, name)), maximum(sqrt(needed(variance, name)), leastDeviation))
    },
  }
}

/**
 * Keras' `Rescaling`: x scale + offset, with a number or one for each feature of the last axis; the offset is 0 by default.
 * `rescaling(1 / 127.5, { offset: -1 })` takes bytes to [-1, 1].
 * @throws WeftgradError 'argument' for anything but numbers; 'shape', in a model, for another number of features.
 */
export function rescaling(
  ...given: Named<[scale: number | readonly number[], options?: { readonly offset?: number | readonly number[] }]>
): Layer {
  return namedLayer('rescaling', given, makeRescaling, ['scale'])
}

function makeRescaling(name: string, scale: PerFeature, options: { readonly offset?: PerFeature } = {}): Layer {
  checkValue(`${name}: scale`, scale, perFeature)
  const { offset = 0 } = checkOptions(name, options, { offset: perFeature })
  const operand = (numbers: PerFeature): number | Tensor => (typeof numbers === 'number' ? numbers : asTensor(numbers))
  return {
    name,
    className: 'Rescaling',
    outputShape(inputs) {
      for (const numbers of [scale, offset])
        if (typeof numbers !== 'number') checkCount(name, numbers, channelsOf(inputs, name))
      return first(inputs, name)
    },
    weights: noWeights,
    call: (inputs) => add(mul(first(inputs, name), operand(scale)), operand(offset)),
  }
}

/**
 * Multiplies each feature of the last axis by a trained number, `gamma` [features], which starts at `initValues`: LayerScale
 * (Touvron et al., "Going deeper with Image Transformers", 2021), as Keras' ConvNeXt has it.
 * @throws WeftgradError 'argument' for anything but a number.
 */
export function layerScale(...given: Named<[initValues?: number]>): Layer {
  return namedLayer('layer_scale', given, makeLayerScale, ['initValues'])
}

function makeLayerScale(name: string, initValues = 1e-6): Layer {
  checkValue(`${name}: initValues`, initValues, aNumber)
  const initializer = initializerOf(constantInitializer(initValues))
  return {
    name,
    className: 'LayerScale',
    outputShape: (inputs) => first(inputs, name),
    weights: (inputs) => [{ name: 'gamma', shape: [channelsOf(inputs, name)], initializer, trainable: true }],
    call: (inputs, [gamma]) => mul(first(inputs, name), needed(gamma, name)),
  }
}
