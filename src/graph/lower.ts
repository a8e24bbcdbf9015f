/** From a node to its kernels: one entry an operator, from the node's shapes and attributes to a family's key. */

import { WeftgradError } from '../errors.ts'
import type { Conv2dKey } from '../kernels/conv2d/conv2d.ts'
import { conv2dFilterGradient, conv2dForward, conv2dInputGradient } from '../kernels/conv2d/conv2d.ts'
import type { Conv2dPoolKey } from '../kernels/conv2d/quad/pooled.ts'
import { conv2dPool, conv2dPoolFilterGradient, conv2dPoolInputGradient } from '../kernels/conv2d/quad/pooled.ts'
import type { ElementwiseKey, ElementwiseStep } from '../kernels/elementwise/elementwise.ts'
import { elementwise } from '../kernels/elementwise/elementwise.ts'
import type { KernelPlan } from '../kernels/kernel.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { MatmulKey } from '../kernels/matmul/matmul.ts'
import { matmul } from '../kernels/matmul/matmul.ts'
import { pad, slice } from '../kernels/movement/copy.ts'
import type { PoolKey } from '../kernels/pool/frame.ts'
import { maxPoolGradient } from '../kernels/pool/gradient.ts'
import { maxPool, maxPoolGather } from '../kernels/pool/pool.ts'
import { reduce } from '../kernels/reduce/reduce.ts'
import type { CrossEntropyKey } from '../kernels/reduce/softmax.ts'
import { crossEntropy, crossEntropyGradient, crossEntropyWithGradient, softmax } from '../kernels/reduce/softmax.ts'
import { gatherBatch } from '../kernels/training/gather-batch.ts'
import type * as carriedTables from './lower-carried.ts'
import type {
  ConvAttributes,
  Node,
  NodeOf,
  OpKind,
  PoolAttributes,
  Shape,
  TensorType,
  WindowAttributes,
} from './node.ts'
import type { KernelChooser } from './plan/choice.ts'

type Lowering<K extends OpKind> = (node: NodeOf<K>, chooser: KernelChooser) => KernelPlan
/** The kernels of these operators. */
export type Lowerings<Kinds extends OpKind> = { readonly [K in Kinds]: Lowering<K> }

type Tables = typeof carriedTables
/** Operators whose kernels stand in lower-carried.ts. */
type CarriedKind = { [Name in keyof Tables]: keyof Tables[Name] }[keyof Tables]

/** Makes kernels known, which must be done before a node of theirs is planned. */
export function carry(kernels: Partial<Lowerings<CarriedKind>>): void {
  Object.assign(lowerings, kernels)
}

/**
 * The kernels of a node. Leaves and reshapes have none and are not asked for. Throws 'argument' for a node whose kernels
 * nobody carried here.
 */
export function lowerNode(node: Node, chooser: KernelChooser): KernelPlan {
  const lowering = lowerings[node.kind] as Lowering<OpKind> | undefined
  if (lowering === undefined)
    throw new WeftgradError(
      'argument',
      `${node.kind}: its kernels are not here; make the node by its own function instead of \`apply\`.`,
    )
  return lowering(node as NodeOf<OpKind>, chooser)
}

const inputType = (node: NodeOf<OpKind>, index: number): TensorType => {
  const value = node.inputs[index]
  if (value === undefined) throw new RangeError(`${node.kind} has no input ${index}`)
  return value.type
}
export const inputShape = (node: NodeOf<OpKind>, index: number): Shape => inputType(node, index).shape
export const outputShape = (node: NodeOf<OpKind>): Shape => node.outputs[0]?.shape ?? []
const product = (shape: Shape): number => elementCount(shape)

function noKernel(node: NodeOf<OpKind>): never {
  throw new RangeError(`${node.kind} is not computed by a kernel`)
}

/** A single elementwise operator, as a chain of one step. */
function single(node: NodeOf<OpKind>, chooser: KernelChooser): KernelPlan {
  const count = node.inputs.length
  const reads = Array.from({ length: count }, (_, index): ElementwiseStep => ({ kind: 'input', index }))
  const step = { kind: node.kind, args: reads.map((_, i) => i), ...node.attributes } as ElementwiseStep
  return chain(node, [...reads, step], chooser)
}

function chain(node: NodeOf<OpKind>, steps: readonly ElementwiseStep[], chooser: KernelChooser): KernelPlan {
  const dtype = node.outputs[0]?.dtype
  const key: ElementwiseKey = {
    shape: outputShape(node),
    inputs: node.inputs.map((value) => value.type),
    steps,
    output: dtype === 'u32' ? 'u32' : 'f32',
  }
  return chooser.plan(elementwise, key)
}

