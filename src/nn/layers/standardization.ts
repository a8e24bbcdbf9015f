/** Layers that prepare inputs: with statistics computed before training, or with fixed numbers. */

import { add, div, maximum, mul, sqrt, sub } from '../../operators/index.ts'
import { aNumber, checkOptions, checkValue } from '../../options.ts'
import { onesInitializer, zerosInitializer } from '../initializers.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, needed, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Keeps constant features at 0: otherwise a rounding error would be divided by almost nothing. */
const leastDeviation = 1e-7

/**
 * Keras' `Normalization`: (x - mean) / sqrt(variance) for each feature of the last axis. Training does not change these
 * weights, `mean` and `variance`: set them from `FeatureDataset.statistics()`.
 */
export function normalization(...given: Named<[]>): Layer {
  return namedLayer('normalization', given, (name) => ({
    name,
    className: 'Normalization',
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const shape = [channelsOf(inputs, name)]
      return [
        { name: 'mean', shape, initializer: zerosInitializer, trainable: false },
        { name: 'variance', shape, initializer: onesInitializer, trainable: false },
      ]
    },
    call: (inputs, [mean, variance]) =>
      div(sub(first(inputs, name), needed(mean, name)), maximum(sqrt(needed(variance, name)), leastDeviation)),
  }))
}

/**
 * Keras' `Rescaling`: x scale + offset; the offset is 0 by default. `rescaling(1 / 127.5, { offset: -1 })` takes bytes to [-1, 1].
 * @throws WeftgradError 'argument' for anything but numbers.
 */
export function rescaling(...given: Named<[scale: number, options?: { readonly offset?: number }]>): Layer {
  return namedLayer('rescaling', given, makeRescaling, ['scale'])
}

function makeRescaling(name: string, scale: number, options: { readonly offset?: number } = {}): Layer {
  checkValue(`${name}: scale`, scale, aNumber)
  const { offset = 0 } = checkOptions(name, options, { offset: aNumber })
  return {
    name,
    className: 'Rescaling',
    outputShape: (inputs) => first(inputs, name),
    weights: noWeights,
    call: (inputs) => add(mul(first(inputs, name), scale), offset),
  }
}
