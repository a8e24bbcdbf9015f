/** Layers with several inputs. */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { sameShape, shapeText } from '../../graph/node.ts'
import { broadcast } from '../../operators/checks.ts'
import {
  concatenate as concatenateTensors,
  div,
  maximum as largest,
  mul,
  minimum as smallest,
  sub,
  add as sum,
} from '../../operators/index.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { aNumber, checkOptions } from '../../options.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

const shapeTexts = (shapes: readonly Shape[]): string => shapes.map(shapeText).join(' and ')

/** A layer that combines two or more inputs element by element; an extent of 1 repeats. */
function merging(
  given: Named<[]>,
  kind: string,
  className: string,
  combine: (inputs: readonly Tensor[], name: string) => Tensor,
): Layer {
  return namedLayer(kind, given, (name) => ({
    name,
    className,
    outputShape(inputs) {
      const [shape] = inputs
      const isOneRank = inputs.every((other) => other.length === shape?.length)
      const merged = inputs.length < 2 || !isOneRank ? undefined : broadcast(inputs)
      if (merged === undefined)
        throw new WeftgradError(
          'shape',
          `${name} takes two or more inputs of the same shape (an extent of 1 repeats), not ${shapeTexts(inputs) || 'none'}.`,
        )
      return merged
    },
    weights: noWeights,
    call: (inputs) => combine(inputs, name),
  }))
}

const inTurn =
  (combine: (a: Tensor, b: Tensor) => Tensor) =>
  (inputs: readonly Tensor[], name: string): Tensor =>
    inputs.slice(1).reduce(combine, first(inputs, name))

/**
 * Keras' `Add`: the sum of two or more inputs.
 * @throws WeftgradError 'shape', in a model, for a single input or shapes that differ.
 */
export const add = (...given: Named<[]>): Layer => merging(given, 'add', 'Add', inTurn(sum))

/**
 * Keras' `Subtract`: the first of two inputs less the second.
 * @throws WeftgradError 'shape', in a model, for a single input or shapes that differ.
 */
export const subtract = (...given: Named<[]>): Layer => merging(given, 'subtract', 'Subtract', inTurn(sub))

/**
 * Keras' `Multiply`: the product of two or more inputs.
 * @throws WeftgradError 'shape', in a model, for a single input or shapes that differ.
 */
export const multiply = (...given: Named<[]>): Layer => merging(given, 'multiply', 'Multiply', inTurn(mul))

/**
 * Keras' `Average`: the mean of two or more inputs.
 * @throws WeftgradError 'shape', in a model, for a single input or shapes that differ.
 */
export const average = (...given: Named<[]>): Layer =>
  merging(given, 'average', 'Average', (inputs, name) => div(inTurn(sum)(inputs, name), inputs.length))

/**
 * Keras' `Maximum`: the largest of two or more inputs.
 * @throws WeftgradError 'shape', in a model, for a single input or shapes that differ.
 */
export const maximum = (...given: Named<[]>): Layer => merging(given, 'maximum', 'Maximum', inTurn(largest))

/**
 * Keras' `Minimum`: the smallest of two or more inputs.
 * @throws WeftgradError 'shape', in a model, for a single input or shapes that differ.
 */
export const minimum = (...given: Named<[]>): Layer => merging(given, 'minimum', 'Minimum', inTurn(smallest))

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
