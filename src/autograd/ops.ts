/**
 * The operator functions. Each checks its operands at once and builds a node; nothing runs. Images are NHWC, kernels
 * HWIO, dense kernels [in, out]. A plain number stands for a tensor of shape [].
 * All throw 'shape' (naming the operator, the shapes and what was expected) or 'argument' for operands that do not fit.
 */

import { WeftgradError } from '../errors.ts'
import { carry } from '../graph/lower.ts'
import {
  argmaxLowerings,
  averagePoolLowerings,
  concatenateLowerings,
  depthwiseLowerings,
  dropoutLowerings,
  gatherLowerings,
  resizeLowerings,
  transposeLowerings,
} from '../graph/lower-carried.ts'
import type { Activation, OpAttributes, Pair, Shape } from '../graph/node.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { productBatch } from '../graph/shapes.ts'
import { elementCount } from '../kernels/kernel.ts'
import { aFlag, aNumber, anything, checkOptions, fraction, oneOf, required } from '../options.ts'
import { anActivation, apply, constant, type Operand } from './apply.ts'
import { aTensor, type Tensor, tensor } from './tensor.ts'
import type { Padding } from './window.ts'
import { convKinds, convWindow, pairOf, poolKinds } from './window.ts'

export { constant, type Operand } from './apply.ts'
export type { ExplicitPadding, Padding } from './window.ts'

/**
 * A tensor full of one number: f32, of the given shape.
 * @throws WeftgradError 'shape' where an extent is not a whole number from 1.
 */
export function fill(shape: Shape, value: number): Tensor {
  return broadcastTo(constant(value), shape)
}

/** A tensor full of zeros. Throws as {@link fill}. */
export const zeros = (shape: Shape): Tensor => fill(shape, 0)
/** A tensor full of ones. Throws as {@link fill}. */
export const ones = (shape: Shape): Tensor => fill(shape, 1)

// Elementwise, with numpy's broadcasting: shapes are lined up from the last axis, and an extent of 1 stretches. Gradients are
// summed back over what was stretched. Chains of these become one kernel.

/**
 * a + b, elementwise; shapes broadcast. Both derivatives are 1.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const add = (a: Operand, b: Operand): Tensor => apply('add', [a, b], {})
/**
 * a - b, elementwise; shapes broadcast. Derivatives: 1 and -1.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const sub = (a: Operand, b: Operand): Tensor => apply('sub', [a, b], {})
/**
 * a * b, elementwise; shapes broadcast. Derivatives: b and a. For products of matrices see {@link matmul}.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const mul = (a: Operand, b: Operand): Tensor => apply('mul', [a, b], {})
/**
 * a / b, elementwise; shapes broadcast. Derivatives: 1 / b and -a / b². Division by 0 gives an infinity, or NaN for 0 / 0.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const div = (a: Operand, b: Operand): Tensor => apply('div', [a, b], {})
/**
 * a to the power of b, elementwise; shapes broadcast. Derivatives: b a^(b - 1), and a^b ln a, which is taken as 0 where a is
 * 0 or negative, infinite powers such as 0^-1 included.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const pow = (a: Operand, b: Operand): Tensor => apply('pow', [a, b], {})
/**
 * The larger of the two, elementwise; NaN if either is. Shapes broadcast. At a tie the gradient goes to `a`.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const maximum = (a: Operand, b: Operand): Tensor => apply('maximum', [a, b], {})
/**
 * The smaller of the two, elementwise; NaN if either is. Shapes broadcast. At a tie the gradient goes to `a`.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const minimum = (a: Operand, b: Operand): Tensor => apply('minimum', [a, b], {})
/**
 * 1 where a > b, else 0, as f32: comparisons are meant for {@link where}. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const greater = (a: Operand, b: Operand): Tensor => apply('greater', [a, b], {})
/**
 * 1 where a >= b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const greaterEqual = (a: Operand, b: Operand): Tensor => apply('greaterEqual', [a, b], {})
/**
 * 1 where a < b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const less = (a: Operand, b: Operand): Tensor => apply('less', [a, b], {})
/**
 * 1 where a <= b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const lessEqual = (a: Operand, b: Operand): Tensor => apply('lessEqual', [a, b], {})
/**
 * 1 where a = b, else 0, as f32. Shapes broadcast; the derivative is 0.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const equal = (a: Operand, b: Operand): Tensor => apply('equal', [a, b], {})
/**
 * `a` where the condition is not 0, else `b`, elementwise; all three shapes broadcast. The gradient goes to the operand that
 * was taken, 0 to the other, none to the condition. To keep an infinite slope of what is not taken out of the gradient, mend its
 * operand as well.
 * @throws WeftgradError 'shape' where the shapes do not broadcast, or an operand is not f32.
 */
