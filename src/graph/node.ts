/**
 * The typed node set. A traced computation is a graph of immutable nodes; a `Value` is one output of a node.
 *
 * `OpAttributes` lists every operator with its attributes: it is the one list that the shape rules (shapes.ts), the
 * lowering to kernels (lower.ts) and the derivatives (autograd/vjp.ts) must all cover; a missing entry does not compile.
 * Conventions: images NHWC, kernels HWIO, depthwise kernels [kh, kw, channels, multiplier], dense kernels [in, out].
 */

import type { BufferSlice, Device } from '../gpu/device.ts'
import type { BinaryKind, ElementwiseStep, TernaryKind, UnaryKind } from '../kernels/elementwise/elementwise.ts'
import type { DType, KernelPlan, Shape, Target } from '../kernels/kernel.ts'
import type { Augmentation } from '../kernels/training/gather-batch.ts'

export type { DType, Shape } from '../kernels/kernel.ts'
export type { Augmentation } from '../kernels/training/gather-batch.ts'

/** What an operator's shape rule and plan know of a tensor. */
export interface TensorType {
  /** Extents, whole numbers from 1. */
  readonly shape: Shape
  /** What its elements are. */
  readonly dtype: DType
}

/** Where a leaf's numbers live. The graph asks only when it runs. */
export interface Storage {
  /** The slice on `device`, uploading first if the numbers are still on the host. Throws 'disposed'. */
  on(device: Device): BufferSlice
  /** The device the numbers live on already, if any. */
  readonly device: Device | undefined
  /** True where `on` makes a temporary copy that the caller must release after the run. */
  readonly transient: boolean
}

/** [vertical, horizontal], or [before, after]. */
export type Pair = readonly [number, number]
/** Functions that kernels apply to their results before writing them. */
export type Activation = 'linear' | 'relu' | 'sigmoid' | 'tanh'

/** A window sliding over an image, with the padding already worked out. */
export interface WindowAttributes {
  readonly strides: Pair
  readonly padTop: number
  readonly padLeft: number
  readonly outHeight: number
  readonly outWidth: number
}

export interface ConvAttributes extends WindowAttributes {
  readonly dilation: Pair
}

export interface PoolAttributes extends WindowAttributes {
  readonly window: Pair
}

/** An operator that a user brings: its shapes, its kernels and its derivative. */
export interface CustomOp {
  readonly name: string
  /** The outputs' types; throws 'shape' for inputs that do not fit. */
  shape(inputs: readonly TensorType[]): readonly TensorType[]
  plan(inputs: readonly TensorType[], outputs: readonly TensorType[], target: Target): KernelPlan
  /** Cotangents of the inputs, given those of the outputs (undefined where an output was not used). */
  vjp?(
    inputs: readonly Value[],
    outputs: readonly Value[],
    cotangents: readonly (Value | undefined)[],
  ): readonly (Value | undefined)[]
}

type NoAttributes = Readonly<Record<never, never>>
type Elementwise = { readonly [K in Exclude<UnaryKind, 'clip'> | BinaryKind | TernaryKind]: NoAttributes }

