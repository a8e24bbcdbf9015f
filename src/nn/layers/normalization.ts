/** Normalisations: over the batch, over the features of an example, over groups of its channels. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { normalized } from '../../operators/batch-normalization.ts'
import {
  add,
  batchNormalizationTraining,
  mean,
  mul,
  batchNormalization as normalize,
  layerNormalization as normalizeRows,
  reshape,
  square,
  sub,
} from '../../operators/index.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { aFlag, aNumber, checkOptions, countFrom1 } from '../../options.ts'
import type { InitializerOption } from '../initializers.ts'
import { anInitializer, initializerOf, onesInitializer, zerosInitializer } from '../initializers.ts'
import type { RegularizerOption } from '../regularizers.ts'
import type { Layer, WeightSpec } from './layer.ts'
import { channelsOf, first, needed } from './layer.ts'
import { type Named, namedLayer } from './named.ts'
import { trained, weightKinds } from './weight-options.ts'

/** Options of {@link layerNormalization} and {@link groupNormalization}; the defaults are Keras'. */
export interface LayerNormalizationOptions {
  /** Added to the variance. 1e-3 by default. */
  readonly epsilon?: number
  /** Whether there is an offset, `beta`. True by default. */
  readonly center?: boolean
  /** Whether there is a scale, `gamma`. True by default. */
  readonly scale?: boolean
  /** Initial scale; 'ones' by default. */
  readonly gammaInitializer?: InitializerOption
  /** Initial offset; 'zeros' by default. */
  readonly betaInitializer?: InitializerOption
  /** Penalty of the scale; none by default. */
  readonly gammaRegularizer?: RegularizerOption
  /** Penalty of the offset; none by default. */
  readonly betaRegularizer?: RegularizerOption
}

/** Options of {@link batchNormalization}; the defaults are Keras'. */
export interface BatchNormalizationOptions extends LayerNormalizationOptions {
  /**
   * The share of the moving statistics that each step keeps. 0.99 by default, as in Keras: then it takes about 500 steps until
   * they are those of the batches (0.99^500 is 0.7 %), and evaluations in a shorter training see others. Use 0.9 for one.
   */
  readonly momentum?: number
  /** Initial moving means; 'zeros' by default. */
  readonly movingMeanInitializer?: InitializerOption
  /** Initial moving variances; 'ones' by default. */
  readonly movingVarianceInitializer?: InitializerOption
}

const normalizationKinds = {
  ...{ epsilon: aNumber, center: aFlag, scale: aFlag },
  .../* @__PURE__ */ weightKinds('gamma', 'beta'),
}

/** The scale and offset of a normalisation: its first weights, `gamma` and `beta`, each [channels]. */
function scaleAndOffset(name: string, options: LayerNormalizationOptions) {
  const { center = true, scale = true } = options
  return {
    weights(inputs: readonly Shape[]): readonly WeightSpec[] {
      const shape = [channelsOf(inputs, name)]
      return [
        ...(scale ? [trained(options, 'gamma', shape, onesInitializer)] : []),
        ...(center ? [trained(options, 'beta', shape, zerosInitializer)] : []),
      ]
    },
    of: (weights: readonly Tensor[]) => ({
      gamma: scale ? weights[0] : undefined,
      beta: center ? weights[scale ? 1 : 0] : undefined,
      rest: weights.slice(Number(scale) + Number(center)),
    }),
  }
}

/**
 * Keras' `BatchNormalization` (Ioffe & Szegedy 2015), over the channels of the last axis. In training it uses the
 * batch's statistics and updates `moving_mean` and `moving_variance`, whose variance is biased, as Keras 3's; otherwise, and in
 * layers that are not trained, it uses those. Weights in this order:
 * `gamma`, `beta`, `moving_mean`, `moving_variance`, each [channels].
 */
export function batchNormalization(...given: Named<[options?: BatchNormalizationOptions]>): Layer {
  return namedLayer('batch_normalization', given, makeBatchNormalization)
}