export const where = (condition: Operand, a: Operand, b: Operand): Tensor => apply('where', [condition, a, b], {})

/** -x, elementwise. @throws WeftgradError 'shape' if x is not f32. */
export const neg = (x: Operand): Tensor => apply('neg', [x], {})
/** |x|, elementwise. Derivative: the sign of x, 0 at 0. @throws WeftgradError 'shape' if x is not f32. */
export const abs = (x: Operand): Tensor => apply('abs', [x], {})
/** -1, 0 or 1, elementwise; NaN for NaN. The derivative is 0. @throws WeftgradError 'shape' if x is not f32. */
export const sign = (x: Operand): Tensor => apply('sign', [x], {})
/** e to the power of x, elementwise. Derivative: the result. @throws WeftgradError 'shape' if x is not f32. */
export const exp = (x: Operand): Tensor => apply('exp', [x], {})
/**
 * Natural logarithm, elementwise; NaN below 0, minus infinity at 0. Derivative: 1 / x.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const log = (x: Operand): Tensor => apply('log', [x], {})
/**
 * Square root, elementwise; NaN below 0. Derivative: 1 / (2 sqrt(x)), infinite at 0.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const sqrt = (x: Operand): Tensor => apply('sqrt', [x], {})
/** x², elementwise. Derivative: 2x. @throws WeftgradError 'shape' if x is not f32. */
export const square = (x: Operand): Tensor => apply('square', [x], {})
/** 1 / x, elementwise. Derivative: -1 / x². @throws WeftgradError 'shape' if x is not f32. */
export const reciprocal = (x: Operand): Tensor => apply('reciprocal', [x], {})
/**
 * 1 / (1 + e^-x), elementwise, in (0, 1). Derivative: y (1 - y), with y the result.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const sigmoid = (x: Operand): Tensor => apply('sigmoid', [x], {})
/**
 * Hyperbolic tangent, elementwise, in (-1, 1). Derivative: 1 - y², with y the result.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const tanh = (x: Operand): Tensor => apply('tanh', [x], {})
/**
 * max(x, 0), elementwise, keeping NaN. Derivative: 1 above 0, else 0, at 0 too.
 * @throws WeftgradError 'shape' if x is not f32.
 */
export const relu = (x: Operand): Tensor => apply('relu', [x], {})
/**
 * x limited to [min, max], elementwise, keeping NaN. Derivative: 1 within and at the limits, 0 beyond.
 * @throws WeftgradError 'argument' if min is above max, 'shape' if x is not f32.
 */
export const clip = (x: Operand, min: number, max: number): Tensor => apply('clip', [x], { min, max })
/** u32 numbers as f32, rounded above 2^24. No gradient leads through. @throws WeftgradError 'shape' if x is not u32. */
export const toF32 = (x: Tensor): Tensor => apply('toF32', [x], {})

// Reductions.

/** Along which axes {@link sum}, {@link mean}, {@link max} and {@link min} reduce. */
export interface ReduceOptions {
  /** Axes to reduce, negative ones counted from the end; all of them by default. */
  readonly axes?: number | readonly number[]
  /** Keeps the reduced axes with extent 1, so that the result broadcasts against the operand. False by default. */
  readonly keepDims?: boolean
}

