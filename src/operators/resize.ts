/** Image resizing. */

import type { TensorType } from '../graph/node.ts'
import { inputOf, outputOf } from '../graph/node.ts'
import type { ResizeKey } from '../kernels/movement/resize.ts'
import { resizeGradient, resize as resizeKernels } from '../kernels/movement/resize.ts'
import { aNumber, checkOptions, required } from '../options.ts'
import { extentsOf4, f32, take } from './checks.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'

/** Resizes bilinearly, with pixel centres at halves. */
const resizeOp: Operator<{ readonly outHeight: number; readonly outWidth: number }, [x: Tensor]> = {
  name: 'resize',
  shape(inputs, { outHeight, outWidth }) {
    take('resize', inputs, [{ rank: 4 }])
    const [batch, , , channels] = extentsOf4(inputs[0])
    return [f32([batch, outHeight, outWidth, channels])]
  },
  lower: (node, kernels) => kernels.plan(resizeKernels, keyOf(inputOf(node, 0).type, outputOf(node).type)),
  vjp({ cotangent, inputs: [x] }) {
    const [, inputHeight, inputWidth] = extentsOf4(x)
    return [apply(resizeGradientOp, [cotangent], { inputHeight, inputWidth })]
  },
}

const resizeGradientOp: Operator<{ readonly inputHeight: number; readonly inputWidth: number }, [dy: Tensor]> = {
  name: 'resizeGradient',
  shape(inputs, { inputHeight, inputWidth }) {
    take('resizeGradient', inputs, [{ rank: 4 }])
    const [batch, , , channels] = extentsOf4(inputs[0])
    return [f32([batch, inputHeight, inputWidth, channels])]
  },
  lower: (node, kernels) => kernels.plan(resizeGradient, keyOf(outputOf(node).type, inputOf(node, 0).type)),
  vjp({ cotangent, inputs: [dy] }) {
    const [, outHeight, outWidth] = extentsOf4(dy)
    return [apply(resizeOp, [cotangent], { outHeight, outWidth })]
  },
}

function keyOf(from: TensorType, to: TensorType): ResizeKey {
  const [batch, height, width, channels] = extentsOf4(from)
  const [, outHeight, outWidth] = extentsOf4(to)
  return { batch, height, width, channels, outHeight, outWidth }
}

/**
 * Resizes images [n, h, w, c] like TensorFlow's `tf.image.resize`: bilinear, pixel centres at halves, edges repeated,
 * no smoothing when shrinking. The gradient applies the transposed weights.
 * @throws WeftgradError 'shape' if x is not a batch of images, or an extent is not a positive whole number.
 */
export function resize(x: Tensor, size: { readonly height: number; readonly width: number }): Tensor {
  const { height, width } = checkOptions('resize', size, { height: required(aNumber), width: required(aNumber) })
  return apply(resizeOp, [x], { outHeight: height, outWidth: width })
}
