/**
 * Shape inference: for every operator, the types of its outputs, or a 'shape' error that names the operator, the shapes
 * it was given, and what it expects. `makeNode` is the only way to make a node, so every node has been checked.
 */

import { WeftgradError } from '../errors.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { DType, Node, NodeOf, OpAttributes, OpKind, Shape, TensorType, Value, WindowAttributes } from './node.ts'
import { sameShape, shapeText } from './node.ts'

type ShapeRule<K extends OpKind> = (inputs: readonly TensorType[], attributes: OpAttributes[K]) => readonly TensorType[]

let nextId = 0

/** Makes a node after checking its inputs. Throws 'shape' or 'argument'; nothing is made then. */
export function makeNode<K extends OpKind>(kind: K, inputs: readonly Value[], attributes: OpAttributes[K]): NodeOf<K> {
  const rule: ShapeRule<K> = shapeRules[kind]
  const outputs = rule(
    inputs.map((value) => value.type),
    attributes,
  )
  for (const { shape } of outputs) {
    if (shape.some((extent) => !Number.isInteger(extent) || extent < 1)) {
      throw new WeftgradError(
        'shape',
        `${kind}: ${shapeText(shape)} has an extent that is not a positive whole number.`,
        {
          shape,
        },
      )
    }
  }
  return { id: nextId++, kind, attributes, inputs, outputs }
}

function refuse(operator: string, inputs: readonly TensorType[], expected: string): never {
  const shapes = inputs.map((t) => (t.dtype === 'f32' ? shapeText(t.shape) : `${t.dtype}${shapeText(t.shape)}`))
  throw new WeftgradError('shape', `${operator}: got ${shapes.join(' and ') || 'nothing'}; ${expected}.`, {
    operator,
    shapes: inputs.map((t) => t.shape),
  })
}

const f32 = (shape: Shape): TensorType => ({ shape, dtype: 'f32' })
const u32 = (shape: Shape): TensorType => ({ shape, dtype: 'u32' })

/** Checks the number, the dtypes and, where given, the ranks of an operator's inputs. */
function take(
  operator: string,
  inputs: readonly TensorType[],
  wanted: readonly { dtype?: DType; rank?: number }[],
): readonly TensorType[] {
  const names = wanted.map(({ dtype = 'f32', rank }) => `${dtype}${rank === undefined ? '' : ` of rank ${rank}`}`)
  const fits =
    inputs.length === wanted.length &&
    wanted.every(({ dtype = 'f32', rank }, i) => {
      const type = inputs[i]
      return type !== undefined && type.dtype === dtype && (rank === undefined || type.shape.length === rank)
    })
  if (!fits) refuse(operator, inputs, `it takes ${names.join(', ')}`)
  return inputs
}

/** Numpy's broadcasting. Throws 'shape'. */
export function broadcastShapes(operator: string, types: readonly TensorType[]): Shape {
  const shape = broadcast(types.map((t) => t.shape))
  return shape ?? refuse(operator, types, 'extents must be equal or 1, counted from the last axis')
}

/** The batch extents of a product of matrices, those of both operands broadcast. Throws 'shape'. */
export function productBatch(operands: readonly TensorType[]): Shape {
  return broadcast(operands.map(({ shape }) => shape.slice(0, -2))) ?? refuse('matmul', operands, products)
}

const products = 'it takes [..., m, k] and [..., k, n], whose batch extents must be equal or 1'

/** Undefined for shapes that do not broadcast. */
function broadcast(shapes: readonly Shape[]): Shape | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length))
  const extents = Array.from({ length: rank }, (_, axis) => shapes.map((s) => s[s.length - rank + axis] ?? 1))
  const shape = extents.map((own) => own.find((extent) => extent !== 1) ?? 1)
  const fits = extents.every((own, axis) => own.every((extent) => extent === 1 || extent === shape[axis]))
  return fits ? shape : undefined
}

function elementwise(kind: OpKind, count: number): (inputs: readonly TensorType[]) => readonly TensorType[] {
  return (inputs) => {
    take(kind, inputs, new Array(count).fill({}))
    return [f32(broadcastShapes(kind, inputs))]
  }
}

