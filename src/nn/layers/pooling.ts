/** Pooling layers: over windows, or over whole images. */

import type { Padding, PoolOptions } from '../../autograd/ops.ts'
import { averagePool, globalAveragePool, max, maxPool } from '../../autograd/ops.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { convWindow, pairOf } from '../../autograd/window.ts'
import type { Layer } from './layer.ts'
import { first, noWeights } from './layer.ts'

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

export const maxPooling2d = (name: string, options: PoolLayerOptions = {}): Layer =>
  pooling(name, 'MaxPooling2D', options, maxPool)

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

/** [h, w, c] -> [c]. */
export const globalAveragePooling2d = (name: string): Layer =>
  globalPooling(name, 'GlobalAveragePooling2D', globalAveragePool)

/** [h, w, c] -> [c]. */
export const globalMaxPooling2d = (name: string): Layer =>
  globalPooling(name, 'GlobalMaxPooling2D', (x) => max(x, { axes: [1, 2] }))
