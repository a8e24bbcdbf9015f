/**
 * The operator functions. Each checks its operands at once and builds a node; nothing runs. Images are NHWC, kernels
 * HWIO, dense kernels [in, out]. A plain number stands for a tensor of shape [].
 * All throw 'shape' (naming the operator, the shapes and what was expected) or 'argument' for operands that do not fit.
 */

import { WeftgradError } from '../errors.ts'
import type { Activation, CustomOp, Node, OpAttributes, OpKind, Pair, Shape, Value } from '../graph/node.ts'
import { outputOf, sameShape, shapeText } from '../graph/node.ts'
import { makeNode } from '../graph/shapes.ts'
import { elementCount } from '../kernels/kernel.ts'
import { Tensor, tensor } from './tensor.ts'
import type { Padding } from './window.ts'
import { convWindow, pairOf } from './window.ts'

export type { ExplicitPadding, Padding } from './window.ts'

export type Operand = Tensor | number

function asValue(operand: Operand): Value {
  return operand instanceof Tensor ? operand.value : constant(operand).value
}

/** Makes a node of this kind and gives its outputs as tensors. */
export function applyAll<K extends OpKind>(kind: K, inputs: readonly Operand[], attributes: OpAttributes[K]): Tensor[] {
  const node = makeNode(kind, inputs.map(asValue), attributes) as Node
  return node.outputs.map((_, index) => new Tensor(outputOf(node, index)))
}

/** Makes a node of this kind and gives its first output. */
export function apply<K extends OpKind>(kind: K, inputs: readonly Operand[], attributes: OpAttributes[K]): Tensor {
  const [first] = applyAll(kind, inputs, attributes)
  if (first === undefined) throw new RangeError(`${kind} has no output`)
  return first
}

/** One number as a tensor of shape []. */
export function constant(value: number): Tensor {
  return apply('constant', [], { value })
}

/** A tensor full of one number. */
export function fill(shape: Shape, value: number): Tensor {
  return broadcastTo(constant(value), shape)
}

export const zeros = (shape: Shape): Tensor => fill(shape, 0)
export const ones = (shape: Shape): Tensor => fill(shape, 1)

// Elementwise, with numpy's broadcasting.

export const add = (a: Operand, b: Operand): Tensor => apply('add', [a, b], {})
export const sub = (a: Operand, b: Operand): Tensor => apply('sub', [a, b], {})
export const mul = (a: Operand, b: Operand): Tensor => apply('mul', [a, b], {})
export const div = (a: Operand, b: Operand): Tensor => apply('div', [a, b], {})
/** a to the power of b. The derivative in b is 0 where a is not positive. */
export const pow = (a: Operand, b: Operand): Tensor => apply('pow', [a, b], {})
/** The larger of the two; NaN if either is. At a tie the gradient goes to `a`. */
export const maximum = (a: Operand, b: Operand): Tensor => apply('maximum', [a, b], {})
/** The smaller of the two; NaN if either is. At a tie the gradient goes to `a`. */
export const minimum = (a: Operand, b: Operand): Tensor => apply('minimum', [a, b], {})
/** Comparisons give 1 or 0 as f32; their derivative is 0. */
export const greater = (a: Operand, b: Operand): Tensor => apply('greater', [a, b], {})
export const greaterEqual = (a: Operand, b: Operand): Tensor => apply('greaterEqual', [a, b], {})
export const less = (a: Operand, b: Operand): Tensor => apply('less', [a, b], {})
export const lessEqual = (a: Operand, b: Operand): Tensor => apply('lessEqual', [a, b], {})
export const equal = (a: Operand, b: Operand): Tensor => apply('equal', [a, b], {})
/** `a` where the condition is not 0, else `b`. */
export const where = (condition: Operand, a: Operand, b: Operand): Tensor => apply('where', [condition, a, b], {})

export const neg = (x: Operand): Tensor => apply('neg', [x], {})
/** The derivative at 0 is 0. */
export const abs = (x: Operand): Tensor => apply('abs', [x], {})
export const sign = (x: Operand): Tensor => apply('sign', [x], {})
export const exp = (x: Operand): Tensor => apply('exp', [x], {})
/** Natural logarithm. */
export const log = (x: Operand): Tensor => apply('log', [x], {})
export const sqrt = (x: Operand): Tensor => apply('sqrt', [x], {})
export const square = (x: Operand): Tensor => apply('square', [x], {})
export const reciprocal = (x: Operand): Tensor => apply('reciprocal', [x], {})
export const sigmoid = (x: Operand): Tensor => apply('sigmoid', [x], {})
export const tanh = (x: Operand): Tensor => apply('tanh', [x], {})
/** max(x, 0), keeping NaN. The derivative at 0 is 0. */
export const relu = (x: Operand): Tensor => apply('relu', [x], {})
/** x limited to [min, max], keeping NaN. The derivative at the limits is 1. */
export const clip = (x: Operand, min: number, max: number): Tensor => apply('clip', [x], { min, max })
/** u32 numbers as f32. */
export const toF32 = (x: Tensor): Tensor => apply('toF32', [x], {})

