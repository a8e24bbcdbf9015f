/** Pooling layers, over windows or whole images. */

import type { Padding, PoolOptions } from '../../operators/index.ts'
import { averagePool, globalAveragePool, max, maxPool, mean } from '../../operators/index.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { convGeometry, pairOf, poolKinds } from '../../operators/window.ts'
import { checkOptions } from '../../options.ts'
import type { Layer } from './layer.ts'
import { channelsOf, first, noWeights } from './layer.ts'
import { type Named, namedLayer } from './named.ts'

/** Options of the pooling layers. By default, windows are 2x2, strides equal the window, and padding is 'valid'. */
export type PoolLayerOptions = Partial<PoolOptions>

function pooling(
  given: Named<[options?: PoolLayerOptions]>,
  kind: string,
  className: string,
  pool: (x: Tensor, options: PoolOptions) => Tensor,
): Layer {
  return namedLayer(kind, given, (name, options?: PoolLayerOptions) => makePooling(name, className, pool, options))
}

function makePooling(
  name: string,
  className: string,
  pool: (x: Tensor, options: PoolOptions) => Tensor,
  given: PoolLayerOptions = {},
): Layer {
  const { poolSize = 2, strides = poolSize, padding = 'valid' } = checkOptions(name, given, poolKinds)
  const options: PoolOptions & { padding: Padding } = { poolSize, strides, padding }
  return {
    name,
    className,
    outputShape(inputs) {
      const input = first(inputs, name)
      const { outHeight, outWidth } = convGeometry(name, [1, ...input], [...pairOf(name, poolSize), 1, 1], {
        strides,
        padding,
      })
      return [outHeight, outWidth, channelsOf(inputs, name)]
    },
    weights: noWeights,
    call: (inputs) => pool(first(inputs, name), options),
  }
}

/**
 * Keras' `MaxPooling2D`: the largest number of each window and channel, [h, w, c] -> [h', w', c].
 * @throws WeftgradError 'shape', in a model, if the window does not fit.
 */
export const maxPooling2d = (...given: Named<[options?: PoolLayerOptions]>): Layer =>
  pooling(given, 'max_pooling2d', 'MaxPooling2D', maxPool)

/**
 * Keras' `AveragePooling2D`: the mean of each window and channel, padding not counted, [h, w, c] -> [h', w', c].
 * @throws WeftgradError 'shape', in a model, if the window does not fit.
 */
export const averagePooling2d = (...given: Named<[options?: PoolLayerOptions]>): Layer =>
  pooling(given, 'average_pooling2d', 'AveragePooling2D', averagePool)

function globalPooling(given: Named<[]>, kind: string, className: string, pool: (x: Tensor) => Tensor): Layer {
  return namedLayer(kind, given, (name) => ({
    name,
    className,
    outputShape: (inputs) => [channelsOf(inputs, name)],
    weights: noWeights,
    call: (inputs) => pool(first(inputs, name)),
  }))
}

/** Keras' `GlobalAveragePooling2D`: the mean of each channel, [h, w, c] -> [c]. */
export const globalAveragePooling2d = (...given: Named<[]>): Layer =>
  globalPooling(given, 'global_average_pooling2d', 'GlobalAveragePooling2D', globalAveragePool)

/** Keras' `GlobalAveragePooling1D`: the mean of each channel, [steps, c] -> [c]. */
export const globalAveragePooling1d = (...given: Named<[]>): Layer =>
  globalPooling(given, 'global_average_pooling1d', 'GlobalAveragePooling1D', (x) => mean(x, { axes: 1 }))

/** Keras' `GlobalMaxPooling1D`: the largest number of each channel, [steps, c] -> [c]. */
export const globalMaxPooling1d = (...given: Named<[]>): Layer =>
  globalPooling(given, 'global_max_pooling1d', 'GlobalMaxPooling1D', (x) => max(x, { axes: 1 }))

/** Keras' `GlobalMaxPooling2D`: the largest number of each channel, [h, w, c] -> [c]. */
export const globalMaxPooling2d = (...given: Named<[]>): Layer =>
  globalPooling(given, 'global_max_pooling2d', 'GlobalMaxPooling2D', (x) => max(x, { axes: [1, 2] }))
