/** Convolutions and pooling as ONNX nodes, with their paddings as numbers of pixels. */

import type { Shape } from '../../graph/node.ts'
import { outExtents } from '../../operators/window.ts'
import type { ExportedCall } from '../exported-model.ts'
import { applied } from './activations.ts'
import { type GraphWriter, hasWeight, type Value, weightOf } from './graph.ts'

/** The window of a layer along its axes: rows and columns, or the steps of a sequence. */
interface Window {
  readonly kernel: readonly number[]
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  /** Before and after, along each axis. */
  readonly pads: readonly (readonly [number, number])[]
}

const each = (value: unknown, rank: number, otherwise: number): readonly number[] =>
  Array.isArray(value) ? value : Array.from({ length: rank }, () => Number(value ?? otherwise))

function windowOf(call: ExportedCall, kernel: readonly number[], strides: readonly number[], input: Shape): Window {
  const { padding = 'valid', dilation_rate: dilation } = call.layer.config
  const dilations = each(dilation, kernel.length, 1)
  const pads = kernel.map((size, axis): readonly [number, number] => {
    const [extent = 1, stride = 1, step = 1] = [input[axis], strides[axis], dilations[axis]]
    const reach = (size - 1) * step + 1
    if (padding === 'causal') return [reach - 1, 0]
    if (Array.isArray(padding)) return padding[axis] as [number, number]
    if (padding !== 'same') return [0, 0]
    const { before, out } = outExtents(extent, size, stride, step, 'same')
    return [before, Math.max(0, (out - 1) * stride + reach - extent) - before]
  })
  return { kernel, strides, dilations, pads }
}

const attributesOf = ({ kernel, strides, dilations, pads }: Window) => ({
  ...{ kernel_shape: kernel, strides, dilations },
  pads: [...pads.map(([before]) => before), ...pads.map(([, after]) => after)],
})

/** The layer's activation, of a convolution's result with its channels first. */
function finished(graph: GraphWriter, call: ExportedCall, name: string): Value {
  return applied(graph, call, { name, shape: call.outputShape, isChannelsFirst: true })
}

const bias = (graph: GraphWriter, call: ExportedCall): readonly string[] =>
  hasWeight(call, 'bias') ? [graph.weight(call, 'bias')] : []

/** Conv1D and Conv2D. */
export function convolution(graph: GraphWriter, call: ExportedCall, [x]: readonly Value[]): Value {
  const { config } = call.layer
  const { shape } = weightOf(call, 'kernel')
  const rank = shape.length - 2
  const window = windowOf(call, shape.slice(0, rank), each(config.strides, rank, 1), call.inputShapes[0] ?? [])
  // [...size, channels, filters] -> [filters, channels, ...size]
  const order = [rank + 1, rank, ...Array.from({ length: rank }, (_, i) => i)]
  const inputs = [graph.channelsFirst(x as Value).name, graph.weight(call, 'kernel', order), ...bias(graph, call)]
  return finished(
    graph,
    call,
    graph.node('Conv', inputs, { ...attributesOf(window), group: Number(config.groups ?? 1) }),
  )
}

export function transposedConvolution(graph: GraphWriter, call: ExportedCall, [x]: readonly Value[]): Value {
  const { shape } = weightOf(call, 'kernel')
  const kernel = shape.slice(0, 2)
  const strides = each(call.layer.config.strides, 2, 1)
  // The paddings are those of the convolution that would make the input from the output.
  const window = windowOf(call, kernel, strides, call.outputShape)
  const outputPadding = kernel.map((size, axis) => {
    const [extent = 1, stride = 1, step = 1] = [call.inputShapes[0]?.[axis], strides[axis], window.dilations[axis]]
    const [before, after] = window.pads[axis] ?? [0, 0]
    return (call.outputShape[axis] ?? 0) - ((extent - 1) * stride + (size - 1) * step + 1 - before - after)
  })
  const inputs = [
    graph.channelsFirst(x as Value).name,
    graph.weight(call, 'kernel', [3, 2, 0, 1]),
    ...bias(graph, call),
  ]
  const attributes = { ...attributesOf(window), output_padding: outputPadding }
  return finished(graph, call, graph.node('ConvTranspose', inputs, attributes))
}

/** A kernel [h, w, channels, multiplier] as a convolution of as many groups as channels. */
function depthwiseNode(graph: GraphWriter, call: ExportedCall, x: Value, further: readonly string[]): string {
  const [height = 1, width = 1, channels = 1, multiplier = 1] = weightOf(call, 'depthwise_kernel').shape
  const window = windowOf(call, [height, width], each(call.layer.config.strides, 2, 1), call.inputShapes[0] ?? [])
  const shape = [channels * multiplier, 1, height, width]
  const kernel = graph.weight(call, 'depthwise_kernel', [2, 3, 0, 1], shape)
  const inputs = [graph.channelsFirst(x).name, kernel, ...further]
  return graph.node('Conv', inputs, { ...attributesOf(window), group: channels })
}

export function depthwiseConvolution(graph: GraphWriter, call: ExportedCall, [x]: readonly Value[]): Value {
  return finished(graph, call, depthwiseNode(graph, call, x as Value, bias(graph, call)))
}

export function separableConvolution(graph: GraphWriter, call: ExportedCall, [x]: readonly Value[]): Value {
  const mixed = depthwiseNode(graph, call, x as Value, [])
  const pointwise = graph.weight(call, 'pointwise_kernel', [3, 2, 0, 1])
  return finished(graph, call, graph.node('Conv', [mixed, pointwise, ...bias(graph, call)], { kernel_shape: [1, 1] }))
}

export function pooling(graph: GraphWriter, call: ExportedCall, [x]: readonly Value[]): Value {
  const { className, config } = call.layer
  const size = each(config.pool_size, 2, 2)
  const window = windowOf(
    call,
    size,
    config.strides === undefined ? size : each(config.strides, 2, 1),
    call.inputShapes[0] ?? [],
  )
  const { dilations: _, ...attributes } = attributesOf(window)
  const operator = className === 'MaxPooling2D' ? 'MaxPool' : 'AveragePool'
  const name = graph.node(operator, [graph.channelsFirst(x as Value).name], attributes)
  return { name, shape: call.outputShape, isChannelsFirst: true }
}

/** The mean or the largest number of each channel. */
export function globalPooling(graph: GraphWriter, call: ExportedCall, [x]: readonly Value[]): Value {
  const operator = call.layer.className.startsWith('GlobalMax') ? 'GlobalMaxPool' : 'GlobalAveragePool'
  const pooled = graph.node(operator, [graph.channelsFirst(x as Value).name])
  return { name: graph.node('Flatten', [pooled], { axis: 1 }), shape: call.outputShape, isChannelsFirst: false }
}