function normalizeAxes(operator: string, x: Tensor, axes: ReduceOptions['axes']): number[] {
  const rank = x.shape.length
  const wanted = axes === undefined ? x.shape.map((_, axis) => axis) : typeof axes === 'number' ? [axes] : [...axes]
  const normal = wanted.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b)
  if (normal.some((axis, i) => !Number.isInteger(axis) || axis < 0 || axis >= rank || axis === normal[i - 1]))
    throw new WeftgradError(
      'shape',
      `${operator}: axes [${wanted.join(', ')}] must be different axes of ${shapeText(x.shape)}.`,
    )
  return normal
}

function reduced(operator: 'sum' | 'mean' | 'max' | 'min', x: Tensor, options: ReduceOptions): Tensor {
  const { axes, keepDims = false } = checkOptions(operator, options, { axes: anything, keepDims: aFlag })
  const normal = normalizeAxes(operator, x, axes)
  if (normal.length === 0) return x
  const count = normal.reduce((product, axis) => product * (x.shape[axis] ?? 1), 1)
  const result =
    operator === 'max' || operator === 'min'
      ? apply(operator, [x], { axes: normal })
      : apply('sum', [x], { axes: normal, scale: operator === 'mean' ? 1 / count : 1 })
  if (!keepDims) return result
  return reshape(
    result,
    x.shape.map((extent, axis) => (normal.includes(axis) ? 1 : extent)),
  )
}

/**
 * The sum over the axes; all of them by default, which gives shape []. Partial sums are added in a fixed order: the same
 * plan gives the same bits. Derivative: 1.
 * @throws WeftgradError 'shape' for axes that x does not have, or has twice, or if x is not f32.
 */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('sum', x, options)
/**
 * The mean over the axes; all of them by default, which gives shape []. Derivative: 1 / the number of elements averaged.
 * @throws WeftgradError 'shape' as {@link sum}.
 */
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('mean', x, options)
/**
 * The largest number along the axes; all of them by default. NaN wins. Equal maxima share the gradient evenly.
 * @throws WeftgradError 'shape' as {@link sum}.
 */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('max', x, options)
/**
 * The smallest number along the axes; all of them by default. NaN wins. Equal minima share the gradient evenly.
 * @throws WeftgradError 'shape' as {@link sum}.
 */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('min', x, options)

/**
 * Index of the first maximum along an axis (the last by default, negative ones counted from the end): u32, without that axis.
 * It has no gradient.
 * @throws WeftgradError 'shape' for an axis that x does not have, or if x is not f32.
 */
export function argmax(x: Tensor, options: { readonly axis?: number } = {}): Tensor {
  const { axis = -1 } = checkOptions('argmax', options, { axis: aNumber })
  carry(argmaxLowerings)
  return apply('argmax', [x], { axis: axis < 0 ? axis + x.shape.length : axis })
}

// Products.

/**
 * Product of matrices: [..., m, k] x [..., k, n] -> [..., m, n]. Batch extents broadcast as in numpy: [3, 1, m, k] x
 * [2, k, n] -> [3, 2, m, n]. A single matrix serves every batch in place; other operands that stretch are copied for it.
 * `transposeA` and `transposeB` take an operand with its last two axes exchanged, without moving numbers.
 * Derivatives: dA = dC Bᵀ, dB = Aᵀ dC, summed over what was stretched.
 * @throws WeftgradError 'shape' where the inner extents differ or the batches do not broadcast, for rank 1, or if an operand is
 * not f32.
 */
export function matmul(
  a: Tensor,
  b: Tensor,
  options: { readonly transposeA?: boolean; readonly transposeB?: boolean } = {},
): Tensor {
  const kinds = { transposeA: aFlag, transposeB: aFlag }
  const { transposeA = false, transposeB = false } = checkOptions('matmul', options, kinds)
  const batch = productBatch([a.value.type, b.value.type])
  return apply('matmul', [inBatches(a, batch), inBatches(b, batch)], { transposeA, transposeB })
}

