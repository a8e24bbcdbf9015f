/** TensorFlow's operations as layers: what each node of a graph becomes. Axes of constants and attributes count the batch. */

import { elementCount } from '../kernels/kernel.ts'
import type { LayerConfig } from '../nn/layers/registry.ts'
import type { GraphValue, NodeReader, PlaceValue, WeightSource } from './graph-node.ts'

/** Builds what a node computes. */
type Operation = (node: NodeReader) => GraphValue | Promise<GraphValue>

/** Functions that follow a fused product, as layers. */
const functions: Readonly<Record<string, string>> = {
  ...{ Relu: 'relu', Relu6: 'relu6', Elu: 'elu', Sigmoid: 'sigmoid', Tanh: 'tanh', Selu: 'selu', Softplus: 'softplus' },
}

const applied =
  (name: string): Operation =>
  (node) =>
    node.add('Activation', { activation: name }, [node.place(0)])

/** The two spatial numbers of a list for all four axes. */
function spatial(node: NodeReader, name: string): readonly [number, number] {
  const [batch = 1, height = 1, width = 1, channels = 1] = node.ints(name)
  if (batch !== 1 || channels !== 1) throw node.refused(`has ${name} ${node.ints(name)}`)
  return [height, width]
}

function windowSettings(node: NodeReader): LayerConfig {
  const format = node.text('data_format') ?? 'NHWC'
  if (format !== 'NHWC') throw node.refused(`has data_format ${format}`)
  const padding = node.text('padding') ?? 'VALID'
  const explicit = node.ints('explicit_paddings')
  const sides = [explicit.slice(2, 4), explicit.slice(4, 6)]
  if (!['SAME', 'VALID', 'EXPLICIT'].includes(padding)) throw node.refused(`has padding ${padding}`)
  return { strides: spatial(node, 'strides'), padding: padding === 'EXPLICIT' ? sides : padding.toLowerCase() }
}

/** The layer of a product, then the function that is fused with it. The bias, if there is one, is the third operand. */
function product(node: NodeReader, className: string, settings: LayerConfig, kernel: WeightSource): PlaceValue {
  const [bias, activation, ...more] = node.texts('fused_ops')
  if ((bias !== undefined && bias !== 'BiasAdd') || more.length > 0)
    throw node.refused(`fuses ${node.texts('fused_ops').join(', ')}`)
  const weights = bias === undefined ? [kernel] : [kernel, { constant: node.constant(2) }]
  const fused = activation !== undefined && Object.hasOwn(functions, activation) ? functions[activation] : undefined
  const config = { ...settings, use_bias: bias !== undefined, ...(fused === undefined ? {} : { activation: fused }) }
  const y = node.add(className, config, [node.place(0)], weights)
  if (activation === undefined || fused !== undefined) return y
  if (activation === 'LeakyRelu')
    return node.add('LeakyReLU', { negative_slope: node.number('leakyrelu_alpha', 0.2) }, [y], [], '/leaky')
  if (activation === 'Prelu') return preluOf(node, y, 3, '/prelu')
  throw node.refused(`fuses ${activation}`)
}

function preluOf(node: NodeReader, x: PlaceValue, slopes: number, part?: string): PlaceValue {
  const constant = node.constant(slopes)
  const shape = constant.shape.slice(constant.shape.length - x.shape.length)
  const sharedAxes = shape.flatMap((extent, i) => (extent === 1 ? i + 1 : []))
  return node.add('PReLU', { shared_axes: sharedAxes }, [x], [{ constant }], part)
}

const conv2d: Operation = (node) => {
  const constant = node.constant(1)
  const [height = 0, width = 0, , filters = 0] = constant.shape
  const dilation_rate = spatial(node, 'dilations')
  const groups = (node.place(0).shape.at(-1) ?? 0) / (constant.shape[2] ?? 0)
  const settings = { ...windowSettings(node), filters, kernel_size: [height, width], dilation_rate, groups }
  return product(node, 'Conv2D', settings, { constant })
}

const depthwise: Operation = (node) => {
  const constant = node.constant(1)
  const [height = 0, width = 0, , depth_multiplier = 0] = constant.shape
  const settings = { ...windowSettings(node), kernel_size: [height, width], depth_multiplier }
  return product(node, 'DepthwiseConv2D', { ...settings, dilation_rate: spatial(node, 'dilations') }, { constant })
}

const matmul: Operation = (node) => {
  const constant = node.constant(1)
  if (node.flag('transpose_a')) throw node.refused('transposes its input')
  const isTurned = node.flag('transpose_b')
  const units = constant.shape[isTurned ? 0 : 1] ?? 0
  return product(node, 'Dense', { units }, isTurned ? { constant, change: transposed } : { constant })
}

