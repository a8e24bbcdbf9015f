/** Keras' layers as ONNX nodes, by class. What only training does, as dropout, is left out. */

import type { ExportedCall, Lacks } from '../exported-model.ts'
import { applied, clipped, functionOf, isOnnxFunction } from './activations.ts'
import { attention } from './attention.ts'
import { type GraphWriter, hasWeight, type Value, weightOf } from './graph.ts'
import {
  convolution,
  depthwiseConvolution,
  globalPooling,
  pooling,
  separableConvolution,
  transposedConvolution,
} from './windows.ts'

/** Adds a layer's nodes. Inputs are in the layer's order, as its neighbours left them: channels first or last. */
type Write = (graph: GraphWriter, call: ExportedCall, inputs: readonly Value[]) => Value

/** The only input, or the first. */
function only(inputs: readonly Value[]): Value {
  const [x] = inputs
  if (x === undefined) throw new RangeError('a layer without an input')
  return x
}

/** A value computed number by number: its axes stay where they are. */
const elementwise =
  (write: (graph: GraphWriter, x: string, config: ExportedCall['layer']['config']) => string): Write =>
  (graph, { layer }, inputs) => ({ ...only(inputs), name: write(graph, only(inputs).name, layer.config) })

const unchanged: Write = (_, __, inputs) => only(inputs)

/** Inputs with their axes alike: as the first image has them. */
function alike(graph: GraphWriter, inputs: readonly Value[]): readonly Value[] {
  const { isChannelsFirst } = only(inputs)
  return inputs.map((x) => (isChannelsFirst ? graph.channelsFirst(x) : graph.channelsLast(x)))
}

/** A node of all inputs, or of two at a time. */
const merging =
  (operator: string, isPairwise = false): Write =>
  (graph, call, inputs) => {
    const names = alike(graph, inputs).map(({ name }) => name)
    const name = isPairwise
      ? names.slice(1).reduce((a, b) => graph.node(operator, [a, b]), names[0] ?? '')
      : graph.node(operator, names)
    return { ...only(inputs), name, shape: call.outputShape }
  }

/** A weight with a number for each channel, shaped so that it meets the channels of x. */
function perChannel(graph: GraphWriter, call: ExportedCall, role: string, x: Value): string {
  const { shape } = weightOf(call, role)
  return graph.weight(call, role, undefined, x.isChannelsFirst ? [...shape, ...x.shape.slice(1).map(() => 1)] : shape)
}

/** A setting of one number, or of one for each channel. */
function numbersOf(graph: GraphWriter, setting: unknown, x: Value): string {
  if (!Array.isArray(setting)) return graph.floats([], [Number(setting)])
  const after = x.isChannelsFirst ? x.shape.slice(1).map(() => 1) : []
  return graph.floats([setting.length, ...after], setting.map(Number))
}

/** Scales and shifts each channel by gamma and beta, if the layer has them. */
function scaledAndShifted(graph: GraphWriter, call: ExportedCall, x: Value): Value {
  const scaled = hasWeight(call, 'gamma') ? graph.node('Mul', [x.name, perChannel(graph, call, 'gamma', x)]) : x.name
  return {
    ...x,
    name: hasWeight(call, 'beta') ? graph.node('Add', [scaled, perChannel(graph, call, 'beta', x)]) : scaled,
  }
}

const batchNormalization: Write = (graph, call, inputs) => {
  const x = graph.channelsFirst(only(inputs))
  const { shape } = weightOf(call, 'moving_mean')
  const orAll = (role: string, number: number): string =>
    hasWeight(call, role) ? graph.weight(call, role) : graph.floats(shape, Array(shape[0] ?? 0).fill(number))
  const statistics = ['moving_mean', 'moving_variance'].map((role) => graph.weight(call, role))
  const epsilon = Number(call.layer.config.epsilon ?? 1e-3)
  const name = graph.node(
    'BatchNormalization',
    [x.name, orAll('gamma', 1), orAll('beta', 0), ...statistics],
    {},
    { epsilon },
  )
  return { ...x, name }
}

const layerNormalization: Write = (graph, call, inputs) => {
  const x = graph.channelsLast(only(inputs))
  const features = x.shape.at(-1) ?? 1
  const gamma = hasWeight(call, 'gamma')
    ? graph.weight(call, 'gamma')
    : graph.floats([features], Array(features).fill(1))
  const beta = hasWeight(call, 'beta') ? [graph.weight(call, 'beta')] : []
  const epsilon = Number(call.layer.config.epsilon ?? 1e-3)
  return { ...x, name: graph.node('LayerNormalization', [x.name, gamma, ...beta], { axis: -1 }, { epsilon }) }
}