/** Matrices, one for each of these batches, or one for all of them. */
function inBatches(x: Tensor, batch: Shape): Tensor {
  const [own, matrix] = [x.shape.slice(0, -2), x.shape.slice(-2)]
  if (own.length === 0 || sameShape(own, batch)) return x
  return elementCount(own) === 1 ? reshape(x, matrix) : broadcastTo(x, [...batch, ...matrix])
}

/**
 * A dense layer's arithmetic in one kernel: activation(x [..., in] x kernel [in, out] + bias [out]) -> [..., out]. x has rank 2
 * at least; the bias may be left out, the activation is 'linear' by default.
 * @throws WeftgradError 'shape' for operands that do not fit, 'argument' for an activation that is none of 'linear', 'relu',
 * 'sigmoid', 'tanh'.
 */
export function dense(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  options: { readonly activation?: Activation } = {},
): Tensor {
  const { activation = 'linear' } = checkOptions('dense', options, { activation: anActivation })
  return apply('dense', bias === undefined ? [x, kernel] : [x, kernel, bias], { activation })
}

/** How a convolution's window moves over its images. */
export interface ConvOptions {
  /** Pixels from window to window; one number for both directions, or [vertical, horizontal]. 1 by default. */
  readonly strides?: number | Pair
  /**
   * `same` as in TensorFlow (what is left over goes to the bottom and right), `valid`, or explicit extents
   * [[top, bottom], [left, right]]. `valid` by default.
   */
  readonly padding?: Padding
  /** Pixels from one of the kernel's taps to the next (à-trous convolution). 1 by default. */
  readonly dilationRate?: number | Pair
}

/**
 * Two-dimensional convolution (cross-correlation, as in every framework), bias and activation in one kernel:
 * activation(conv(x [n, h, w, c], kernel [kh, kw, c, filters]) + bias [filters]) -> [n, h', w', filters]. With padding 'valid',
 * h' = floor((h - (kh - 1) dilation - 1) / stride) + 1; with 'same', h' = ceil(h / stride). Relu and a 2x2 {@link maxPool} that
 * follow become part of the kernel. Both derivatives are convolutions again, so there are higher ones.
 * @throws WeftgradError 'shape' for operands or a window that do not fit, 'argument' for strides, padding, dilation or an
 * activation that there is not.
 */
export function conv2d(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  options: ConvOptions & { readonly activation?: Activation } = {},
): Tensor {
  const kinds = { ...convKinds, activation: anActivation }
  const { activation = 'linear' } = checkOptions('conv2d', options, kinds)
  const window = convWindow('conv2d', x.shape, kernel.shape, options)
  const inputs = bias === undefined ? [x, kernel] : [x, kernel, bias]
  return apply('conv2d', inputs, { ...window, activation })
}

/**
 * Each channel convolved with kernels of its own (Chollet, "Xception", 2017): x [n, h, w, c], kernel [kh, kw, c, multiplier] ->
 * [n, h', w', c * multiplier], a channel's results side by side. Extents as in {@link conv2d}.
 * @throws WeftgradError 'shape' for operands or a window that do not fit, 'argument' for strides, padding or dilation that
 * there is not.
 */
export function depthwiseConv2d(x: Tensor, kernel: Tensor, options: ConvOptions = {}): Tensor {
  carry(depthwiseLowerings)
  checkOptions('depthwiseConv2d', options, convKinds)
  return apply('depthwiseConv2d', [x, kernel], convWindow('depthwiseConv2d', x.shape, kernel.shape, options))
}

/** The window of {@link maxPool} and {@link averagePool}, and how it moves. */
export interface PoolOptions {
  /** Extent of the window in pixels; one number for both directions, or [vertical, horizontal]. */
  readonly poolSize: number | Pair
  /** Pixels from window to window. The pool size by default: windows side by side. */
  readonly strides?: number | Pair
  /** As in {@link ConvOptions}; a window must not lie in the padding altogether. `valid` by default. */
  readonly padding?: Padding
}

