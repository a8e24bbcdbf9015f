/** Keras' attention as ONNX nodes: ONNX 17 has no operator for it. */

import type { ExportedCall } from '../exported-model.ts'
import { type GraphWriter, hasWeight, type Value, weightOf } from './graph.ts'

export function attention(graph: GraphWriter, call: ExportedCall, inputs: readonly Value[]): Value {
  const [query, value = query, key = value] = inputs.map((x) => graph.channelsLast(x).name)
  const [positions = 1] = call.outputShape
  const product = (x: string, part: string): string => {
    const { shape } = weightOf(call, `${part}/kernel`)
    const isLast = part === 'attention_output'
    // [features, heads, numbers] as a matrix; the last product takes heads and numbers together.
    const [rows = 1, columns = 1] = isLast
      ? [(shape[0] ?? 1) * (shape[1] ?? 1), shape[2]]
      : [shape[0], (shape[1] ?? 1) * (shape[2] ?? 1)]
    const y = graph.node('MatMul', [x, graph.weight(call, `${part}/kernel`, undefined, [rows, columns])])
    if (!hasWeight(call, `${part}/bias`)) return y
    return graph.node('Add', [y, graph.weight(call, `${part}/bias`, undefined, [columns])])
  }
  const inHeads = (x: string, part: 'query' | 'key' | 'value', length: number): string => {
    const [, heads = 1, numbers = 1] = weightOf(call, `${part}/kernel`).shape
    const split = graph.node('Reshape', [product(x, part), graph.integers([0, length, heads, numbers])])
    return graph.node('Transpose', [split], { perm: part === 'key' ? [0, 2, 3, 1] : [0, 2, 1, 3] })
  }
  const [, heads = 1, keyDim = 1] = weightOf(call, 'query/kernel').shape
  const [, , valueDim = 1] = weightOf(call, 'value/kernel').shape
  const length = call.inputShapes.at(-1)?.[0] ?? positions
  const scaled = graph.node('Mul', [
    inHeads(query ?? '', 'query', positions),
    graph.floats([], [1 / Math.sqrt(keyDim)]),
  ])
  const scores = graph.node('MatMul', [scaled, inHeads(key ?? '', 'key', length)])
  const shares = graph.node('Softmax', [scores], { axis: 3 })
  const mixed = graph.node('MatMul', [shares, inHeads(value ?? '', 'value', length)])
  const together = graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] })
  const rows = graph.node('Reshape', [together, graph.integers([0, positions, heads * valueDim])])
  return { name: product(rows, 'attention_output'), shape: call.outputShape, isChannelsFirst: false }
}
