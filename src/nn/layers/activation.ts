/** Functions of a layer's result, by Keras' names, and the layer that is nothing else. */

import { relu, sigmoid, softmax, tanh } from '../../autograd/ops.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { Activation } from '../../graph/node.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'

/** What a layer may do to its result. `softmax` is over the last axis; kernels do not apply it themselves. */
export type LayerActivation = Activation | 'softmax'

export const activations: { readonly [K in LayerActivation]: (x: Tensor) => Tensor } = {
  linear: (x) => x,
  relu,
  sigmoid,
  tanh,
  softmax,
}

/** Keras' `Activation`: the function by itself, for where it does not follow a product directly. */
export function activation(name: string, kind: LayerActivation): Layer {
  return {
    name,
    className: 'Activation',
    outputShape: (inputs) => first(inputs, name),
    weights: noWeights,
    call: (inputs) => activations[kind](first(inputs, name)),
  }
}