function poolAttributes(operator: string, x: Tensor, options: PoolOptions): OpAttributes['averagePool'] {
  const { poolSize, strides: apart = poolSize, padding = 'valid' } = checkOptions(operator, options, poolKinds)
  const window = pairOf(`${operator}: poolSize`, poolSize)
  const convolution = convWindow(operator, x.shape, [...window, 1, 1], { strides: apart, padding })
  const { strides, padTop, padLeft, outHeight, outWidth } = convolution
  const [, height = 0, width = 0] = x.shape
  const lastTop = (outHeight - 1) * strides[0] - padTop
  const lastLeft = (outWidth - 1) * strides[1] - padLeft
  if (padTop >= window[0] || padLeft >= window[1] || lastTop >= height || lastLeft >= width)
    throw new WeftgradError(
      'argument',
      `${operator}: with padding ${JSON.stringify(options.padding)} a window of ${window.join('x')} lies in the padding altogether; pad an image of ${shapeText(x.shape)} by less.`,
    )
  return { window, strides, padTop, padLeft, outHeight, outWidth }
}

/**
 * The largest number of each window and channel: [n, h, w, c] -> [n, h', w', c], extents as in {@link conv2d}. Padding never
 * wins; a NaN in a window wins it. The window's first maximum takes the gradient, so the slope is constant in pieces.
 * @throws WeftgradError 'shape' where x is no batch of images or the window does not fit, 'argument' for a window, strides or
 * padding that there is not.
 */
export function maxPool(x: Tensor, options: PoolOptions): Tensor {
  return apply('maxPool', [x], poolAttributes('maxPool', x, options))
}

/**
 * The mean of each window and channel: [n, h, w, c] -> [n, h', w', c]. Padding does not count in the divisor, as in TensorFlow.
 * @throws WeftgradError 'shape' and 'argument' as {@link maxPool}.
 */
export function averagePool(x: Tensor, options: PoolOptions): Tensor {
  carry(averagePoolLowerings)
  return apply('averagePool', [x], poolAttributes('averagePool', x, options))
}

/**
 * The mean over height and width: [n, h, w, c] -> [n, c].
 * @throws WeftgradError 'shape' where x is no batch of images.
 */
export function globalAveragePool(x: Tensor): Tensor {
  if (x.shape.length !== 4)
    throw new WeftgradError(
      'shape',
      `globalAveragePool: got ${shapeText(x.shape)}; images are [batch, height, width, channels].`,
    )
  return mean(x, { axes: [1, 2] })
}

/**
 * Images [n, h, w, c] in another size: bilinear, pixel centres at halves, edges repeated, no smoothing where they shrink;
 * as TensorFlow's `tf.image.resize`. The gradient is the transposed weighting.
 * @throws WeftgradError 'shape' where x is no batch of images, or an extent is not a whole number from 1.
 */
export function resize(x: Tensor, size: { readonly height: number; readonly width: number }): Tensor {
  const { height, width } = checkOptions('resize', size, { height: required(aNumber), width: required(aNumber) })
  carry(resizeLowerings)
  return apply('resize', [x], { outHeight: height, outWidth: width })
}

// Normalisation.

/** What is done to normalised numbers. */
export interface BatchNormOptions {
  /** Scale, f32 [channels]; 1 where there is none. */
  readonly gamma?: Tensor | undefined
  /** Offset, f32 [channels]; 0 where there is none. */
  readonly beta?: Tensor | undefined
  /** Added to the variance. 1e-3 by default, as in Keras. */
  readonly epsilon?: number
}

const normalizationKinds = { gamma: aTensor, beta: aTensor, epsilon: aNumber }

/**
 * gamma * (x - mean) / sqrt(variance + epsilon) + beta, with given statistics, one number for each channel of the last axis:
 * batch normalisation at inference (Ioffe & Szegedy, "Batch Normalization", 2015). Made of elementwise operators, which fuse.
 * @throws WeftgradError 'shape' where mean, variance, gamma or beta are not [channels].
 */