/** Each group as one channel, which `InstanceNormalization` takes to mean 0 and variance 1. */
const groupNormalization: Write = (graph, call, inputs) => {
  const x = graph.channelsFirst(only(inputs))
  const groups = Number(call.layer.config.groups ?? 32)
  const epsilon = Number(call.layer.config.epsilon ?? 1e-3)
  const split = graph.node('Reshape', [x.name, graph.integers([0, groups, -1])])
  const [ones, zeros] = [1, 0].map((number) => graph.floats([groups], Array(groups).fill(number)))
  const normal = graph.node('InstanceNormalization', [split, ones ?? '', zeros ?? ''], {}, { epsilon })
  const channels = x.shape.at(-1) ?? 1
  const whole = graph.node('Reshape', [normal, graph.integers([0, channels, ...x.shape.slice(0, -1)])])
  return scaledAndShifted(graph, call, { ...x, name: whole })
}

const normalization: Write = (graph, call, inputs) => {
  const x = only(inputs)
  const { config } = call.layer
  const statistic = (role: 'mean' | 'variance'): string =>
    hasWeight(call, role) ? perChannel(graph, call, role, x) : numbersOf(graph, config[role], x)
  const centered = graph.node('Sub', [x.name, statistic('mean')])
  const deviation = graph.node('Sqrt', [statistic('variance')])
  // As the layer does: a constant feature stays at 0.
  const least = graph.node('Max', [deviation, graph.floats([], [1e-7])])
  return { ...x, name: graph.node('Div', [centered, least]) }
}

const rescaling: Write = (graph, { layer }, inputs) => {
  const x = only(inputs)
  const { scale, offset = 0 } = layer.config
  const scaled = graph.node('Mul', [x.name, numbersOf(graph, scale, x)])
  return { ...x, name: graph.node('Add', [scaled, numbersOf(graph, offset, x)]) }
}

const dense: Write = (graph, call, inputs) => {
  const x = graph.channelsLast(only(inputs))
  const kernel = graph.weight(call, 'kernel')
  const bias = hasWeight(call, 'bias') ? [graph.weight(call, 'bias')] : []
  const result = { shape: call.outputShape, isChannelsFirst: false }
  if (x.shape.length === 1)
    return applied(graph, call, { ...result, name: graph.node('Gemm', [x.name, kernel, ...bias]) })
  const product = graph.node('MatMul', [x.name, kernel])
  const name = bias.length > 0 ? graph.node('Add', [product, ...bias]) : product
  return applied(graph, call, { ...result, name })
}

const concatenate: Write = (graph, call, inputs) => {
  const values = alike(graph, inputs)
  const rank = call.outputShape.length + 1
  const given = Number(call.layer.config.axis ?? -1)
  const last = given < 0 ? given + rank : given
  const first = last === 0 ? 0 : last === rank - 1 ? 1 : last + 1
  const axis = only(values).isChannelsFirst ? first : last
  const name = graph.node(
    'Concat',
    values.map((value) => value.name),
    { axis },
  )
  return { ...only(values), name, shape: call.outputShape }
}

type Sides = readonly [readonly [number, number], readonly [number, number]]

/** Rows above and below, columns on the left and on the right. */
function sidesOf(given: unknown): Sides {
  const [vertical, horizontal] = Array.isArray(given) ? given : [given ?? 1, given ?? 1]
  const side = (value: unknown) => (Array.isArray(value) ? value : [value, value]) as [number, number]
  return [side(vertical), side(horizontal)]
}

const zeroPadding: Write = (graph, call, inputs) => {
  const [[top, bottom], [left, right]] = sidesOf(call.layer.config.padding)
  const pads = graph.integers([0, 0, top, left, 0, 0, bottom, right])
  const name = graph.node('Pad', [graph.channelsFirst(only(inputs)).name, pads])
  return { name, shape: call.outputShape, isChannelsFirst: true }
}

const cropping: Write = (graph, call, inputs) => {
  const [[top], [left]] = sidesOf(call.layer.config.cropping ?? 0)
  const [height = 1, width = 1] = call.outputShape
  const box = [
    [top, left],
    [top + height, left + width],
    [2, 3],
  ].map((numbers) => graph.integers(numbers))
  const name = graph.node('Slice', [graph.channelsFirst(only(inputs)).name, ...box])
  return { name, shape: call.outputShape, isChannelsFirst: true }
}