function makeBatchNormalization(name: string, options: BatchNormalizationOptions = {}): Layer {
  const {
    momentum = 0.99,
    epsilon = 1e-3,
    movingMeanInitializer = zerosInitializer,
    movingVarianceInitializer = onesInitializer,
  } = checkOptions(name, options, {
    ...{ ...normalizationKinds, momentum: aNumber },
    ...{ movingMeanInitializer: anInitializer, movingVarianceInitializer: anInitializer },
  })
  const affine = scaleAndOffset(name, options)
  return {
    name,
    className: 'BatchNormalization',
    role: { kind: 'normalization', epsilon },
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const shape = [channelsOf(inputs, name)]
      return [
        ...affine.weights(inputs),
        { name: 'moving_mean', shape, initializer: initializerOf(movingMeanInitializer), trainable: false },
        { name: 'moving_variance', shape, initializer: initializerOf(movingVarianceInitializer), trainable: false },
      ]
    },
    call(inputs, weights, context) {
      const { gamma, beta, rest } = affine.of(weights)
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

/**
 * Keras' `LayerNormalization` (Ba, Kiros & Hinton 2016) over the last axis: each row gets mean 0 and variance 1. Weights
 * `gamma` and `beta`, each [features].
 */
export function layerNormalization(...given: Named<[options?: LayerNormalizationOptions]>): Layer {
  return namedLayer('layer_normalization', given, (name, options: LayerNormalizationOptions = {}) => {
    const { epsilon = 1e-3 } = checkOptions(name, options, normalizationKinds)
    const affine = scaleAndOffset(name, options)
    return {
      name,
      className: 'LayerNormalization',
      outputShape: (inputs) => first(inputs, name),
      weights: affine.weights,
      call(inputs, weights) {
        const { gamma, beta } = affine.of(weights)
        return normalizeRows(first(inputs, name), { gamma, beta, epsilon })
      },
    }
  })
}

/**
 * Keras' `GroupNormalization` (Wu & He 2018): the channels of an example in `groups` equal groups, each with its own mean and
 * variance over its channels and all positions. 32 groups by default. Weights `gamma` and `beta`, each [channels].
 * @throws WeftgradError 'argument' for groups that are not a positive whole number; 'shape', in a model, if they do not divide
 * the channels.
 */
export function groupNormalization(
  ...given: Named<[options?: LayerNormalizationOptions & { readonly groups?: number }]>
): Layer {
  return namedLayer('group_normalization', given, makeGroupNormalization)
}

function makeGroupNormalization(
  name: string,
  options: LayerNormalizationOptions & { readonly groups?: number } = {},
): Layer {
  const { epsilon = 1e-3, groups = 32 } = checkOptions(name, options, { ...normalizationKinds, groups: countFrom1 })
  const affine = scaleAndOffset(name, options)
  return {
    name,
    className: 'GroupNormalization',
    outputShape(inputs) {
      const channels = channelsOf(inputs, name)
      if (channels % groups !== 0)
        throw new WeftgradError('shape', `${name}: ${channels} channels do not divide into ${groups} groups.`)
      return first(inputs, name)
    },
    weights: affine.weights,
    call(inputs, weights) {
      const x = first(inputs, name)
      const channels = x.shape.at(-1) ?? 1
      const split = reshape(x, [...x.shape.slice(0, -1), groups, channels / groups])
      const axes = split.shape.map((_, axis) => axis).filter((axis) => axis > 0 && axis !== split.shape.length - 2)
      const centered = sub(split, mean(split, { axes, keepDims: true }))
      const variance = mean(square(centered), { axes, keepDims: true })
      const normal = reshape(normalized(centered, variance, epsilon), x.shape)
      const { gamma, beta } = affine.of(weights)
      const scaled = gamma === undefined ? normal : mul(normal, gamma)
      return beta === undefined ? scaled : add(scaled, beta)
    },
  }
}
