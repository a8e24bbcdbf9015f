/** Activation functions by Keras' names, and the layer that only applies one. */

import type { Activation } from '../../operators/activation.ts'
import { activate, orFunction, relu } from '../../operators/activation.ts'
import { elu as exponentialLinear, leakyRelu } from '../../operators/composed-activations.ts'
import { less, minimum, mul, sub, where } from '../../operators/elementwise.ts'
import { softmax as softmaxOf } from '../../operators/softmax.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { aNumber, anArray, checkOptions, checkValue, oneOf } from '../../options.ts'
import type { InitializerOption } from '../initializers.ts'
import { zerosInitializer } from '../initializers.ts'
import type { RegularizerOption } from '../regularizers.ts'
import type { Layer } from './layer.ts'
import { first, needed, noWeights } from './layer.ts'
import { type Named, namedLayer, unnamedLayer } from './named.ts'
import { trained, weightKinds } from './weight-options.ts'

/** The activations that layers accept. `softmax` is over the last axis; kernels do not fuse it. */
export type LayerActivation = Activation | 'softmax'

/** Applies a layer's activation to x. */
export function activated(activation: LayerActivation, x: Tensor): Tensor {
  return activation === 'softmax' ? softmaxOf(x) : activate(activation, x)
}

export const aLayerActivation = /* @__PURE__ */ orFunction(
  /* @__PURE__ */ oneOf('linear', 'relu', 'sigmoid', 'tanh', 'softmax'),
)

/**
 * Keras' `Activation`: a separate activation, for use where it does not directly follow a product. The name is
 * optional.
 * @throws WeftgradError 'argument' for an unknown function.
 */
export function activation(
  ...given: readonly [kind: LayerActivation] | readonly [name: string, kind: LayerActivation]
): Layer {
  const kind = given.at(-1) as LayerActivation
  const make = (name: string): Layer => {
    checkValue(`${name}: the function`, kind, aLayerActivation)
    return {
      name,
      className: 'Activation',
      config: { activation: kind },
      outputShape: (inputs) => first(inputs, name),
      weights: noWeights,
      call: (inputs) => activated(kind, first(inputs, name)),
    }
  }
  const [name] = given
  return given.length > 1 && typeof name === 'string' ? make(name) : unnamedLayer('activation', make)
}

/** A layer that applies a function to each number, or along an axis. */
function elementwise(name: string, className: string, apply: (x: Tensor) => Tensor): Layer {
  return {
    name,
    className,
    outputShape: (inputs) => first(inputs, name),
    weights: noWeights,
    call: (inputs) => apply(first(inputs, name)),
  }
}

/** Options of {@link reLU}; the defaults are Keras'. */
export interface ReluOptions {
  /** The largest output; none by default. */
  readonly maxValue?: number
  /** The slope below the threshold. 0 by default. */
  readonly negativeSlope?: number
  /** Outputs follow the input from here on. 0 by default. */
  readonly threshold?: number
}

/**
 * Keras' `ReLU`: x from `threshold` on, at most `maxValue`, and `negativeSlope` (x - threshold) below.
 * @throws WeftgradError 'argument' for options that are not numbers.
 */
export function reLU(...given: Named<[options?: ReluOptions]>): Layer {
  return namedLayer('re_lu', given, (name, options: ReluOptions = {}) => {
    const kinds = { maxValue: aNumber, negativeSlope: aNumber, threshold: aNumber }
    const { maxValue, negativeSlope = 0, threshold = 0 } = checkOptions(name, options, kinds)
    return elementwise(name, 'ReLU', (x) => {
      const isPlain = negativeSlope === 0 && threshold === 0
      const y = isPlain ? relu(x) : where(less(x, threshold), mul(sub(x, threshold), negativeSlope), x)
      return maxValue === undefined ? y : minimum(y, maxValue)
    })
  })
}

/**
 * Keras' `LeakyReLU`: x where x > 0, else `negativeSlope` x; 0.3 by default.
 * @throws WeftgradError 'argument' for a slope that is not a number.
 */
export function leakyReLU(...given: Named<[options?: { readonly negativeSlope?: number }]>): Layer {
  return namedLayer('leaky_re_lu', given, (name, options: { readonly negativeSlope?: number } = {}) => {
    const { negativeSlope = 0.3 } = checkOptions(name, options, { negativeSlope: aNumber })
    return elementwise(name, 'LeakyReLU', (x) => leakyRelu(x, { negativeSlope }))
  })
}

/**
 * Keras' `ELU`: x where x > 0, else `alpha` (e^x - 1); alpha is 1 by default.
 * @throws WeftgradError 'argument' for an alpha that is not a number.
 */
export function elu(...given: Named<[options?: { readonly alpha?: number }]>): Layer {
  return namedLayer('elu', given, (name, options: { readonly alpha?: number } = {}) => {
    const { alpha = 1 } = checkOptions(name, options, { alpha: aNumber })
    return elementwise(name, 'ELU', (x) => exponentialLinear(x, { alpha }))
  })
}

/** Options of {@link pReLU}; the defaults are Keras'. */
export interface PReluOptions {
  /** Initial slopes; 'zeros' by default. */
  readonly alphaInitializer?: InitializerOption
  /** Penalty of the slopes; none by default. */
  readonly alphaRegularizer?: RegularizerOption
  /** Axes along which one slope serves all, counted from 1, after the batch: [1, 2] for one slope a channel. None by default. */
  readonly sharedAxes?: readonly number[]
}

/**
 * Keras' `PReLU` (He et al. 2015): x where x > 0, else `alpha` x. The weight `alpha` has the input's shape, 1 along shared axes.
 * @throws WeftgradError 'argument' for options of another kind.
 */
export function pReLU(...given: Named<[options?: PReluOptions]>): Layer {
  return namedLayer('p_re_lu', given, (name, options: PReluOptions = {}) => {
    const { sharedAxes = [] } = checkOptions(name, options, { ...weightKinds('alpha'), sharedAxes: anArray })
    return {
      ...elementwise(name, 'PReLU', (x) => x),
      weights: (inputs) => {
        const shape = first(inputs, name).map((extent, i) => (sharedAxes.includes(i + 1) ? 1 : extent))
        return [trained(options, 'alpha', shape, zerosInitializer)]
      },
      call(inputs, [alpha]) {
        const x = first(inputs, name)
        return where(less(x, 0), mul(x, needed(alpha, name)), x)
      },
    }
  })
}

/** Keras' `Softmax` over the last axis. As the last layer of a classifier, the loss uses the logits under it. */
export function softmax(...given: Named<[]>): Layer {
  return namedLayer('softmax', given, (name) => elementwise(name, 'Softmax', softmaxOf))
}