const upSampling: Write = (graph, call, inputs) => {
  const { size = 2, interpolation } = call.layer.config
  const [down, across] = (Array.isArray(size) ? size : [size, size]) as [number, number]
  const attributes =
    interpolation === 'bilinear'
      ? { mode: 'linear', coordinate_transformation_mode: 'half_pixel' }
      : { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' }
  const scales = graph.floats([4], [1, 1, down, across])
  const name = graph.node('Resize', [graph.channelsFirst(only(inputs)).name, '', scales], attributes)
  return { name, shape: call.outputShape, isChannelsFirst: true }
}

/** Numbers in weftgrad's order, in another shape. */
const reshaped: Write = (graph, call, inputs) => {
  const x = graph.channelsLast(only(inputs))
  const name = graph.node('Reshape', [x.name, graph.integers([0, ...call.outputShape])])
  return { name, shape: call.outputShape, isChannelsFirst: false }
}

const reLU: Write = (graph, { layer }, inputs) => {
  const { max_value: most, negative_slope: slope = 0, threshold = 0 } = layer.config
  const x = only(inputs)
  const limit = most === undefined ? undefined : Number(most)
  if (slope === 0 && threshold === 0)
    return { ...x, name: limit === undefined ? graph.node('Relu', [x.name]) : clipped(graph, x.name, limit) }
  const from = graph.floats([], [Number(threshold)])
  const below = graph.node('Mul', [graph.node('Sub', [x.name, from]), graph.floats([], [Number(slope)])])
  const y = graph.node('Where', [graph.node('Less', [x.name, from]), below, x.name])
  return { ...x, name: limit === undefined ? y : graph.node('Min', [y, graph.floats([], [limit])]) }
}

const pReLU: Write = (graph, call, inputs) => {
  const x = only(inputs)
  const { shape } = weightOf(call, 'alpha')
  const last = shape.length - 1
  const order = x.isChannelsFirst ? [last, ...shape.map((_, axis) => axis).slice(0, last)] : undefined
  return { ...x, name: graph.node('PRelu', [x.name, graph.weight(call, 'alpha', order)]) }
}

const writers: Readonly<Record<string, Write>> = {
  Activation: (graph, call, inputs) => applied(graph, call, only(inputs)),
  Add: merging('Add', true),
  Average: merging('Mean'),
  AveragePooling2D: pooling,
  BatchNormalization: batchNormalization,
  Concatenate: concatenate,
  Conv1D: convolution,
  Conv2D: convolution,
  Conv2DTranspose: transposedConvolution,
  Cropping2D: cropping,
  Dense: dense,
  DepthwiseConv2D: depthwiseConvolution,
  Dropout: unchanged,
  ELU: elementwise((graph, x, { alpha = 1 }) => graph.node('Elu', [x], {}, { alpha: Number(alpha) })),
  Flatten: (graph, call, inputs) => {
    const x = graph.channelsLast(only(inputs))
    return { name: graph.node('Flatten', [x.name], { axis: 1 }), shape: call.outputShape, isChannelsFirst: false }
  },
  GlobalAveragePooling1D: globalPooling,
  GlobalAveragePooling2D: globalPooling,
  GlobalMaxPooling1D: globalPooling,
  GlobalMaxPooling2D: globalPooling,
  GroupNormalization: groupNormalization,
  LayerNormalization: layerNormalization,
  LayerScale: (graph, call, inputs) => scaledAndShifted(graph, call, only(inputs)),
  LeakyReLU: elementwise((graph, x, { negative_slope: slope = 0.3 }) =>
    graph.node('LeakyRelu', [x], {}, { alpha: Number(slope) }),
  ),
  MaxPooling2D: pooling,
  Maximum: merging('Max'),
  Minimum: merging('Min'),
  MultiHeadAttention: attention,
  Multiply: merging('Mul', true),
  Normalization: normalization,
  PReLU: pReLU,
  ReLU: reLU,
  Rescaling: rescaling,
  Reshape: reshaped,
  SeparableConv2D: separableConvolution,
  Softmax: (graph, _, inputs) => functionOf(graph, 'softmax', only(inputs)),
  SpatialDropout2D: unchanged,
  Subtract: merging('Sub', true),
  UpSampling2D: upSampling,
  ZeroPadding2D: zeroPadding,
}

/** What ONNX, as it is written here, cannot express. */
export const onnxLacks: Lacks = ({ layer: { className, config } }) => {
  if (!Object.hasOwn(writers, className)) return 'weftgrad has no ONNX nodes for it'
  if (!isOnnxFunction(config.activation ?? 'linear')) return `weftgrad has no ONNX nodes for ${config.activation}`
  if (className === 'Rescaling' && ![config.scale, config.offset ?? 0].every((number) => typeof number === 'number'))
    return 'its scale is not one number'
  return undefined
}

/** Adds a call's nodes. Returns its output. */
export function writeCall(graph: GraphWriter, call: ExportedCall, inputs: readonly Value[]): Value {
  graph.begin(call)
  const write = writers[call.layer.className]
  if (write === undefined) throw new RangeError(`${call.layer.className} should have been refused`)
  return write(graph, call, inputs)
}