function transposed(numbers: Float32Array, [rows = 0, columns = 0]: readonly number[]): Float32Array {
  return numbers.map((_, i) => numbers[(i % rows) * columns + Math.floor(i / rows)] ?? 0)
}

const pool =
  (className: string): Operation =>
  (node) =>
    node.add(className, { ...windowSettings(node), pool_size: spatial(node, 'ksize') }, [node.place(0)])

/** Arithmetic of two layers' outputs, or of one and a number, or one number for each channel. */
function arithmetic(
  className: string | undefined,
  withNumbers: (numbers: readonly number[], isFirst: boolean) => LayerConfig | undefined,
): Operation {
  return async (node) => {
    const [a, b] = [node.value(0), node.value(1)]
    if (a.kind === 'place' && b.kind === 'place') {
      if (className === undefined) throw node.refused('takes two computed operands')
      return node.add(className, {}, [a, b])
    }
    const isFirst = a.kind !== 'place'
    const x = node.place(isFirst ? 1 : 0)
    const numbers = await node.numbers(isFirst ? 0 : 1)
    const settings =
      numbers.length === 1 || isChannels(node, isFirst ? 0 : 1, x) ? withNumbers(numbers, isFirst) : undefined
    if (settings === undefined) throw node.refused('takes a constant that no layer follows')
    return node.add('Rescaling', settings, [x])
  }
}

/** Whether a constant has one number for each channel, and nothing along the other axes. */
function isChannels(node: NodeReader, i: number, { shape }: PlaceValue): boolean {
  const own = node.constant(i).shape
  return own.at(-1) === shape.at(-1) && elementCount(own) === own.at(-1)
}

/** A setting of numbers: one number alone, or a list. */
const some = (numbers: readonly number[]): number | readonly number[] =>
  numbers.length === 1 ? (numbers[0] ?? 0) : numbers

const added = arithmetic('Add', (numbers) => ({ scale: 1, offset: some(numbers) }))
const multiplied = arithmetic('Multiply', (numbers) => ({ scale: some(numbers), offset: 0 }))

/** A reduction over all spatial axes. */
const globalPool =
  (kind: string): Operation =>
  async (node) => {
    const x = node.place(0)
    const rank = x.shape.length + 1
    const axes = (await node.numbers(1)).map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b)
    const isSpatial = (rank === 4 || rank === 3) && axes.join() === (rank === 4 ? '1,2' : '1')
    if (!isSpatial) throw node.refused(`reduces the axes ${axes.join(', ')} of ${rank}`)
    const y = node.add(`Global${kind}Pooling${rank - 2}D`, {}, [x])
    if (!node.flag('keep_dims')) return y
    return reshaped(node, y, [...axes.map(() => 1), ...y.shape], '/keepdims')
  }

function reshaped(node: NodeReader, x: PlaceValue, target: readonly number[], part?: string): PlaceValue {
  return node.add('Reshape', { target_shape: target }, [x], [], part)
}

const reshape: Operation = async (node) => {
  const [x, [batch, ...target]] = [node.place(0), await node.numbers(1)]
  if (batch !== -1) throw node.refused(`changes the batch to ${batch}`)
  return reshaped(node, x, target)
}

const squeeze: Operation = (node) => {
  const x = node.place(0)
  const given = node.ints('squeeze_dims').map((axis) => (axis < 0 ? axis + x.shape.length + 1 : axis))
  const kept = x.shape.filter((extent, i) => extent !== 1 || (given.length > 0 && !given.includes(i + 1)))
  return reshaped(node, x, kept)
}

const expandDims: Operation = async (node) => {
  const [x, [axis = 0]] = [node.place(0), await node.numbers(1)]
  const at = axis < 0 ? axis + x.shape.length + 2 : axis
  if (at === 0) throw node.refused('adds an axis before the batch')
  return reshaped(node, x, [...x.shape.slice(0, at - 1), 1, ...x.shape.slice(at - 1)])
}

const pad: Operation = async (node) => {
  const [x, sides] = [node.place(0), await node.numbers(1)]
  const value = node.operands.length > 2 ? await node.numbers(2) : [0]
  const [a, b, top = 0, bottom = 0, left = 0, right = 0, c, d] = sides
  if (sides.length !== 8 || [a, b, c, d, ...value].some((n) => n !== 0)) throw node.refused(`pads by ${sides}`)
  return node.add(
    'ZeroPadding2D',
    {
      padding: [
        [top, bottom],
        [left, right],
      ],
    },
    [x],
  )
}