function reduction(
  kind: OpKind,
): (inputs: readonly TensorType[], attributes: { axes: readonly number[] }) => TensorType[] {
  return (inputs, { axes }) => {
    const [x] = take(kind, inputs, [{}])
    const shape = x?.shape ?? []
    axes.forEach((axis, i) => {
      const previous = axes[i - 1] ?? -1
      if (!Number.isInteger(axis) || axis <= previous || axis >= shape.length)
        refuse(kind, inputs, `axes [${axes.join(', ')}] must be different axes of it, in order`)
    })
    return [f32(shape.filter((_, axis) => !axes.includes(axis)))]
  }
}

function image(
  kind: OpKind,
  inputs: readonly TensorType[],
  type: TensorType | undefined,
): [number, number, number, number] {
  const [batch, height, width, channels, ...rest] = type?.shape ?? []
  if (batch === undefined || height === undefined || width === undefined || channels === undefined || rest.length > 0)
    refuse(kind, inputs, 'images are [batch, height, width, channels]')
  return [batch, height, width, channels]
}

function checkWindow(kind: OpKind, inputs: readonly TensorType[], a: WindowAttributes): void {
  if (!(a.outHeight >= 1 && a.outWidth >= 1))
    refuse(kind, inputs, "the window does not fit into the image; use padding 'same', or a smaller window")
}