// Reductions.

export interface ReduceOptions {
  /** Axes to reduce, negative ones counted from the end; all of them by default. */
  readonly axes?: number | readonly number[]
  /** Keeps the reduced axes with extent 1. */
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

function reduced(
  operator: 'sum' | 'mean' | 'max' | 'min',
  x: Tensor,
  { axes, keepDims = false }: ReduceOptions,
): Tensor {
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

export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('sum', x, options)
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('mean', x, options)
/** Equal maxima share the gradient evenly. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('max', x, options)
/** Equal minima share the gradient evenly. */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => reduced('min', x, options)

/** Index of the first maximum along an axis (the last by default), u32. It has no gradient. */
export function argmax(x: Tensor, { axis = -1 }: { readonly axis?: number } = {}): Tensor {
  return apply('argmax', [x], { axis: axis < 0 ? axis + x.shape.length : axis })
}

// Products.

/** [..., m, k] x [..., k, n]; batch extents are equal, or one operand has rank 2 and serves every batch. */
export function matmul(
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false }: { readonly transposeA?: boolean; readonly transposeB?: boolean } = {},
): Tensor {
  return apply('matmul', [a, b], { transposeA, transposeB })
}

const activations: readonly string[] = ['linear', 'relu', 'sigmoid', 'tanh'] satisfies Activation[]

function checkActivation(operator: string, activation: Activation): void {
  if (!activations.includes(activation))
    throw new WeftgradError(
      'argument',
      `${operator}: the activation '${activation}' is none of ${activations.join(', ')}.`,
      { activation },
    )
}

/** activation(x [..., in] x kernel [in, out] + bias [out]). */
export function dense(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  { activation = 'linear' }: { readonly activation?: Activation } = {},
): Tensor {
  checkActivation('dense', activation)
  return apply('dense', bias === undefined ? [x, kernel] : [x, kernel, bias], { activation })
}

export interface ConvOptions {
  readonly strides?: number | Pair
  /** `same` as in TensorFlow (what is left over goes to the bottom and right), `valid`, or explicit extents. */
  readonly padding?: Padding
  readonly dilationRate?: number | Pair
}

/** activation(conv(x [n, h, w, c], kernel [kh, kw, c, filters]) + bias [filters]). */
export function conv2d(
  x: Tensor,
  kernel: Tensor,
  bias?: Tensor,
  options: ConvOptions & { readonly activation?: Activation } = {},
): Tensor {
  const window = convWindow('conv2d', x.shape, kernel.shape, options)
  const inputs = bias === undefined ? [x, kernel] : [x, kernel, bias]
  const { activation = 'linear' } = options
  checkActivation('conv2d', activation)
  return apply('conv2d', inputs, { ...window, activation })
}

/** Each channel convolved with its own `multiplier` kernels [kh, kw, c, multiplier]. */
export function depthwiseConv2d(x: Tensor, kernel: Tensor, options: ConvOptions = {}): Tensor {
  return apply('depthwiseConv2d', [x, kernel], convWindow('depthwiseConv2d', x.shape, kernel.shape, options))
}

export interface PoolOptions {
  readonly poolSize: number | Pair
  /** The pool size by default. */
  readonly strides?: number | Pair
  readonly padding?: Padding
}

function poolAttributes(operator: string, x: Tensor, options: PoolOptions): OpAttributes['averagePool'] {
  const window = pairOf(operator, options.poolSize)
  const convolution = convWindow(operator, x.shape, [...window, 1, 1], {
    strides: options.strides ?? window,
    padding: options.padding ?? 'valid',
  })
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

/** Padding never wins. A window's first maximum takes the gradient; a NaN in a window wins it. */
export function maxPool(x: Tensor, options: PoolOptions): Tensor {
  return apply('maxPool', [x], poolAttributes('maxPool', x, options))
}

/** Padding does not count in the divisor. */
export function averagePool(x: Tensor, options: PoolOptions): Tensor {
  return apply('averagePool', [x], poolAttributes('averagePool', x, options))
}

/** The mean over height and width: [n, h, w, c] -> [n, c]. */
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
 * as TensorFlow's `tf.image.resize`.
 */
export function resize(x: Tensor, { height, width }: { readonly height: number; readonly width: number }): Tensor {
  return apply('resize', [x], { outHeight: height, outWidth: width })
}

// Normalisation.

export interface BatchNormOptions {
  readonly gamma?: Tensor | undefined
  readonly beta?: Tensor | undefined
  /** Keras' default is 1e-3. */
  readonly epsilon?: number
}

/** gamma * (x - mean) / sqrt(variance + epsilon) + beta, with given statistics over the last axis' channels. */
export function batchNormalization(
  x: Tensor,
  { gamma, beta, mean: center, variance, epsilon = 1e-3 }: BatchNormOptions & { mean: Tensor; variance: Tensor },
): Tensor {
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

/** Normalises by the batch's own statistics over all axes but the last; gives them too (biased variance). */
export function batchNormalizationTraining(
  x: Tensor,
  options: BatchNormOptions = {},
): { readonly y: Tensor; readonly mean: Tensor; readonly variance: Tensor } {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis)
  const center = mean(x, { axes })
  const variance = mean(square(sub(x, center)), { axes })
  return { y: batchNormalization(x, { ...options, mean: center, variance }), mean: center, variance }
}

// Classification.

/** exp(x) / sum(exp(x)) over the last axis. */
export const softmax = (x: Tensor): Tensor => apply('softmax', [x], {})
export const logSoftmax = (x: Tensor): Tensor => apply('logSoftmax', [x], {})

/**
 * Cross-entropy of softmax(logits [rows, classes]) with labels: class numbers (u32 [rows]) or probabilities
 * (f32 [rows, classes]). The mean over rows by default. A class number out of range gives NaN.
 */
export function softmaxCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  { reduction = 'mean' }: { readonly reduction?: 'mean' | 'sum' | 'none' } = {},
): Tensor {
  if (reduction !== 'mean' && reduction !== 'sum' && reduction !== 'none')
    throw new WeftgradError(
      'argument',
      `softmaxCrossEntropy: the reduction '${String(reduction)}' is none of mean, sum, none.`,
      { reduction },
    )
  const rows = apply('crossEntropy', [logits, labels], {})
  if (reduction === 'none') return rows
  return reduction === 'sum' ? sum(rows) : mean(rows)
}

export interface DropoutOptions {
  /** Share of the elements set to zero, in [0, 1); the others are scaled by 1 / (1 - rate). */
  readonly rate: number
  readonly seed: number
  /** Tells apart the dropouts of one network. */
  readonly stream?: number
  /** A u32 tensor whose first element counts steps; the same count gives the same mask. 0 by default. */
  readonly counter?: Tensor
}

/** Random zeros from a counter-based generator: same seed, stream and counter, same mask. */
export function dropout(x: Tensor, { rate, seed, stream = 0, counter }: DropoutOptions): Tensor {
  return apply('dropout', [x, counter ?? tensor([0], [1], 'u32')], { rate, seed, stream })
}

// Moving numbers about.

/** The same numbers in another shape; one extent may be -1. */
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

/** [n, ...] -> [n, everything else]. */
export const flatten = (x: Tensor): Tensor => reshape(x, [x.shape[0] ?? 1, -1])

/** Reorders the axes; reverses them by default. */
export function transpose(
  x: Tensor,
  permutation: readonly number[] = x.shape.map((_, axis) => axis).reverse(),
): Tensor {
  return apply('transpose', [x], { permutation })
}

/** `size` elements from `begin` along each axis; a size of -1 means all that are left. */
export function slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor {
  const whole = size.map((extent, axis) => (extent === -1 ? (x.shape[axis] ?? 0) - (begin[axis] ?? 0) : extent))
  return apply('slice', [x], { begin, size: whole })
}

/** `paddings` is [before, after] for each axis. */
export function pad(x: Tensor, paddings: readonly Pair[], value = 0): Tensor {
  return apply('pad', [x], { before: paddings.map((p) => p[0]), after: paddings.map((p) => p[1]), value })
}

export function concatenate(tensors: readonly Tensor[], axis: number): Tensor {
  const rank = tensors[0]?.shape.length ?? 0
  return apply('concatenate', tensors, { axis: axis < 0 ? axis + rank : axis })
}

/** Rows of x along the first axis, by u32 indices [n]; NaN where an index is out of range. */
export const gather = (x: Tensor, indices: Tensor): Tensor => apply('gather', [x, indices], {})

export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : apply('broadcast', [x], { shape })
}

/** Runs a user's own operator; see `CustomOp`. */
export const custom = (op: CustomOp, inputs: readonly Tensor[]): Tensor[] => applyAll('custom', inputs, { op })