const concatenate: Operation = async (node) => {
  const last = node.operands.length - 1
  const [axis = -1] = await node.numbers(last)
  const parts = node.operands.slice(0, last).map((_, i) => node.place(i))
  const [only] = parts
  return only !== undefined && parts.length === 1 ? only : node.add('Concatenate', { axis }, parts)
}

const normalization: Operation = (node) => {
  if (node.flag('is_training')) throw node.refused('computes the statistics of the batch')
  const weights = [1, 2, 3, 4].map((i) => ({ constant: node.constant(i) }))
  return node.add('BatchNormalization', { epsilon: node.number('epsilon', 1e-4) }, [node.place(0)], weights)
}

const resize =
  (interpolation: string): Operation =>
  async (node) => {
    const [x, [height = 0, width = 0]] = [node.place(0), await node.numbers(1)]
    const [h = 1, w = 1] = x.shape
    if (node.flag('align_corners') || !node.flag('half_pixel_centers')) throw node.refused('places corners otherwise')
    return node.add('UpSampling2D', { size: [height / h, width / w], interpolation }, [x])
  }

/** Sizes of shapes, from which other nodes compute the shapes of their results. */
const sliceOfSizes: Operation = async (node) => {
  const sizes = await node.numbers(0)
  const [[from = 0], [to = 0], [step = 1]] = [await node.numbers(1), await node.numbers(2), await node.numbers(3)]
  if (step !== 1 || node.number('new_axis_mask', 0) !== 0 || node.number('ellipsis_mask', 0) !== 0)
    throw node.refused('takes other parts than consecutive ones')
  const start = node.number('begin_mask', 0) === 1 ? 0 : from
  const shrunk = node.number('shrink_axis_mask', 0) === 1
  const end = shrunk ? start + 1 || sizes.length : node.number('end_mask', 0) === 1 ? sizes.length : to
  return { kind: 'sizes', sizes: sizes.slice(start, end) }
}

/** The most axes of a shape that nodes put together. */
const mostSizes = 64

const packed: Operation = async (node) => {
  const sizes: number[] = []
  for (const i of node.operands.keys()) {
    const part = await node.numbers(i)
    if (sizes.length + part.length > mostSizes) throw node.refused('packs more than the extents of a shape')
    sizes.push(...part)
  }
  return { kind: 'sizes', sizes }
}

const same: Operation = (node) => node.value(0)

/** By TensorFlow's name. */
export const operations: Readonly<Record<string, Operation>> = {
  ...Object.fromEntries(Object.entries(functions).map(([op, name]) => [op, applied(name)])),
  Add: added,
  AddV2: added,
  AvgPool: pool('AveragePooling2D'),
  BiasAdd: added,
  ConcatV2: concatenate,
  Const: (node) => node.itself(),
  Conv2D: conv2d,
  DepthwiseConv2dNative: depthwise,
  ExpandDims: expandDims,
  FusedBatchNorm: normalization,
  FusedBatchNormV3: normalization,
  FusedDepthwiseConv2dNative: depthwise,
  Identity: same,
  LeakyRelu: (node) => node.add('LeakyReLU', { negative_slope: node.number('alpha', 0.2) }, [node.place(0)]),
  LogSoftmax: applied('log_softmax'),
  MatMul: matmul,
  Max: globalPool('Max'),
  MaxPool: pool('MaxPooling2D'),
  Maximum: arithmetic('Maximum', () => undefined),
  Mean: globalPool('Average'),
  Minimum: arithmetic('Minimum', () => undefined),
  Mul: multiplied,
  Pack: packed,
  Pad: pad,
  PadV2: pad,
  Placeholder: (node) => node.input(),
  Prelu: (node) => preluOf(node, node.place(0), 1),
  RealDiv: arithmetic(undefined, (numbers, isFirst) =>
    isFirst ? undefined : { scale: some(numbers.map((n) => 1 / n)), offset: 0 },
  ),
  Reshape: reshape,
  ResizeBilinear: resize('bilinear'),
  ResizeNearestNeighbor: resize('nearest'),
  Shape: (node) => ({ kind: 'sizes', sizes: [-1, ...node.place(0).shape] }),
  Softmax: applied('softmax'),
  Squeeze: squeeze,
  StopGradient: same,
  StridedSlice: sliceOfSizes,
  Sub: arithmetic('Subtract', (numbers, isFirst) =>
    isFirst ? { scale: -1, offset: some(numbers) } : { scale: 1, offset: some(numbers.map((n) => -n)) },
  ),
  _FusedConv2D: conv2d,
  _FusedMatMul: matmul,
}
