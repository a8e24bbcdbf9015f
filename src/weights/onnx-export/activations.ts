/** Activation functions as ONNX nodes, by the names that files have for them. */

import type { ExportedCall } from '../exported-model.ts'
import type { GraphWriter, Value } from './graph.ts'

type Write = (graph: GraphWriter, x: string, channels: number) => string

const operator =
  (name: string, floats: Readonly<Record<string, number>> = {}): Write =>
  (graph, x) =>
    graph.node(name, [x], {}, floats)

/** `channels` is the axis of the channels: softmax is along it. */
const functions: Readonly<Record<string, Write>> = {
  linear: (_, x) => x,
  relu: operator('Relu'),
  sigmoid: operator('Sigmoid'),
  tanh: operator('Tanh'),
  softmax: (graph, x, channels) => graph.node('Softmax', [x], { axis: channels }),
  selu: operator('Selu'),
  softplus: operator('Softplus'),
  hard_sigmoid: operator('HardSigmoid', { alpha: 1 / 6, beta: 0.5 }),
  hard_silu: operator('HardSwish'),
  relu6: (graph, x) => clipped(graph, x, 6),
  silu: (graph, x) => graph.node('Mul', [x, graph.node('Sigmoid', [x])]),
  mish: (graph, x) => graph.node('Mul', [x, graph.node('Tanh', [graph.node('Softplus', [x])])]),
  gelu(graph, x) {
    const part = graph.node('Erf', [graph.node('Div', [x, graph.floats([], [Math.SQRT2])])])
    const share = graph.node('Add', [part, graph.floats([], [1])])
    return graph.node('Mul', [graph.node('Mul', [x, share]), graph.floats([], [0.5])])
  },
}

export function clipped(graph: GraphWriter, x: string, largest: number): string {
  return graph.node('Clip', [x, graph.floats([], [0]), graph.floats([], [largest])])
}

/** Whether there is a function of that name. */
export const isOnnxFunction = (name: unknown): boolean => typeof name === 'string' && Object.hasOwn(functions, name)

/** The function of a value. */
export function functionOf(graph: GraphWriter, name: string, x: Value): Value {
  const channels = x.isChannelsFirst ? 1 : x.shape.length
  return { ...x, name: functions[name]?.(graph, x.name, channels) ?? x.name }
}

/** The activation that a layer's settings name, of its result. */
export function applied(graph: GraphWriter, { layer }: ExportedCall, x: Value): Value {
  return functionOf(graph, String(layer.config.activation ?? 'linear'), x)
}
