/** Pooling layers: over windows, or over whole images. */

import type { Padding, PoolOptions } from '../../autograd/ops.ts'
import { averagePool, globalAveragePool, max, maxPool } from '../../autograd/ops.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { convWindow, pairOf } from '../../autograd/window.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'

/** Of the pooling layers: a window of 2x2, as far apart as it is large, padding 'valid', unless said otherwise. */
export type PoolLayerOptions = Partial<PoolOptions>

function pooling(
  name: string,
  className: string,
  { poolSize = 2, strides = poolSize, padding = 'valid' }: PoolLayerOptions,
  pool: (x: Tensor, options: PoolOptions) => Tensor,
): Layer {
  const options: PoolOptions & { padding: Padding } = { poolSize, strides, padding }
  return {
    name,
    className,
    outputShape(inputs) {
      const input = first(inputs, name)
      const { outHeight, outWidth } = convWindow(name, [1, ...input], [...pairOf(name, poolSize), 1, 1], {
        strides,
        padding,
      })
      return [outHeight, outWidth, input.at(-1) ?? 0]
    },
    weights: noWeights,
    call: (inputs) => pool(first(inputs, name), options),
  }
}

/**
 * Keras' `MaxPooling2D`: the largest number of each window and channel, [h, w, c] -> [h', w', c].
 * @throws WeftgradError 'shape', once it is wired, where the window does not fit.
 */
export const maxPooling2d = (name: string, options: PoolLayerOptions = {}): Layer =>
  pooling(name, 'MaxPooling2D', options, maxPool)

/**
 * Keras' `AveragePooling2D`: the mean of each window and channel, padding not counted, [h, w, c] -> [h', w', c].
 * @throws WeftgradError 'shape', once it is wired, where the window does not fit.
 */
export const averagePooling2d = (name: string, options: PoolLayerOptions = {}): Layer =>
  pooling(name, 'AveragePooling2D', options, averagePool)

function globalPooling(name: string, className: string, pool: (x: Tensor) => Tensor): Layer {
  return {
    name,
    className,
    outputShape: (inputs) => [first(inputs, name).at(-1) ?? 0],
    weights: noWeights,
    call: (inputs) => pool(first(inputs, name)),
  }
}

/** Keras' `GlobalAveragePooling2D`: the mean of each channel, [h, w, c] -> [c]. */
export const globalAveragePooling2d = (name: string): Layer =>
  globalPooling(name, 'GlobalAveragePooling2D', globalAveragePool)

/** Keras' `GlobalMaxPooling2D`: the largest number of each channel, [h, w, c] -> [c]. */
export const globalMaxPooling2d = (name: string): Layer =>
  globalPooling(name, 'GlobalMaxPooling2D', (x) => max(x, { axes: [1, 2] }))
