/** Functions of a layer's result, by Keras' names, and the layer that is nothing else. */

import { relu, sigmoid, softmax, tanh } from '../../autograd/ops.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { Activation } from '../../graph/node.ts'
import { checkValue, type Kind, oneOf } from '../../options.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'
import { type Named, unnamedLayer } from './named.ts'

/** What a layer may do to its result. `softmax` is over the last axis; kernels do not apply it themselves. */
export type LayerActivation = Activation | 'softmax'

export const activations: { readonly [K in LayerActivation]: (x: Tensor) => Tensor } = {
  linear: (x) => x,
  relu,
  sigmoid,
  tanh,
  softmax,
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
      call: (inputs) => activations[kind](first(inputs, name)),
    }
  }
  return given.length > 1 ? make(given[0]) : unnamedLayer('activation', make)
}
