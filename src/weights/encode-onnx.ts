/**
 * Models as ONNX files (operators of version 17), for inference: what only training needs is left out. Images go in and come out
 * as [batch, channels, height, width], as ONNX' tools have them; other inputs are as in weftgrad. Kernels are transposed once,
 * here; a graph turns an image itself only where its order matters, as before a flattening.
 *
 * Promises: the same model and options give the same bytes.
 */

import type { Shape } from '../graph/node.ts'
import type { Model } from '../nn/model.ts'
import { checkOptions } from '../options.ts'
import { exportKinds } from './encode-keras.ts'
import { type ExportedCall, type ExportOptions, exportedModel } from './exported-model.ts'
import { GraphWriter, type Value } from './onnx-export/graph.ts'
import { onnxLacks, writeCall } from './onnx-export/layers.ts'

/** LayerNormalization came with 17. ONNX Runtime has it since 1.12, of 2022. */
const opset = 17n
const irVersion = 8n
const float32 = 1

/**
 * Writes a model as an ONNX file for inference. Its input is `input`, its output `output`, for batches of any size: images
 * are [batch, channels, height, width] there, channels first, everything else as in weftgrad. Class names and the description are
 * in `metadata_props`.
 * @throws WeftgradError 'argument' for layers that cannot be written, all at once, and layers that do not lead to the output;
 * 'mismatch' for another number of class names than outputs, 'disposed' after the model's `dispose`.
 */
export async function encodeOnnx(model: Model, options: ExportOptions = {}): Promise<Uint8Array> {
  checkOptions('encodeOnnx', options, exportKinds)
  const exported = await exportedModel('An ONNX file', model, options, onnxLacks)
  const { inputShape, calls, metadata } = exported
  const graph = new GraphWriter()
  const isImage = (shape: Shape): boolean => shape.length === 3
  const input: Value = { name: graph.reserve('input'), shape: inputShape, isChannelsFirst: isImage(inputShape) }
  const end = graph.reserve('output')
  const values = new Map<ExportedCall, Value>()
  let last = input
  for (const call of calls) {
    last = writeCall(
      graph,
      call,
      call.inputs.map((one) => (one === undefined ? input : (values.get(one) ?? input))),
    )
    values.set(call, last)
  }
  const output = isImage(last.shape) ? graph.channelsFirst(last) : graph.channelsLast(last)
  graph.end(output.name, end)
  const { encodeOnnx: bytesOf } = await import('../format/onnx/messages.ts')
  return bytesOf({
    ...{ irVersion, opsetImport: [{ domain: '', version: opset }], producerName: 'weftgrad' },
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    graph: {
      ...{ name: exported.name, node: graph.nodes, initializer: graph.initializers },
      input: [described('input', inputShape)],
      output: [described('output', output.shape)],
    },
  })
}

function described(name: string, shape: Shape) {
  const turned = shape.length === 3 ? [...shape.slice(2), ...shape.slice(0, 2)] : shape
  const dim = [
    { value: { case: 'dimParam' as const, value: 'batch' } },
    ...turned.map((extent) => ({ value: { case: 'dimValue' as const, value: BigInt(extent) } })),
  ]
  return { name, type: { value: { case: 'tensorType' as const, value: { elemType: float32, shape: { dim } } } } }
}