export interface OpAttributes extends Elementwise {
  /** Numbers that are there already: a parameter, a data set, an input. */
  readonly leaf: { readonly storage: Storage; readonly type: TensorType }
  /** One number, of shape []. */
  readonly constant: { readonly value: number }
  readonly clip: { readonly min: number; readonly max: number }
  /** A chain of elementwise work in one kernel; made by fusion. */
  readonly fused: { readonly steps: readonly ElementwiseStep[]; readonly shape: Shape; readonly dtype: DType }
  readonly broadcast: { readonly shape: Shape }
  readonly reshape: { readonly shape: Shape }
  readonly transpose: { readonly permutation: readonly number[] }
  readonly slice: { readonly begin: readonly number[]; readonly size: readonly number[] }
  readonly pad: { readonly before: readonly number[]; readonly after: readonly number[]; readonly value: number }
  readonly concatenate: { readonly axis: number }
  /** Reductions drop the axes. */
  readonly sum: { readonly axes: readonly number[]; readonly scale: number }
  readonly max: { readonly axes: readonly number[] }
  readonly min: { readonly axes: readonly number[] }
  readonly argmax: { readonly axis: number }
  /** [..., m, k] x [..., k, n] of equal batch extents; an operand of rank 2 serves every batch. */
  readonly matmul: { readonly transposeA: boolean; readonly transposeB: boolean }
  /** Inputs a, b and a mask of the result's shape: 0 where the mask is not positive. Rank 2; made by fusion. */
  readonly maskedMatmul: { readonly transposeA: boolean; readonly transposeB: boolean }
  /** Outputs the product of a and b [k, n], and the sums of b's columns. Rank 2; made by fusion. */
  readonly matmulWithColumnSums: { readonly transposeA: boolean }
  /** Inputs x [..., in], kernel [in, out], and maybe bias [out]. */
  readonly dense: { readonly activation: Activation }
  /** Inputs x, kernel, and maybe bias. */
  readonly conv2d: ConvAttributes & { readonly activation: Activation }
  /** Inputs dy, kernel. */
  readonly conv2dInputGradient: ConvAttributes & { readonly inputHeight: number; readonly inputWidth: number }
  /** Inputs x, dy. */
  readonly conv2dFilterGradient: ConvAttributes & { readonly kernelHeight: number; readonly kernelWidth: number }
  /**
   * Convolution, bias, activation and 2x2 max-pooling; made by fusion. The extents are those of the convolution. Outputs
   * the pooled numbers and u32 codes that say where each came from (see kernels/conv2d/quad/pooled.ts).
   */
  readonly conv2dPool: ConvAttributes & { readonly activation: 'relu' | 'linear' }
  /** Inputs dy (pooled), codes, kernel. */
  readonly conv2dPoolInputGradient: ConvAttributes & { readonly inputHeight: number; readonly inputWidth: number }
  /** Inputs x, dy (pooled), codes; outputs the gradients of kernel and bias. */
  readonly conv2dPoolFilterGradient: ConvAttributes & { readonly kernelHeight: number; readonly kernelWidth: number }
  readonly depthwiseConv2d: ConvAttributes
  /** Inputs dy, kernel. */
  readonly depthwiseConv2dInputGradient: ConvAttributes & { readonly inputHeight: number; readonly inputWidth: number }
  /** Inputs x, dy. */
  readonly depthwiseConv2dFilterGradient: ConvAttributes & {
    readonly kernelHeight: number
    readonly kernelWidth: number
  }
  /** Outputs the maxima and, as u32, which position of the window was the first to reach each. */
  readonly maxPool: PoolAttributes
  /** Inputs dy, positions. */
  readonly maxPoolGradient: PoolAttributes & { readonly inputHeight: number; readonly inputWidth: number }
  /** Inputs x, positions; outputs x at those positions. */
  readonly maxPoolGather: PoolAttributes
  readonly averagePool: PoolAttributes
  readonly averagePoolGradient: PoolAttributes & { readonly inputHeight: number; readonly inputWidth: number }
  /** Bilinear, pixel centres at halves. */
  readonly resize: { readonly outHeight: number; readonly outWidth: number }
  readonly resizeGradient: { readonly inputHeight: number; readonly inputWidth: number }
  /** Over the last axis. */
  readonly softmax: NoAttributes
  readonly logSoftmax: NoAttributes
  /** Inputs logits [rows, classes] and labels (u32 [rows], or f32 [rows, classes]); output the loss of each row. */
  readonly crossEntropy: NoAttributes
  /** Outputs the loss of each row and the gradient of the logits, `scale` being that of each loss; made by fusion. */
  readonly crossEntropyWithGradient: { readonly scale: number }
  /** Inputs logits, labels, cotangent [rows]. */
  readonly crossEntropyGradient: NoAttributes
  /** Inputs x and a u32 counter; the same counter gives the same mask. */
  readonly dropout: { readonly rate: number; readonly seed: number; readonly stream: number }
  /** Rows of x picked by u32 indices along the first axis. */
  readonly gather: NoAttributes
  /** Inputs dy, indices. */
  readonly gatherGradient: { readonly rows: number }
  /**
   * Inputs data set (u8 [n, h, w, c]), permutation (u32), training state (u32), labels (u32 [n]); outputs a padded,
   * scaled batch of images, and its labels (u32).
   */
  readonly gatherBatch: {
    readonly batch: number
    readonly padTop: number
    readonly padLeft: number
    readonly outHeight: number
    readonly outWidth: number
    readonly divisor: number
    readonly augmentation?: Augmentation
  }
  readonly custom: { readonly op: CustomOp }
}

export type OpKind = keyof OpAttributes & string

export interface NodeOf<K extends OpKind> {
  /** Grows with every node made: inputs have smaller numbers than the nodes that use them. */
  readonly id: number
  readonly kind: K
  readonly attributes: OpAttributes[K]
  readonly inputs: readonly Value[]
  readonly outputs: readonly TensorType[]
}

/** A node of some kind, as a discriminated union. */
export type Node = { [K in OpKind]: NodeOf<K> }[OpKind]

export interface Value {
  readonly node: Node
  readonly index: number
  readonly type: TensorType
}

export function shapeText(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis])
}

/** One output of a node. */
export function outputOf(node: Node, index = 0): Value {
  const type = node.outputs[index]
  if (type === undefined) throw new RangeError(`${node.kind} has no output ${index}`)
  return { node, index, type }
}

/** The nodes that `outputs` depend on, each after its inputs. Iterative, so that long chains do not exhaust the stack. */
export function topologicalOrder(outputs: readonly Value[]): Node[] {
  const reached = new Map<number, Node>()
  const open = outputs.map((value) => value.node)
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (reached.has(node.id)) continue
    reached.set(node.id, node)
    for (const value of node.inputs) open.push(value.node)
  }
  return [...reached.values()].sort((a, b) => a.id - b.id)
}
