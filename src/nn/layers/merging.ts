/** Layers with several inputs. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { sameShape, shapeText } from '../../graph/node.ts'
import { concatenate as concatenateTensors, add as sum } from '../../operators/index.ts'
import { aNumber, checkOptions } from '../../options.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

const shapeTexts = (shapes: readonly Shape[]): string => shapes.map(shapeText).join(' and ')

/**
 * Keras' `Add`: the sum of two or more inputs of the same shape.
 * @throws WeftgradError 'shape', in a model, for a single input or different shapes.
 */
export function add(...given: Named<[]>): Layer {
  return namedLayer('add', given, (name) => ({
    name,
    className: 'Add',
    outputShape(inputs) {
      const [shape] = inputs
      if (shape === undefined || inputs.length < 2 || inputs.some((other) => !sameShape(other, shape)))
        throw new WeftgradError(
          'shape',
          `${name} adds two or more inputs of the same shape, not ${shapeTexts(inputs) || 'none'}.`,
        )
      return shape
    },
    weights: noWeights,
    call: (inputs) => inputs.slice(1).reduce(sum, first(inputs, name)),
  }))
}

/**
 * Keras' `Concatenate`: joins two or more inputs along an axis. Axes count as in Keras: 0 is the batch, -1 (the
 * default) the channels.
 * @throws WeftgradError 'shape', in a model, if the inputs differ along another axis.
 */
export function concatenate(...given: Named<[options?: { readonly axis?: number }]>): Layer {
  return namedLayer('concatenate', given, makeConcatenate)
}

function makeConcatenate(name: string, options: { readonly axis?: number } = {}): Layer {
  const { axis = -1 } = checkOptions(name, options, { axis: aNumber })
  return {
    name,
    className: 'Concatenate',
    outputShape(inputs) {
      const [shape = []] = inputs
      const along = axis < 0 ? axis + shape.length : axis - 1
      const rest = (other: Shape): Shape => other.filter((_, i) => i !== along)
      const fits = inputs.every((other) => other.length === shape.length && sameShape(rest(other), rest(shape)))
      if (inputs.length < 2 || !Number.isInteger(along) || along < 0 || along >= shape.length || !fits)
        throw new WeftgradError(
          'shape',
          `${name} joins two or more inputs that differ only along axis ${axis}, not ${shapeTexts(inputs) || 'none'}.`,
        )
      const joined = inputs.flatMap((other) => other[along] ?? []).reduce((total, extent) => total + extent, 0)
      return shape.map((extent, i) => (i === along ? joined : extent))
    },
    weights: noWeights,
    call: (inputs) => concatenateTensors(inputs, axis),
  }
}