export function batchNormalization(x: Tensor, options: BatchNormOptions & { mean: Tensor; variance: Tensor }): Tensor {
  const kinds = { ...normalizationKinds, mean: required(aTensor), variance: required(aTensor) }
  const { gamma, beta, mean: center, variance, epsilon = 1e-3 } = checkOptions('batchNormalization', options, kinds)
  for (const statistic of [center, variance, gamma, beta]) {
    const isPerChannel = statistic?.shape.length === 1 && statistic.shape[0] === x.shape.at(-1)
    if (statistic !== undefined && !isPerChannel)
      throw new WeftgradError(
        'shape',
        `batchNormalization: got ${shapeText(x.shape)} and ${shapeText(statistic.shape)}; mean, variance, gamma and beta have one number a channel, the last axis.`,
      )
  }
  const normal = mul(sub(x, center), reciprocal(sqrt(add(variance, epsilon))))
  const scaled = gamma === undefined ? normal : mul(normal, gamma)
  return beta === undefined ? scaled : add(scaled, beta)
}

/**
 * Batch normalisation in training (Ioffe & Szegedy 2015, algorithm 1): by the batch's own mean and variance over all axes but
 * the last, which it gives too, for moving statistics. The variance is the biased one. The gradient goes through both.
 * @throws WeftgradError 'shape' where gamma or beta are not [channels].
 */
export function batchNormalizationTraining(
  x: Tensor,
  options: BatchNormOptions = {},
): {
  /** The normalised numbers, in the shape of x. */
  readonly y: Tensor
  /** f32 [channels]. */
  readonly mean: Tensor
  /** f32 [channels]. */
  readonly variance: Tensor
} {
  checkOptions('batchNormalizationTraining', options, normalizationKinds)
  const axes = x.shape.slice(0, -1).map((_, axis) => axis)
  const center = mean(x, { axes })
  const variance = mean(square(sub(x, center)), { axes })
  return { y: batchNormalization(x, { ...options, mean: center, variance }), mean: center, variance }
}

// Classification.

/**
 * exp(x) / sum(exp(x)) over the last axis, computed after subtracting the largest x, so that nothing overflows. Derivative:
 * y (dy - sum(dy y)).
 * @throws WeftgradError 'shape' if x is not f32 or has no axis.
 */
export const softmax = (x: Tensor): Tensor => apply('softmax', [x], {})
/**
 * x - log(sum(exp(x))) over the last axis: the logarithm of {@link softmax} without its loss of small probabilities.
 * @throws WeftgradError 'shape' if x is not f32 or has no axis.
 */
export const logSoftmax = (x: Tensor): Tensor => apply('logSoftmax', [x], {})

/**
 * Cross-entropy of softmax(logits [rows, classes]) with labels: class numbers (u32 [rows]) or probabilities
 * (f32 [rows, classes]): -sum(label * logSoftmax(logits)). The mean over rows by default, shape []; their sum; or, with
 * 'none', the loss of each row, f32 [rows]. A class number out of range gives NaN. With class numbers, loss and gradient,
 * (softmax - label) / rows, come out of one kernel.
 * @throws WeftgradError 'shape' where logits and labels do not fit, 'argument' for a reduction that there is not.
 */
export function softmaxCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: { readonly reduction?: 'mean' | 'sum' | 'none' } = {},
): Tensor {
  const kinds = { reduction: oneOf('mean', 'sum', 'none') }
  const { reduction = 'mean' } = checkOptions('softmaxCrossEntropy', options, kinds)
  const rows = apply('crossEntropy', [logits, labels], {})
  if (reduction === 'none') return rows
  return reduction === 'sum' ? sum(rows) : mean(rows)
}

/** Which numbers {@link dropout} leaves out. */
export interface DropoutOptions {
  /** Share of the elements set to zero, in [0, 1); the others are scaled by 1 / (1 - rate). */
  readonly rate: number
  /** Of the random numbers: a whole number. */
  readonly seed: number
  /** Tells apart the dropouts of one network. */
  readonly stream?: number
  /** A u32 tensor whose first element counts steps; the same count gives the same mask. 0 by default. */
  readonly counter?: Tensor
}

