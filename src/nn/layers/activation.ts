/** Activation functions by Keras' names, and the layer that only applies one. */

import type { Activation } from '../../operators/activation.ts'
import { activate, orFunction } from '../../operators/activation.ts'
import { softmax } from '../../operators/softmax.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { checkValue, oneOf } from '../../options.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'
import { unnamedLayer } from './named.ts'

/** The activations that layers accept. `softmax` is over the last axis; kernels do not fuse it. */
export type LayerActivation = Activation | 'softmax'

/** Applies a layer's activation to x. */
export function activated(activation: LayerActivation, x: Tensor): Tensor {
  return activation === 'softmax' ? softmax(x) : activate(activation, x)
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
