/** Random changes of a batch of images: the random numbers of each row, and affine maps with bilinear sampling. */

import { inputOf, outputOf } from '../graph/node.ts'
import type { AugmentDrawsKey, AugmentPixelsKey } from '../kernels/training/augment.ts'
import {
  affineTransform as affineTransformKernels,
  augmentDraws as augmentDrawsKernels,
  augmentPixels as augmentPixelsKernels,
  drawCount,
} from '../kernels/training/augment.ts'
import { extentOf, extentsOf4, f32, refuse, take } from './checks.ts'
import type { Operator } from './operator.ts'
import { apply, noDerivative } from './operator.ts'
import { mean } from './reduce.ts'
import type { Tensor } from './tensor.ts'

const augmentDrawsOp: Operator<AugmentDrawsKey, [counter: Tensor]> = {
  name: 'augmentDraws',
  shape(inputs, { batch }) {
    take('augmentDraws', inputs, [{ dtype: 'u32' }])
    return [f32([batch, drawCount])]
  },
  lower: (node, kernels) => kernels.plan(augmentDrawsKernels, node.attributes),
  vjp: noDerivative,
}

/**
 * The random numbers of each row, f32 [batch, 12], for the other operators here. `counter`: u32, whose first element counts
 * steps.
 */
export function augmentDraws(counter: Tensor, attributes: AugmentDrawsKey): Tensor {
  return apply(augmentDrawsOp, [counter], attributes)
}

/** How to sample images by affine maps. */
export interface AffineTransformAttributes {
  readonly outHeight: number
  readonly outWidth: number
  /** The value of pixels outside. */
  readonly fillValue: number
}

const affineTransformOp: Operator<AffineTransformAttributes, [x: Tensor, transforms: Tensor]> = {
  name: 'affineTransform',
  shape(inputs, { outHeight, outWidth }) {
    take('affineTransform', inputs, [{ rank: 4 }, { rank: 2 }])
    const [x, transforms] = inputs
    const [batch, , , channels] = extentsOf4(x)
    if (transforms.shape[0] !== batch || extentOf(transforms.shape, 1) < 6)
      refuse('affineTransform', inputs, 'it takes six numbers or more for each image')
    return [f32([batch, outHeight, outWidth, channels])]
  },
  lower(node, kernels) {
    const [batch, height, width, channels] = extentsOf4(inputOf(node, 0).type)
    const [, outHeight, outWidth] = extentsOf4(outputOf(node).type)
    const transformStride = extentOf(inputOf(node, 1).type.shape, 1)
    const { fillValue } = node.attributes
    const key = { batch, height, width, channels, outHeight, outWidth, transformStride, fillValue }
    return kernels.plan(affineTransformKernels, key)
  },
  vjp: noDerivative,
}

/**
 * Samples images x, f32 [n, h, w, c], by an affine map for each, f32 [n, 6 or more]: numbers a0 to a5, so that the result
 * in column c and row r is x at column a0 c + a1 r + a2 and row a3 c + a4 r + a5, as Keras' `ops.image.affine_transform`.
 * @throws WeftgradError 'shape' for other shapes.
 */
export function affineTransform(x: Tensor, transforms: Tensor, attributes: AffineTransformAttributes): Tensor {
  return apply(affineTransformOp, [x, transforms], attributes)
}

/** Which changes to make: see {@link AugmentPixelsKey}. */
export type AugmentPixelsAttributes = Omit<AugmentPixelsKey, 'batch' | 'height' | 'width' | 'channels'>

const augmentPixelsOp: Operator<AugmentPixelsAttributes, readonly [x: Tensor, draws: Tensor, ...means: Tensor[]]> = {
  name: 'augmentPixels',
  shape(inputs) {
    take('augmentPixels', inputs, [{ rank: 4 }, { rank: 2 }, { rank: 2 }])
    return [f32(inputs[0].shape)]
  },
  lower(node, kernels) {
    const [batch, height, width, channels] = extentsOf4(inputOf(node, 0).type)
    return kernels.plan(augmentPixelsKernels, { batch, height, width, channels, ...node.attributes })
  },
  vjp: noDerivative,
}

/**
 * Changes contrast and brightness of images x, f32 [n, h, w, c], erases squares, and mixes images, as `draws`, f32 [n, 12],
 * say.
 */
export function augmentPixels(x: Tensor, draws: Tensor, attributes: AugmentPixelsAttributes): Tensor {
  const means = attributes.contrast ? [mean(x, { axes: [1, 2] })] : []
  return apply(augmentPixelsOp, [x, draws, ...means], attributes)
}
