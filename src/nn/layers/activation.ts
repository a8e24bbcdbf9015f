/** Activation functions by Keras' names, and the layer that only applies one. */

import { relu, sigmoid, softmax, tanh } from '../../autograd/ops.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { Activation } from '../../graph/node.ts'
import { checkValue, type Kind, oneOf } from '../../options.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'
import { type Named, unnamedLayer } from './named.ts'

/** The activations of layers. `softmax` is over the last axis; kernels do not fuse it. */
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
 * Keras' `Activation`: a separate activation, for use where it does not directly follow a product. The name is optional.
 * @throws WeftgradError 'argument' for an unknown function.
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
