/** Two-dimensional convolution. */

import type { Kernels, Operation, TensorType } from '../graph/node.ts'
import { matmulOf } from '../kernels/conv2d/as-matmul.ts'
import { conv2dFamilies } from '../kernels/conv2d/conv2d.ts'
import type { Conv2dKey } from '../kernels/conv2d/plain.ts'
import type { ConvProduct } from '../kernels/conv2d/workgroup.ts'
import type { KernelPlan } from '../kernels/kernel.ts'
import { matmul } from '../kernels/matmul/matmul.ts'
import type { FusedActivation } from '../kernels/wgsl/activation.ts'
import { checkOptions, countFrom1 } from '../options.ts'
import type { Activation } from './activation.ts'
import { activate, activationOf, anActivation } from './activation.ts'
import { extentOf, extentsOf4, f32, isHalf, refuse, take } from './checks.ts'
import { add } from './elementwise.ts'
import { fuseConvolutionAndPool } from './fusion/conv2d-pool.ts'
import type { Operator, TypesOf } from './operator.ts'
import { apply } from './operator.ts'
import { sum } from './reduce.ts'
import type { Tensor } from './tensor.ts'
import type { ConvGeometry, Padding, Pair } from './window.ts'
import { convGeometry, convKinds, transposedExtents } from './window.ts'

export interface Conv2dAttributes extends ConvGeometry {
  readonly filters: number
  readonly groups: number
  readonly halfKernel?: true | undefined
}

type Operands = [x: Tensor, kernel: Tensor, bias?: Tensor]

const plain = { bias: false, activation: 'linear' } as const

/** A convolution. Inputs: x, kernel, optional bias. */
const conv2dOp: Operator<Conv2dAttributes, Operands> = {
  name: 'conv2d',
  half: 1,
  shape: conv2dShape,
  lower: ({ inputs, attributes }, kernels) =>
    planOf('conv2d', { ...attributes, bias: inputs.length === 3, activation: 'linear' }, kernels),
  absorb({ attributes }, reader) {
    const activation = activationOf(reader)
    return activation && { op: activatedConv2dOp, attributes: { ...attributes, activation } }
  },
  fuse: (node, graph) => fuseConvolutionAndPool(node, graph, gradientOps),
  vjp: ({ cotangent, inputs: [x, kernel, bias], attributes }) => [
    apply(conv2dInputGradientOp, [cotangent, kernel], attributes),
    apply(conv2dFilterGradientOp, [x, cotangent], attributes),
    bias && sum(cotangent, { axes: [0, 1, 2] }),
  ],
}

/** A convolution with its activation, in one kernel. Made by fusion. */
const activatedConv2dOp: Operation<Conv2dAttributes & { readonly activation: FusedActivation }> = {
  name: 'conv2d',
  half: 1,
  shape: (inputs, attributes) => conv2dShape(inputs as TypesOf<Operands>, attributes),
  lower: ({ inputs, attributes }, kernels) => planOf('conv2d', { ...attributes, bias: inputs.length === 3 }, kernels),
}

// Both gradients are linear in each operand, so their derivatives are convolutions too.

