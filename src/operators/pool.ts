/** Max and average pooling. */

import { WeftgradError } from '../errors.ts'
import type { TensorType } from '../graph/node.ts'
import { shapeText } from '../graph/node.ts'
import { averagePoolGradient, averagePool as averagePoolKernels } from '../kernels/pool/average.ts'
import { maxPoolGradient } from '../kernels/pool/gradient.ts'
import { maxPoolGather, maxPool as maxPoolKernels } from '../kernels/pool/pool.ts'
import { checkOptions } from '../options.ts'
import { f32, take, u32 } from './checks.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import { mean } from './reduce.ts'
import type { Tensor } from './tensor.ts'
import type { ConvGeometry, Padding, Pair } from './window.ts'
import { convGeometry, pairOf, poolKinds } from './window.ts'

/** The type of a pool's input, or of its gradient. */
const imageType = ({ batch, inputHeight, inputWidth, channels }: ConvGeometry): TensorType =>
  f32([batch, inputHeight, inputWidth, channels])
/** The type of a pool's result, or of its gradient. */
const pooledType = ({ batch, outHeight, outWidth, channels }: ConvGeometry): TensorType =>
  f32([batch, outHeight, outWidth, channels])

/** Max pooling. Outputs: the maxima and, as u32, the first position of each in its window. */
export const maxPoolOp: Operator<ConvGeometry, [x: Tensor]> = {
  name: 'maxPool',
  shape(inputs, geometry) {
    take('maxPool', inputs, [{ rank: 4 }])
    const maxima = pooledType(geometry)
    return [maxima, u32(maxima.shape)]
  },
  lower: ({ attributes }, kernels) => kernels.plan(maxPoolKernels, attributes),
  vjp({ cotangent, outputs: [, positions], attributes }) {
    if (positions === undefined) throw new RangeError('maxPool has two results')
    return [apply(maxPoolGradientOp, [cotangent, positions], attributes)]
  },
}

// Each is linear in the gradient, and the transpose of the other.

export const maxPoolGradientOp: Operator<ConvGeometry, [dy: Tensor, positions: Tensor]> = {
  name: 'maxPoolGradient',
  shape(inputs, geometry) {
    take('maxPoolGradient', inputs, [{ rank: 4 }, { dtype: 'u32', rank: 4 }])
    return [imageType(geometry)]
  },
  lower: ({ attributes }, kernels) => kernels.plan(maxPoolGradient, attributes),
  vjp: ({ cotangent, inputs: [, positions], attributes }) => [
    apply(maxPoolGatherOp, [cotangent, positions], attributes),
  ],
}

/** Gathers x at those positions. */
const maxPoolGatherOp: Operator<ConvGeometry, [x: Tensor, positions: Tensor]> = {
  name: 'maxPoolGather',
  shape(inputs, geometry) {
    take('maxPoolGather', inputs, [{ rank: 4 }, { dtype: 'u32', rank: 4 }])
    return [pooledType(geometry)]
  },
  lower: ({ attributes }, kernels) => kernels.plan(maxPoolGather, attributes),
  vjp: ({ cotangent, inputs: [, positions], attributes }) => [
    apply(maxPoolGradientOp, [cotangent, positions], attributes),
  ],
}

const averagePoolOp: Operator<ConvGeometry, [x: Tensor]> = {
  name: 'averagePool',
  shape(inputs, geometry) {
    take('averagePool', inputs, [{ rank: 4 }])
    return [pooledType(geometry)]
  },
  lower: ({ attributes }, kernels) => kernels.plan(averagePoolKernels, attributes),
  vjp: ({ cotangent, attributes }) => [apply(averagePoolGradientOp, [cotangent], attributes)],
}

const averagePoolGradientOp: Operator<ConvGeometry, [dy: Tensor]> = {
  name: 'averagePoolGradient',
  shape(inputs, geometry) {
    take('averagePoolGradient', inputs, [{ rank: 4 }])
    return [imageType(geometry)]
  },
  lower: ({ attributes }, kernels) => kernels.plan(averagePoolGradient, attributes),
  vjp: ({ cotangent, attributes }) => [apply(averagePoolOp, [cotangent], attributes)],
}

/** The window of {@link maxPool} and {@link averagePool}, and its movement. */
export interface PoolOptions {
  /** Size of the window in pixels; one number for both directions, or [vertical, horizontal]. */
  readonly poolSize: number | Pair
  /** Distance between windows in pixels. The pool size by default: windows side by side. */
  readonly strides?: number | Pair
  /** As in {@link ConvOptions}; no window may lie entirely in the padding. `valid` by default. */
  readonly padding?: Padding
}

function poolGeometry(operator: string, x: Tensor, options: PoolOptions): ConvGeometry {
  const { poolSize, strides = poolSize, padding = 'valid' } = checkOptions(operator, options, poolKinds)
  const window = pairOf(`${operator}: poolSize`, poolSize)
  const geometry = convGeometry(operator, x.shape, [...window, 1, 1], { strides, padding })
  const { padTop, padLeft, outHeight, outWidth, inputHeight, inputWidth } = geometry
  const lastTop = (outHeight - 1) * geometry.strides[0] - padTop
  const lastLeft = (outWidth - 1) * geometry.strides[1] - padLeft
  if (padTop >= window[0] || padLeft >= window[1] || lastTop >= inputHeight || lastLeft >= inputWidth)
    throw new WeftgradError(
      'argument',
      `${operator}: with padding ${JSON.stringify(options.padding)} a window of ${window.join('x')} lies entirely in the padding; pad an image of ${shapeText(x.shape)} by less.`,
    )
  return geometry
}

/**
 * The largest number of each window and channel: [n, h, w, c] -> [n, h', w', c], extents as in {@link conv2d}. Padding
 * never wins; NaN always does. The gradient goes to the window's first maximum.
 * @throws WeftgradError 'shape' if x is not a batch of images or the window does not fit, 'argument' for an invalid
 * window, strides or padding.
 */
export function maxPool(x: Tensor, options: PoolOptions): Tensor {
  return apply(maxPoolOp, [x], poolGeometry('maxPool', x, options))
}

/**
 * The mean of each window and channel: [n, h, w, c] -> [n, h', w', c]. The divisor does not count padding, as in
 * TensorFlow.
 * @throws WeftgradError 'shape' and 'argument' as {@link maxPool}.
 */
export function averagePool(x: Tensor, options: PoolOptions): Tensor {
  return apply(averagePoolOp, [x], poolGeometry('averagePool', x, options))
}

/**
 * The mean over height and width: [n, h, w, c] -> [n, c].
 * @throws WeftgradError 'shape' if x is not a batch of images.
 */
export function globalAveragePool(x: Tensor): Tensor {
  if (x.shape.length !== 4)
    throw new WeftgradError(
      'shape',
      `globalAveragePool: got ${shapeText(x.shape)}; images are [batch, height, width, channels].`,
    )
  return mean(x, { axes: [1, 2] })
}