/**
 * Zeros a random share of x and scales the rest by 1 / (1 - rate) (Srivastava et al., "Dropout", 2014). The mask comes from a
 * counter-based generator (Threefry; Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): same seed, stream and
 * counter, same mask, in the gradient too.
 * @throws WeftgradError 'argument' for a rate outside [0, 1), 'shape' if x is not f32.
 */
export function dropout(x: Tensor, options: DropoutOptions): Tensor {
  const kinds = { rate: required(fraction), seed: required(aNumber), stream: aNumber, counter: aTensor }
  const { rate, seed, stream = 0, counter } = checkOptions('dropout', options, kinds)
  carry(dropoutLowerings)
  return apply('dropout', [x, counter ?? tensor([0], [1], 'u32')], { rate, seed, stream })
}

// Moving numbers about.

/**
 * The same numbers in another shape, row-major; one extent may be -1 and is worked out. Copies nothing: the result shares the
 * memory of x.
 * @throws WeftgradError 'shape' where the numbers of elements differ.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = elementCount(shape.filter((extent) => extent !== -1))
  const whole = shape.map((extent) => (extent === -1 ? x.size / known : extent))
  if (whole.some((extent) => !Number.isInteger(extent)))
    throw new WeftgradError(
      'shape',
      `reshape: got ${shapeText(x.shape)}; its ${x.size} elements do not divide into ${shapeText(shape)}.`,
    )
  if (sameShape(whole, x.shape)) return x
  return apply('reshape', [x], { shape: whole })
}

/** [n, ...] -> [n, everything else]; see {@link reshape}. */
export const flatten = (x: Tensor): Tensor => reshape(x, [x.shape[0] ?? 1, -1])

/**
 * Reorders the axes: axis i of the result is axis `permutation[i]` of x. Reverses them by default. A transposed operand of a
 * product need not be made: see {@link matmul}.
 * @throws WeftgradError 'shape' where the permutation does not name each axis once.
 */
export function transpose(
  x: Tensor,
  permutation: readonly number[] = x.shape.map((_, axis) => axis).reverse(),
): Tensor {
  carry(transposeLowerings)
  return apply('transpose', [x], { permutation })
}

/**
 * `size` elements from `begin` along each axis; a size of -1 means all that are left. The gradient is 0 around the part.
 * @throws WeftgradError 'shape' where the part does not lie within x.
 */
export function slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor {
  const whole = size.map((extent, axis) => (extent === -1 ? (x.shape[axis] ?? 0) - (begin[axis] ?? 0) : extent))
  return apply('slice', [x], { begin, size: whole })
}

/**
 * x with `value` around it (0 by default); `paddings` is [before, after] for each axis.
 * @throws WeftgradError 'shape' for paddings that are not whole numbers from 0, two for each axis, or if x is not f32.
 */
export function pad(x: Tensor, paddings: readonly Pair[], value = 0): Tensor {
  return apply('pad', [x], { before: paddings.map((p) => p[0]), after: paddings.map((p) => p[1]), value })
}

/**
 * Tensors side by side along an axis (negative ones counted from the end), in order.
 * @throws WeftgradError 'shape' where the dtypes differ, the shapes differ along another axis, or there is no tensor.
 */
export function concatenate(tensors: readonly Tensor[], axis: number): Tensor {
  const rank = tensors[0]?.shape.length ?? 0
  carry(concatenateLowerings)
  return apply('concatenate', tensors, { axis: axis < 0 ? axis + rank : axis })
}

/**
 * Rows of x [rows, ...] along the first axis, by u32 indices [n]: [n, ...]; NaN where an index is out of range. A row that is
 * named several times gets the sum of its gradients, in a fixed order.
 * @throws WeftgradError 'shape' where x has no axis, or the indices are not u32 of rank 1.
 */
export function gather(x: Tensor, indices: Tensor): Tensor {
  carry(gatherLowerings)
  return apply('gather', [x, indices], {})
}

/**
 * x in a larger shape, stretched as elementwise operators would: axes lined up from the last, an extent of 1 repeated.
 * @throws WeftgradError 'shape' where x does not stretch to it.
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : apply('broadcast', [x], { shape })
}