const conv2dInputGradientOp: Operator<Conv2dAttributes, [dy: Tensor, kernel: Tensor]> = {
  name: 'conv2dInputGradient',
  shape(inputs, { batch, inputHeight, inputWidth, channels }) {
    take('conv2dInputGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([batch, inputHeight, inputWidth, channels])]
  },
  lower: ({ attributes }, kernels) => planOf('conv2d.inputGradient', { ...attributes, ...plain }, kernels),
  vjp: ({ cotangent, inputs: [dy, kernel], attributes }) => [
    apply(conv2dOp, [cotangent, kernel], attributes),
    apply(conv2dFilterGradientOp, [cotangent, dy], attributes),
  ],
}

const conv2dFilterGradientOp: Operator<Conv2dAttributes, [x: Tensor, dy: Tensor]> = {
  name: 'conv2dFilterGradient',
  shape(inputs, { kernelHeight, kernelWidth, channels, filters, groups }) {
    take('conv2dFilterGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([kernelHeight, kernelWidth, channels / groups, filters])]
  },
  lower: ({ attributes }, kernels) => planOf('conv2d.filterGradient', { ...attributes, ...plain }, kernels),
  vjp: ({ cotangent, inputs: [x, dy], attributes }) => [
    apply(conv2dInputGradientOp, [dy, cotangent], attributes),
    apply(conv2dOp, [x, cotangent], attributes),
  ],
}

const gradientOps = { inputGradient: conv2dInputGradientOp, filterGradient: conv2dFilterGradientOp }

/** Plans a convolution, or the matrix product that computes it. */
function planOf(name: ConvProduct, key: Conv2dKey, kernels: Kernels): KernelPlan {
  const product = matmulOf(name, key)
  return product === undefined ? kernels.plan(conv2dFamilies[name], key) : kernels.plan(matmul, product)
}

function conv2dShape(inputs: TypesOf<Operands>, attributes: Conv2dAttributes): TensorType[] {
  take('conv2d', inputs, [{ rank: 4 }, { rank: 4 }, { rank: 1 }])
  const [, kernel, bias] = inputs
  const { batch, outHeight, outWidth, channels, filters, groups } = attributes
  if (channels % groups !== 0 || filters % groups !== 0)
    refuse('conv2d', inputs, `channels and filters must divide into ${groups} groups`)
  if (kernel.shape[2] !== channels / groups)
    refuse(
      'conv2d',
      inputs,
      `the kernel is [height, width, input channels${groups > 1 ? ` / ${groups}` : ''}, filters]`,
    )
  if (bias !== undefined && bias.shape[0] !== filters) refuse('conv2d', inputs, 'the bias has one number per filter')
  return [f32([batch, outHeight, outWidth, filters])]
}

/** How a convolution's window moves over the images. */
export interface ConvOptions {
  /** Distance between windows in pixels; one number for both directions, or [vertical, horizontal]. 1 by default. */
  readonly strides?: number | Pair
  /**
   * `same` as in TensorFlow (an odd pixel goes to the bottom or right), `valid`, or explicit pixels [[top, bottom],
   * [left, right]]. `valid` by default.
   */
  readonly padding?: Padding
  /** Distance between the kernel's taps in pixels (à-trous convolution). 1 by default. */
  readonly dilationRate?: number | Pair
}

/**
 * Two-dimensional convolution (cross-correlation, as in every framework), bias and activation in one kernel:
 * activation(conv(x [n, h, w, c], kernel [kh, kw, c / groups, filters]) + bias [filters]) -> [n, h', w', filters]. With
 * padding 'valid', h' = floor((h - (kh - 1) dilation - 1) / stride) + 1; with 'same', h' = ceil(h / stride). A relu and
 * a 2x2 {@link maxPool} that follow become part of the kernel. Both derivatives are convolutions too, so higher
 * derivatives exist.
 * @throws WeftgradError 'shape' for operands or a window that do not fit, 'argument' for invalid strides, padding,
 * dilation or activation.
 */
export function conv2d(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  options: ConvOptions & {
    /** Number of equal groups of channels and filters; a filter sees only the channels of its group. 1 by default. */
    readonly groups?: number
    readonly activation?: Activation
  } = {},
): Tensor {
  const kinds = { ...convKinds, groups: countFrom1, activation: anActivation }
  const { activation = 'linear', groups = 1 } = checkOptions('conv2d', options, kinds)
  const geometry = convGeometry('conv2d', x.shape, kernel.shape, options)
  const inputs: Operands = bias === undefined ? [x, kernel] : [x, kernel, bias]
  const attributes = { ...geometry, filters: extentOf(kernel.shape, 3), groups, halfKernel: isHalf(kernel) }
  return activate(activation, apply(conv2dOp, inputs, attributes))
}

/**
 * Transposed convolution: the input gradient of {@link conv2d} as a layer, as in Keras' `Conv2DTranspose`. x [n, h, w,
 * c], kernel [kh, kw, filters, c], bias [filters] -> [n, h', w', filters]. With padding 'same', h' = h stride; with
 * 'valid', h' = h stride + max(reach - stride, 0), reach = (kh - 1) dilation + 1; explicit padding is subtracted.
 * @throws WeftgradError 'shape' for operands that do not fit or a result without pixels, 'argument' for invalid
 * strides, padding, dilation or activation.
 */
export function conv2dTranspose(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  options: ConvOptions & { readonly activation?: Activation } = {},
): Tensor {
  const name = 'conv2dTranspose'
  const kinds = { ...convKinds, activation: anActivation }
  const { activation = 'linear', strides = 1, dilationRate = 1, padding = 'valid' } = checkOptions(name, options, kinds)
  const types = [x.value.type, kernel.value.type]
  take(name, types, [{ rank: 4 }, { rank: 4 }])
  const [batch, height, width, channels] = extentsOf4(x)
  const [kernelHeight, kernelWidth, filters, kernelChannels] = extentsOf4(kernel)
  if (kernelChannels !== channels) refuse(name, types, 'the kernel is [height, width, filters, input channels]')
  if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== filters))
    refuse(name, [...types, bias.value.type], 'the bias has one number per filter')
  const moves = { strides, dilationRate, padding }
  const image = [batch, ...transposedExtents([height, width], [kernelHeight, kernelWidth], moves), filters]
  const geometry = convGeometry(name, image, kernel.shape, moves)
  if (geometry.outHeight !== height || geometry.outWidth !== width)
    refuse(name, types, `padding ${JSON.stringify(padding)} does not match a convolution of any image`)
  const y = apply(conv2dInputGradientOp, [x, kernel], { ...geometry, filters: channels, groups: 1 })
  return activate(activation, bias === undefined ? y : add(y, bias))
}