const shapeRules: { readonly [K in OpKind]: ShapeRule<K> } = {
  leaf: (_, { type }) => [type],
  constant: () => [f32([])],

  neg: elementwise('neg', 1),
  abs: elementwise('abs', 1),
  sign: elementwise('sign', 1),
  exp: elementwise('exp', 1),
  log: elementwise('log', 1),
  sqrt: elementwise('sqrt', 1),
  square: elementwise('square', 1),
  reciprocal: elementwise('reciprocal', 1),
  sigmoid: elementwise('sigmoid', 1),
  tanh: elementwise('tanh', 1),
  relu: elementwise('relu', 1),
  copy: ([x, ...rest]) => (x === undefined || rest.length > 0 ? refuse('copy', rest, 'it takes one tensor') : [x]),
  toF32: (inputs) => {
    const [x] = take('toF32', inputs, [{ dtype: 'u32' }])
    return [f32(x?.shape ?? [])]
  },
  toU32: (inputs) => {
    const [x] = take('toU32', inputs, [{}])
    return [u32(x?.shape ?? [])]
  },
  clip: (inputs, { min, max }) => {
    if (!(min <= max))
      throw new WeftgradError('argument', `clip: min ${min} must not be above max ${max}.`, { min, max })
    return elementwise('clip', 1)(inputs)
  },
  add: elementwise('add', 2),
  sub: elementwise('sub', 2),
  mul: elementwise('mul', 2),
  div: elementwise('div', 2),
  pow: elementwise('pow', 2),
  maximum: elementwise('maximum', 2),
  minimum: elementwise('minimum', 2),
  greater: elementwise('greater', 2),
  greaterEqual: elementwise('greaterEqual', 2),
  less: elementwise('less', 2),
  lessEqual: elementwise('lessEqual', 2),
  equal: elementwise('equal', 2),
  where: elementwise('where', 3),
  fused: (_, { shape, dtype }) => [{ shape, dtype }],

  broadcast: (inputs, { shape }) => {
    const [x, ...rest] = inputs
    if (x === undefined || rest.length > 0) refuse('broadcast', inputs, 'it takes one tensor')
    if (!sameShape(broadcastShapes('broadcastTo', [x, f32(shape)]), shape))
      refuse('broadcastTo', inputs, `it cannot be broadcast to ${shapeText(shape)}`)
    return [{ shape, dtype: x.dtype }]
  },
  reshape: (inputs, { shape }) => {
    const [x, ...rest] = inputs
    if (x === undefined || rest.length > 0 || elementCount(x.shape) !== elementCount(shape))
      refuse('reshape', inputs, `it cannot become ${shapeText(shape)}, which has another number of elements`)
    return [{ shape, dtype: x.dtype }]
  },
  transpose: (inputs, { permutation }) => {
    const [x, ...rest] = inputs
    const sorted = [...permutation].sort((a, b) => a - b)
    if (x === undefined || rest.length > 0 || sorted.length !== x.shape.length || sorted.some((axis, i) => axis !== i))
      refuse('transpose', inputs, `[${permutation.join(', ')}] must name each axis once`)
    return [{ shape: permutation.map((axis) => x.shape[axis] ?? 1), dtype: x.dtype }]
  },
  slice: (inputs, { begin, size }) => {
    const [x, ...rest] = inputs
    const fits =
      x !== undefined &&
      rest.length === 0 &&
      begin.length === x.shape.length &&
      size.length === x.shape.length &&
      x.shape.every((extent, axis) => {
        const [from = 0, length = 0] = [begin[axis], size[axis]]
        return Number.isInteger(from) && Number.isInteger(length) && from >= 0 && length >= 1 && from + length <= extent
      })
    if (!fits) refuse('slice', inputs, `begin ${shapeText(begin)} and size ${shapeText(size)} must lie within it`)
    return [{ shape: size, dtype: x.dtype }]
  },
  pad: (inputs, { before, after }) => {
    const [x] = take('pad', inputs, [{}])
    const shape = x?.shape ?? []
    const fits = [before, after].every(
      (p) => p.length === shape.length && p.every((extent) => Number.isInteger(extent) && extent >= 0),
    )
    if (!fits) refuse('pad', inputs, 'paddings are whole numbers from 0, two for each axis')
    return [f32(shape.map((extent, axis) => extent + (before[axis] ?? 0) + (after[axis] ?? 0)))]
  },
  concatenate: (inputs, { axis }) => {
    const [first] = inputs
    if (first === undefined) refuse('concatenate', inputs, 'it takes at least one tensor')
    const fits =
      axis >= 0 &&
      axis < first.shape.length &&
      inputs.every(
        (t) =>
          t.dtype === first.dtype &&
          t.shape.length === first.shape.length &&
          t.shape.every((extent, i) => i === axis || extent === first.shape[i]),
      )
    if (!fits) refuse('concatenate', inputs, `shapes may differ along axis ${axis} only`)
    const total = inputs.reduce((sum, t) => sum + (t.shape[axis] ?? 0), 0)
    return [{ shape: first.shape.map((extent, i) => (i === axis ? total : extent)), dtype: first.dtype }]
  },

  sum: reduction('sum'),
  max: reduction('max'),
  min: reduction('min'),
  argmax: (inputs, { axis }) => {
    const [x] = take('argmax', inputs, [{}])
    const shape = x?.shape ?? []
    if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length)
      refuse('argmax', inputs, `axis ${axis} must be one of its axes`)
    return [u32(shape.filter((_, i) => i !== axis))]
  },

  matmul: (inputs, { transposeA, transposeB }) => {
    const [a, b] = take('matmul', inputs, [{}, {}])
    const [left, right] = [a?.shape ?? [], b?.shape ?? []]
    if (left.length < 2 || right.length < 2) refuse('matmul', inputs, products)
    const [m, k] = lastTwo(left, transposeA)
    const [k2, n] = lastTwo(right, transposeB)
    const [batchA, batchB] = [left.slice(0, -2), right.slice(0, -2)]
    if (k !== k2 || (batchA.length > 0 && batchB.length > 0 && !sameShape(batchA, batchB)))
      refuse('matmul', inputs, products)
    return [f32([...(batchA.length > 0 ? batchA : batchB), m, n])]
  },
  maskedMatmul: (inputs) => [f32(inputs[2]?.shape ?? [])],
  matmulWithColumnSums: (inputs, { transposeA }) => {
    const [m] = lastTwo(inputs[0]?.shape ?? [], transposeA)
    const n = inputs[1]?.shape[1] ?? 0
    return [f32([m, n]), f32([n])]
  },
  dense: (inputs) => {
    const [x, kernel, bias] =
      inputs.length === 3
        ? take('dense', inputs, [{}, { rank: 2 }, { rank: 1 }])
        : take('dense', inputs, [{}, { rank: 2 }])
    const [features, units = 0] = kernel?.shape ?? []
    const shape = x?.shape ?? []
    if (shape.length < 2 || shape.at(-1) !== features || (bias !== undefined && bias.shape[0] !== units))
      refuse('dense', inputs, 'it takes [..., in], [in, out] and maybe [out]')
    return [f32([...shape.slice(0, -1), units])]
  },

  conv2d: (inputs, attributes) => {
    if (inputs.length === 3) take('conv2d', inputs, [{ rank: 4 }, { rank: 4 }, { rank: 1 }])
    else take('conv2d', inputs, [{ rank: 4 }, { rank: 4 }])
    const [batch, , , channels] = image('conv2d', inputs, inputs[0])
    const [, , inChannels, filters = 0] = inputs[1]?.shape ?? []
    const bias = inputs[2]
    if (channels !== inChannels) refuse('conv2d', inputs, 'the kernel is [height, width, input channels, filters]')
    if (bias !== undefined && bias.shape[0] !== filters) refuse('conv2d', inputs, 'the bias has one number a filter')
    checkWindow('conv2d', inputs, attributes)
    return [f32([batch, attributes.outHeight, attributes.outWidth, filters])]
  },
  conv2dInputGradient: (inputs, a) => {
    const [dy, kernel] = take('conv2dInputGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([dy?.shape[0] ?? 0, a.inputHeight, a.inputWidth, kernel?.shape[2] ?? 0])]
  },
  conv2dFilterGradient: (inputs, a) => {
    const [x, dy] = take('conv2dFilterGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([a.kernelHeight, a.kernelWidth, x?.shape[3] ?? 0, dy?.shape[3] ?? 0])]
  },
  conv2dPool: (inputs, a) => {
    const shape = [inputs[0]?.shape[0] ?? 0, a.outHeight >> 1, a.outWidth >> 1, inputs[1]?.shape[3] ?? 0]
    return [f32(shape), u32(shape)]
  },
  conv2dPoolInputGradient: (inputs, a) => [
    f32([inputs[0]?.shape[0] ?? 0, a.inputHeight, a.inputWidth, inputs[2]?.shape[2] ?? 0]),
  ],
  conv2dPoolFilterGradient: (inputs, a) => {
    const filters = inputs[1]?.shape[3] ?? 0
    return [f32([a.kernelHeight, a.kernelWidth, inputs[0]?.shape[3] ?? 0, filters]), f32([filters])]
  },
  depthwiseConv2d: (inputs, attributes) => {
    take('depthwiseConv2d', inputs, [{ rank: 4 }, { rank: 4 }])
    const [batch, , , channels] = image('depthwiseConv2d', inputs, inputs[0])
    const [, , inChannels, multiplier = 0] = inputs[1]?.shape ?? []
    if (channels !== inChannels)
      refuse('depthwiseConv2d', inputs, 'the kernel is [height, width, channels, multiplier]')
    checkWindow('depthwiseConv2d', inputs, attributes)
    return [f32([batch, attributes.outHeight, attributes.outWidth, channels * multiplier])]
  },
  depthwiseConv2dInputGradient: (inputs, a) => {
    const [dy, kernel] = take('depthwiseConv2dInputGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    return [f32([dy?.shape[0] ?? 0, a.inputHeight, a.inputWidth, kernel?.shape[2] ?? 0])]
  },
  depthwiseConv2dFilterGradient: (inputs, a) => {
    const [x, dy] = take('depthwiseConv2dFilterGradient', inputs, [{ rank: 4 }, { rank: 4 }])
    const channels = x?.shape[3] ?? 1
    return [f32([a.kernelHeight, a.kernelWidth, channels, (dy?.shape[3] ?? 0) / channels])]
  },

  maxPool: (inputs, attributes) => {
    take('maxPool', inputs, [{ rank: 4 }])
    const [batch, , , channels] = image('maxPool', inputs, inputs[0])
    checkWindow('maxPool', inputs, attributes)
    const shape = [batch, attributes.outHeight, attributes.outWidth, channels]
    return [f32(shape), u32(shape)]
  },
  maxPoolGradient: (inputs, a) => {
    const [dy] = take('maxPoolGradient', inputs, [{ rank: 4 }, { dtype: 'u32', rank: 4 }])
    return [f32([dy?.shape[0] ?? 0, a.inputHeight, a.inputWidth, dy?.shape[3] ?? 0])]
  },
  maxPoolGather: (inputs) => {
    const [, positions] = take('maxPoolGather', inputs, [{ rank: 4 }, { dtype: 'u32', rank: 4 }])
    return [f32(positions?.shape ?? [])]
  },
  averagePool: (inputs, attributes) => {
    take('averagePool', inputs, [{ rank: 4 }])
    const [batch, , , channels] = image('averagePool', inputs, inputs[0])
    checkWindow('averagePool', inputs, attributes)
    return [f32([batch, attributes.outHeight, attributes.outWidth, channels])]
  },
  averagePoolGradient: (inputs, a) => {
    const [dy] = take('averagePoolGradient', inputs, [{ rank: 4 }])
    return [f32([dy?.shape[0] ?? 0, a.inputHeight, a.inputWidth, dy?.shape[3] ?? 0])]
  },

  resize: (inputs, { outHeight, outWidth }) => {
    const [x] = take('resize', inputs, [{ rank: 4 }])
    const [batch, , , channels] = image('resize', inputs, x)
    return [f32([batch, outHeight, outWidth, channels])]
  },
  resizeGradient: (inputs, { inputHeight, inputWidth }) => {
    const [dy] = take('resizeGradient', inputs, [{ rank: 4 }])
    return [f32([dy?.shape[0] ?? 0, inputHeight, inputWidth, dy?.shape[3] ?? 0])]
  },

  softmax: (inputs) => lastAxis('softmax', inputs),
  logSoftmax: (inputs) => lastAxis('logSoftmax', inputs),
  crossEntropy: (inputs) => [f32([checkLabels('softmaxCrossEntropy', inputs)])],
  crossEntropyWithGradient: (inputs) => [
    f32([checkLabels('softmaxCrossEntropy', inputs)]),
    f32(inputs[0]?.shape ?? []),
  ],
  crossEntropyGradient: (inputs) => {
    const [logits] = inputs
    checkLabels('crossEntropyGradient', inputs.slice(0, 2))
    return [f32(logits?.shape ?? [])]
  },
  dropout: (inputs) => {
    const [x] = take('dropout', inputs, [{}, { dtype: 'u32' }])
    return [f32(x?.shape ?? [])]
  },

  gather: (inputs) => {
    const [x, indices] = inputs
    if (
      x === undefined ||
      x.dtype === 'u8' ||
      x.shape.length < 1 ||
      indices?.dtype !== 'u32' ||
      indices.shape.length !== 1
    )
      refuse('gather', inputs, 'it takes a tensor of at least one axis and u32 indices [n]')
    return [{ shape: [indices.shape[0] ?? 0, ...x.shape.slice(1)], dtype: x.dtype }]
  },
  gatherGradient: (inputs, { rows }) => {
    const [dy] = take('gatherGradient', inputs, [{}, { dtype: 'u32', rank: 1 }])
    return [f32([rows, ...(dy?.shape.slice(1) ?? [])])]
  },
  gatherBatch: (inputs, a) => {
    const [images, , , labels] = take('gatherBatch', inputs, [
      { dtype: 'u8', rank: 4 },
      { dtype: 'u32', rank: 1 },
      { dtype: 'u32', rank: 1 },
      { dtype: 'u32', rank: 1 },
    ])
    const [count, height, width, channels] = image('gatherBatch', inputs, images)
    if (labels?.shape[0] !== count) refuse('gatherBatch', inputs, 'it takes one label an image')
    if (a.outHeight < height + a.padTop || a.outWidth < width + a.padLeft)
      refuse('gatherBatch', inputs, `the padded images of ${a.outHeight}x${a.outWidth} do not hold them`)
    return [f32([a.batch, a.outHeight, a.outWidth, channels]), u32([a.batch])]
  },
  custom: (inputs, { op }) => op.shape(inputs),
}

function lastTwo(shape: Shape, transposed: boolean): [number, number] {
  const [rows = 0, columns = 0] = shape.slice(-2)
  return transposed ? [columns, rows] : [rows, columns]
}

function lastAxis(operator: string, inputs: readonly TensorType[]): TensorType[] {
  const [x] = take(operator, inputs, [{}])
  const shape = x?.shape ?? []
  if (shape.length < 1) refuse(operator, inputs, 'it needs at least one axis')
  return [f32(shape)]
}

function checkLabels(operator: string, inputs: readonly TensorType[]): number {
  const [logits, labels] = inputs
  const rows = logits?.shape[0]
  const fits =
    logits?.dtype === 'f32' &&
    logits.shape.length === 2 &&
    rows !== undefined &&
    (labels?.dtype === 'u32'
      ? sameShape(labels.shape, [rows])
      : labels?.dtype === 'f32' && sameShape(labels.shape, logits.shape))
  if (!fits) refuse(operator, inputs, 'it takes logits [rows, classes] with labels u32 [rows] or f32 [rows, classes]')
  return rows
}

/** True for a node of this kind; narrows the union. */
export function isKind<K extends OpKind>(node: Node, kind: K): node is Extract<Node, { kind: K }> {
  return node.kind === kind
}
