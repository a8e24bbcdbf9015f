/** Functions of a layer's result, by Keras' names, and the layer that is nothing else. */

import type { Activation } from '../../operators/activation.ts'
import { activate } from '../../operators/activation.ts'
import { softmax } from '../../operators/softmax.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { checkValue, type Kind, oneOf } from '../../options.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'
import { type Named, unnamedLayer } from './named.ts'

/** What a layer may do to its result. `softmax` is over the last axis; kernels do not apply it themselves. */
export type LayerActivation = Activation | 'softmax'

/** What a layer makes of x. */
export function activated(activation: LayerActivation, x: Tensor): Tensor {
  return activation === 'softmax' ? softmax(x) : activate(activation, x)
}

export const aLayerActivation: Kind = /* @__PURE__ */ oneOf('linear', 'relu', 'sigmoid', 'tanh', 'softmax')

/**
 * Keras' `Activation`: the function by itself, for where it does not follow a product directly. Its name may be left out.
 * @throws WeftgradError 'argument' for a function that there is not.
 */
export function activation(...given: Named<[kind: LayerActivation]>): Layer {
  const kind = given.at(-1) as LayerActivation
  const make = (name: string): Layer => {
    checkValue(`${name}: the function`, kind, aLayerActivation)
    return {
      name,
      className: 'Activation',
      outputShape: (inputs) => first(inputs, name),
      weights: noWeights,
      call: (inputs) => activated(kind, first(inputs, name)),
    }
  }
  return given.length > 1 ? make(given[0]) : unnamedLayer('activation', make)
}