function convKey(
  a: ConvAttributes,
  image: Shape,
  kernel: Shape,
  filters: number,
  extra: Pick<Conv2dKey, 'bias' | 'activation'>,
): Conv2dKey {
  const [batch = 0, inputHeight = 0, inputWidth = 0, channels = 0] = image
  const [kernelHeight = 0, kernelWidth = 0] = kernel
  const { strides, dilation, padTop, padLeft, outHeight, outWidth } = a
  const window = { strides, dilation, padTop, padLeft, outHeight, outWidth }
  return { batch, inputHeight, inputWidth, channels, kernelHeight, kernelWidth, filters, ...window, ...extra }
}

/** Codes say where relu cut off, so the gradients need not know of it. */
function poolConvKey(
  node: NodeOf<'conv2dPool' | 'conv2dPoolInputGradient' | 'conv2dPoolFilterGradient'>,
  image: Shape,
  kernel: Shape,
): Conv2dPoolKey {
  return { ...convKey(node.attributes, image, kernel, kernel[3] ?? 0, plainImage), activation: 'linear' }
}

/** The key of a pooling of images of this shape. */
export function poolKey(a: PoolAttributes & WindowAttributes, image: Shape): PoolKey {
  const [batch = 0, inputHeight = 0, inputWidth = 0, channels = 0] = image
  const { strides, padTop, padLeft, outHeight, outWidth } = a
  const [kernelHeight, kernelWidth] = a.window
  const window = { kernelHeight, kernelWidth, strides, dilation: [1, 1], padTop, padLeft, outHeight, outWidth } as const
  return { batch, inputHeight, inputWidth, channels, ...window }
}

/** The image that a gradient has the shape of. */
export function imageOf(gradient: Shape, a: { inputHeight: number; inputWidth: number }, channels: number): Shape {
  return [gradient[0] ?? 0, a.inputHeight, a.inputWidth, channels]
}

function labelsKey(node: NodeOf<OpKind>): CrossEntropyKey {
  const [rows = 0, classes = 0] = inputShape(node, 0)
  return { rows, classes, labels: inputType(node, 1).dtype === 'u32' ? 'sparse' : 'dense' }
}

function softmaxPlan(node: NodeOf<OpKind>, log: boolean, chooser: KernelChooser): KernelPlan {
  const shape = inputShape(node, 0)
  const classes = shape.at(-1) ?? 1
  return chooser.plan(softmax, { rows: product(shape) / classes, classes, log })
}

/** The key of a product of two matrices. */
export function plainProduct(node: NodeOf<OpKind>, transposeA: boolean, transposeB: boolean): MatmulKey {
  const [a, b] = [inputShape(node, 0), inputShape(node, 1)]
  const m = a.at(transposeA ? -1 : -2) ?? 0
  const k = a.at(transposeA ? -2 : -1) ?? 0
  const n = b.at(transposeB ? -2 : -1) ?? 0
  const single = { batch: 1, batchedA: false, batchedB: false, bias: false, activation: 'linear' } as const
  return { ...single, m, n, k, transposeA, transposeB }
}

const plainImage = { bias: false, activation: 'linear' } as const

