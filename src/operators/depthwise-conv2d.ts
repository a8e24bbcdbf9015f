/** Depthwise convolution. */

import { depthwise, depthwiseInputGradient } from '../kernels/depthwise/depthwise.ts'
import { depthwiseFilterGradient } from '../kernels/depthwise/filter-gradient.ts'
import type { DepthwiseKey } from '../kernels/depthwise/key.ts'
import { checkOptions } from '../options.ts'
import { extentOf, f32, refuse, take } from './checks.ts'
import type { ConvOptions } from './conv2d.ts'
import type { Operator } from './operator.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'
import { convGeometry, convKinds } from './window.ts'

const depthwiseConv2dOp: Operator<DepthwiseKey, [x: Tensor, kernel: Tensor]> = {
  name: 'depthwiseConv2d',
  shape(inputs, { batch, outHeight, outWidth, channels, multiplier }) {
    take('depthwiseConv2d', inputs, [{ rank: 4 }, { rank: 4 }])
    if (inputs[1].shape[2] !== channels)
      refuse('depthwiseConv2d', inputs, 'the kernel is [height, width, channels, multiplier]')
    return [f32([batch, outHeight, outWidth, channels * multiplier])]
  },
  lower: ({ attributes }, kernels) => kernels.plan(depthwise, attributes),
  vjp: ({ cotangent, inputs: [x, kernel], attributes }) => [
    apply(inputGradientOp, [cotangent, kernel], attributes),
    apply(filterGradientOp, [x, cotangent], attributes),
  ],
}

// Both gradients are linear in each operand, so their derivatives are convolutions too.

const inputGradientOp: Operator<DepthwiseKey, [dy: Tensor, kernel: Tensor]> = {
  name: 'depthwiseConv2dInputGradient',
  shape(inputs, { batch, inputHeight, inputWidth, channels }) {
    take('depthwiseConv2dInputGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([batch, inputHeight, inputWidth, channels])]
  },
  lower: ({ attributes }, kernels) => kernels.plan(depthwiseInputGradient, attributes),
  vjp: ({ cotangent, inputs: [dy, kernel], attributes }) => [
    apply(depthwiseConv2dOp, [cotangent, kernel], attributes),
    apply(filterGradientOp, [cotangent, dy], attributes),
  ],
}

const filterGradientOp: Operator<DepthwiseKey, [x: Tensor, dy: Tensor]> = {
  name: 'depthwiseConv2dFilterGradient',
  shape(inputs, { kernelHeight, kernelWidth, channels, multiplier }) {
    take('depthwiseConv2dFilterGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([kernelHeight, kernelWidth, channels, multiplier])]
  },
  lower: ({ attributes }, kernels) => kernels.plan(depthwiseFilterGradient, attributes),
  vjp: ({ cotangent, inputs: [x, dy], attributes }) => [
    apply(inputGradientOp, [dy, cotangent], attributes),
    apply(depthwiseConv2dOp, [x, cotangent], attributes),
  ],
}

/**
 * Convolves each channel with its own kernels (Chollet, "Xception", 2017): x [n, h, w, c], kernel [kh, kw, c,
 * multiplier] -> [n, h', w', c * multiplier]; the results of a channel are neighbours. Extents as in {@link conv2d}.
 * @throws WeftgradError 'shape' for operands or a window that do not fit, 'argument' for invalid strides, padding or
 * dilation.
 */
export function depthwiseConv2d(x: Tensor, kernel: Tensor, options: ConvOptions = {}): Tensor {
  checkOptions('depthwiseConv2d', options, convKinds)
  const geometry = convGeometry('depthwiseConv2d', x.shape, kernel.shape, options)
  return apply(depthwiseConv2dOp, [x, kernel], { ...geometry, multiplier: extentOf(kernel.shape, 3) })
}
