/**
 * Operators that many programs do without, and their kernels: the functions in autograd/ops.ts that make such a node hand
 * over these tables (`carry` in lower.ts), so that a bundle of a program that calls none of them has none of the kernels.
 */

import { depthwise, depthwiseInputGradient } from '../kernels/depthwise/depthwise.ts'
import { depthwiseFilterGradient } from '../kernels/depthwise/filter-gradient.ts'
import type { DepthwiseKey } from '../kernels/depthwise/key.ts'
import { dropout } from '../kernels/elementwise/dropout.ts'
import { elementCount } from '../kernels/kernel.ts'
import { concatenate } from '../kernels/movement/copy.ts'
import { gatherRows, gatherRowsGradient } from '../kernels/movement/gather.ts'
import type { ResizeKey } from '../kernels/movement/resize.ts'
import { resize, resizeGradient } from '../kernels/movement/resize.ts'
import { transpose } from '../kernels/movement/transpose.ts'
import { averagePool, averagePoolGradient } from '../kernels/pool/average.ts'
import { argmax } from '../kernels/reduce/argmax.ts'
import type { Lowerings } from './lower.ts'
import { imageOf, inputShape, outputShape, poolKey } from './lower.ts'
import type { ConvAttributes, Shape } from './node.ts'

function depthwiseKey(a: ConvAttributes, image: Shape, kernel: Shape): DepthwiseKey {
  const [batch = 0, inputHeight = 0, inputWidth = 0, channels = 0] = image
  const [kernelHeight = 0, kernelWidth = 0, , multiplier = 0] = kernel
  const { strides, dilation, padTop, padLeft, outHeight, outWidth } = a
  const window = { strides, dilation, padTop, padLeft, outHeight, outWidth }
  return { batch, inputHeight, inputWidth, channels, multiplier, kernelHeight, kernelWidth, ...window }
}

export const depthwiseLowerings: Lowerings<
  'depthwiseConv2d' | 'depthwiseConv2dInputGradient' | 'depthwiseConv2dFilterGradient'
> = {
  depthwiseConv2d: (node, chooser) =>
    chooser.plan(depthwise, depthwiseKey(node.attributes, inputShape(node, 0), inputShape(node, 1))),
  depthwiseConv2dInputGradient: (node, chooser) => {
    const kernel = inputShape(node, 1)
    const image = imageOf(inputShape(node, 0), node.attributes, kernel[2] ?? 0)
    return chooser.plan(depthwiseInputGradient, depthwiseKey(node.attributes, image, kernel))
  },
  depthwiseConv2dFilterGradient: (node, chooser) =>
    chooser.plan(depthwiseFilterGradient, depthwiseKey(node.attributes, inputShape(node, 0), outputShape(node))),
}

export const averagePoolLowerings: Lowerings<'averagePool' | 'averagePoolGradient'> = {
  averagePool: (node, chooser) => chooser.plan(averagePool, poolKey(node.attributes, inputShape(node, 0))),
  averagePoolGradient: (node, chooser) => {
    const gradient = inputShape(node, 0)
    const image = imageOf(gradient, node.attributes, gradient[3] ?? 0)
    return chooser.plan(averagePoolGradient, poolKey(node.attributes, image))
  },
}

function resizeKey(from: Shape, to: Shape): ResizeKey {
  const [batch = 0, height = 0, width = 0, channels = 0] = from
  const [, outHeight = 0, outWidth = 0] = to
  return { batch, height, width, channels, outHeight, outWidth }
}

export const resizeLowerings: Lowerings<'resize' | 'resizeGradient'> = {
  resize: (node, chooser) => chooser.plan(resize, resizeKey(inputShape(node, 0), outputShape(node))),
  resizeGradient: (node, chooser) => chooser.plan(resizeGradient, resizeKey(outputShape(node), inputShape(node, 0))),
}

export const gatherLowerings: Lowerings<'gather' | 'gatherGradient'> = {
  gather: (node, chooser) => {
    const [rows = 0, ...row] = inputShape(node, 0)
    return chooser.plan(gatherRows, { rows, rowElements: elementCount(row), count: inputShape(node, 1)[0] ?? 0 })
  },
  gatherGradient: (node, chooser) => {
    const [count = 0, ...row] = inputShape(node, 0)
    return chooser.plan(gatherRowsGradient, { rows: node.attributes.rows, rowElements: elementCount(row), count })
  },
}

export const concatenateLowerings: Lowerings<'concatenate'> = {
  concatenate: (node, chooser) =>
    chooser.plan(concatenate, { shapes: node.inputs.map((value) => value.type.shape), axis: node.attributes.axis }),
}

export const argmaxLowerings: Lowerings<'argmax'> = {
  argmax: (node, chooser) => chooser.plan(argmax, { shape: inputShape(node, 0), axis: node.attributes.axis }),
}

export const dropoutLowerings: Lowerings<'dropout'> = {
  dropout: (node, chooser) => chooser.plan(dropout, { count: elementCount(outputShape(node)), ...node.attributes }),
}

export const transposeLowerings: Lowerings<'transpose'> = {
  transpose: (node, chooser) =>
    chooser.plan(transpose, { shape: inputShape(node, 0), permutation: node.attributes.permutation }),
}