const lowerings: Lowerings<Exclude<OpKind, CarriedKind>> & Partial<Lowerings<CarriedKind>> = {
  leaf: noKernel,
  reshape: noKernel,
  constant: (node, chooser) => chain(node, [{ kind: 'constant', value: node.attributes.value }], chooser),

  neg: single,
  abs: single,
  sign: single,
  exp: single,
  log: single,
  sqrt: single,
  square: single,
  reciprocal: single,
  sigmoid: single,
  tanh: single,
  relu: single,
  clip: single,
  copy: single,
  toF32: single,
  toU32: single,
  add: single,
  sub: single,
  mul: single,
  div: single,
  pow: single,
  maximum: single,
  minimum: single,
  greater: single,
  greaterEqual: single,
  less: single,
  lessEqual: single,
  equal: single,
  where: single,
  fused: (node, chooser) => chain(node, node.attributes.steps, chooser),
  broadcast: (node, chooser) =>
    chain(
      node,
      [
        { kind: 'input', index: 0 },
        { kind: 'copy', args: [0] },
      ],
      chooser,
    ),

  slice: (node, chooser) => chooser.plan(slice, { shape: inputShape(node, 0), ...node.attributes }),
  pad: (node, chooser) => chooser.plan(pad, { shape: inputShape(node, 0), ...node.attributes }),

  sum: (node, chooser) => chooser.plan(reduce, { operation: 'sum', shape: inputShape(node, 0), ...node.attributes }),
  max: (node, chooser) => chooser.plan(reduce, { operation: 'max', shape: inputShape(node, 0), ...node.attributes }),
  min: (node, chooser) => chooser.plan(reduce, { operation: 'min', shape: inputShape(node, 0), ...node.attributes }),

  matmul: (node, chooser) => {
    const [a, b] = [inputShape(node, 0), inputShape(node, 1)]
    const { transposeA, transposeB } = node.attributes
    const [m = 0, n = 0] = outputShape(node).slice(-2)
    const k = a.at(transposeA ? -2 : -1) ?? 0
    const plain = { n, k, transposeA, transposeB, bias: false, activation: 'linear' } as const
    const batch = product(outputShape(node).slice(0, -2))
    // Rows of all batches against one right operand are one long matrix.
    if (b.length === 2 && !transposeA)
      return chooser.plan(matmul, { ...plain, batch: 1, m: batch * m, batchedA: false, batchedB: false })
    return chooser.plan(matmul, { ...plain, batch, m, batchedA: a.length > 2, batchedB: b.length > 2 })
  },
  maskedMatmul: (node, chooser) => {
    const { transposeA, transposeB } = node.attributes
    return chooser.plan(matmul, { ...plainProduct(node, transposeA, transposeB), mask: true })
  },
  matmulWithColumnSums: (node, chooser) =>
    chooser.plan(matmul, { ...plainProduct(node, node.attributes.transposeA, false), columnSums: true }),
  dense: (node, chooser) => {
    const [k = 0, n = 0] = inputShape(node, 1)
    return chooser.plan(matmul, {
      batch: 1,
      m: product(inputShape(node, 0)) / k,
      n,
      k,
      transposeA: false,
      transposeB: false,
      batchedA: false,
      batchedB: false,
      bias: node.inputs.length === 3,
      activation: node.attributes.activation,
    })
  },

  conv2d: (node, chooser) => {
    const kernel = inputShape(node, 1)
    const extra = { bias: node.inputs.length === 3, activation: node.attributes.activation }
    return chooser.plan(conv2dForward, convKey(node.attributes, inputShape(node, 0), kernel, kernel[3] ?? 0, extra))
  },
  conv2dInputGradient: (node, chooser) => {
    const kernel = inputShape(node, 1)
    const image = imageOf(inputShape(node, 0), node.attributes, kernel[2] ?? 0)
    return chooser.plan(conv2dInputGradient, convKey(node.attributes, image, kernel, kernel[3] ?? 0, plainImage))
  },
  conv2dFilterGradient: (node, chooser) => {
    const kernel = outputShape(node)
    const key = convKey(node.attributes, inputShape(node, 0), kernel, kernel[3] ?? 0, plainImage)
    return chooser.plan(conv2dFilterGradient, key)
  },
  conv2dPool: (node, chooser) => {
    const { activation } = node.attributes
    return chooser.plan(conv2dPool, {
      ...poolConvKey(node, inputShape(node, 0), inputShape(node, 1)),
      bias: node.inputs.length === 3,
      activation,
    })
  },
  conv2dPoolInputGradient: (node, chooser) =>
    chooser.plan(conv2dPoolInputGradient, poolConvKey(node, outputShape(node), inputShape(node, 2))),
  conv2dPoolFilterGradient: (node, chooser) =>
    chooser.plan(conv2dPoolFilterGradient, poolConvKey(node, inputShape(node, 0), outputShape(node))),

  maxPool: (node, chooser) => chooser.plan(maxPool, poolKey(node.attributes, inputShape(node, 0))),
  maxPoolGradient: (node, chooser) => {
    const gradient = inputShape(node, 0)
    return chooser.plan(maxPoolGradient, poolKey(node.attributes, imageOf(gradient, node.attributes, gradient[3] ?? 0)))
  },
  maxPoolGather: (node, chooser) => chooser.plan(maxPoolGather, poolKey(node.attributes, inputShape(node, 0))),

  softmax: (node, chooser) => softmaxPlan(node, false, chooser),
  logSoftmax: (node, chooser) => softmaxPlan(node, true, chooser),
  crossEntropy: (node, chooser) => chooser.plan(crossEntropy, labelsKey(node)),
  crossEntropyWithGradient: (node, chooser) => {
    const [rows = 0, classes = 0] = inputShape(node, 0)
    return chooser.plan(crossEntropyWithGradient, { rows, classes, scale: node.attributes.scale })
  },
  crossEntropyGradient: (node, chooser) => chooser.plan(crossEntropyGradient, labelsKey(node)),

  gatherBatch: (node, chooser) => {
    const [datasetCount = 0, height = 0, width = 0, channels = 0] = inputShape(node, 0)
    return chooser.plan(gatherBatch, { datasetCount, height, width, channels, ...node.attributes })
  },
  custom: (node, chooser) =>
    node.attributes.op.plan(
      node.inputs.map((value) => value.type),
      node.outputs,
      chooser.target,
    ),
}
