/**
 * One of the ONNX project's node cases as a model: its inputs come out of one row of numbers, and its output becomes one, so that
 * no order of axes has to be agreed on. A case is expressible if the model can be built in one of three ways: all inputs of
 * floats computed, the first axis of the first input counting examples, or the first input alone computed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { memorySource } from '../../src/format/byte-source.ts'
import { decodeOnnx, encodeOnnx } from '../../src/format/onnx/messages.ts'
import { type ModelProto, type TensorProto, TensorProtoSchema } from '../../src/format/onnx/onnx_pb.ts'
import { openOnnx } from '../../src/format/onnx.ts'
import type { OnnxTensor } from '../../src/format/onnx-graph.ts'
import { WeftgradError } from '../../src/index.ts'
import type { Model } from '../../src/nn/model.ts'
import type { ReadWeight } from '../../src/nn/model-weights.ts'
import { onnxModel } from '../../src/weights/onnx/onnx-model.ts'

/** A case that can be run. */
export interface ExpressibleCase {
  readonly model: Model
  readonly read: ReadWeight
  /** The input, [examples, ...model.inputShape]. */
  readonly input: Float32Array
  readonly expected: readonly number[]
  readonly dtype: string
}

const floatTypes = new Set(['float32', 'float16', 'bfloat16', 'float64'])
const isComputed = ({ dtype, shape }: OnnxTensor): boolean =>
  (floatTypes.has(dtype) || dtype === 'bool') && !shape.includes(0)

/** The tensors of a case's data, by the names of the graph's inputs or outputs. */
function dataOf(folder: string, kind: 'input' | 'output'): Map<number, TensorProto> {
  const data = join(folder, 'test_data_set_0')
  const files = readdirSync(data).filter((name) => name.startsWith(`${kind}_`))
  return new Map(
    files.map((name) => [
      Number(name.replace(/\D/g, '')),
      fromBinary(TensorProtoSchema, readFileSync(join(data, name))),
    ]),
  )
}

/** The tensors as the reader of files gives them. */
async function tensorsOf(protos: readonly TensorProto[]): Promise<readonly OnnxTensor[]> {
  const named = protos.map((proto, i) => ({ ...proto, name: String(i) }))
  const bytes = encodeOnnx({ graph: { initializer: named } })
  const { onnx: graph } = await openOnnx(memorySource(bytes, 'data'))
  return named.flatMap(({ name }) => graph?.tensors.get(name) ?? [])
}

/** Builds the case, for its output of this index. Throws a string: why it is not expressible. */
export async function expressible(folder: string, output = 0): Promise<ExpressibleCase> {
  const bytes = new Uint8Array(readFileSync(join(folder, 'model.onnx')))
  const proto = decodeOnnx(bytes, 'case')
  const { graph } = proto
  if (graph === undefined) throw 'no graph'
  const [inputs, outputs] = [dataOf(folder, 'input'), dataOf(folder, 'output')]
  const ports = graph.input.map(({ name }) => name)
  const wanted = outputs.get(output)
  if (inputs.size !== ports.length || wanted === undefined) throw 'data that is no tensor'
  const given = [...inputs].sort(([a], [b]) => a - b).map(([, tensor]) => tensor)
  const tensors = await tensorsOf(given)
  const [expected] = await tensorsOf([wanted])
  if (expected === undefined) throw 'data that is no tensor'
  const isPlace = graph.node.some(({ opType }) => /^Arg(Max|Min)$/.test(opType))
  if (!floatTypes.has(expected.dtype) && expected.dtype !== 'bool' && !isPlace)
    throw `an output of ${expected.dtype.replace(/^\d+$/, 'another type')}`
  const first = tensors.findIndex(isComputed)
  if (first < 0) throw 'no input of floats'
  if (expected.shape.includes(0)) throw 'an empty output'
  const all = tensors.flatMap((one, i) => (isComputed(one) ? [i] : []))
  const ways = [
    { computed: all, batch: false },
    { computed: [first], batch: true },
    { computed: [first], batch: false },
  ]
  let reason: unknown
  for (const { computed, batch } of ways) {
    const shape = tensors[first]?.shape ?? []
    if (batch && (shape.length === 0 || expected.shape[0] !== shape[0])) continue
    const sizes = computed.map((i) => count(tensors[i]?.shape ?? []))
    const examples = batch ? (shape[0] ?? 1) : 1
    try {
      const model = wrapped(proto, given, tensors, { computed, sizes, examples, batch, output })
      const file = await openOnnx(memorySource(encodeOnnx(model), folder))
      if (file.onnx === undefined) throw new RangeError()
      const built = onnxModel(file.onnx, 'case', { batch })
      const input = Float32Array.from(computed.flatMap((i) => [...(tensors[i]?.read() ?? [])]))
      return { ...built, input, expected: [...expected.read()], dtype: expected.dtype }
    } catch (error) {
      if (!(error instanceof WeftgradError)) throw error
      reason ??= reasonOf(error)
      // The way with examples is the one that operators on images need.
      if (batch && /along the examples/.test(String(reason))) reason = reasonOf(error)
    }
  }
  throw reason
}

const count = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1)

/** The kind of a refusal, without names and numbers. */
function reasonOf(error: WeftgradError): string {
  const { classes } = error.details
  if (Array.isArray(classes)) return `the operator ${classes.join(', ')}`
  return error.message
    .replace(/^case describes a model that weftgrad cannot build: (its )?/, '')
    .replace(/ '[^']*'/g, '')
    .replace(/\[[^\]]*\]/g, '[...]')
    .replace(/\d+/g, 'n')
}

/** The graph with one row of numbers as its input, and its output as one. */
function wrapped(
  proto: ModelProto,
  given: readonly TensorProto[],
  tensors: readonly OnnxTensor[],
  {
    computed,
    sizes,
    examples,
    batch,
    output,
  }: { computed: readonly number[]; sizes: readonly number[]; examples: number; batch: boolean; output: number },
): ModelProto {
  const { graph } = proto
  if (graph === undefined) throw new RangeError()
  const ports = graph.input.map(({ name }) => name)
  const integers = (name: string, values: readonly number[]) => ({
    name,
    dims: [BigInt(values.length)],
    dataType: 7,
    int64Data: values.map(BigInt),
  })
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const row = batch ? [examples, total / examples] : [total]
  const shapes = computed.map((i) => integers(`harness shape ${i}`, tensors[i]?.shape ?? []))
  const before = [
    {
      opType: 'Split',
      input: ['harness all', 'harness sizes'],
      output: computed.map((i) => `harness part ${i}`),
      attribute: [{ name: 'axis', type: 2, i: BigInt(batch ? 1 : 0) }],
    },
    ...computed.map((i) => ({
      opType: 'Reshape',
      input: [`harness part ${i}`, `harness shape ${i}`],
      output: [ports[i] ?? ''],
    })),
  ]
  const result = graph.output[output]?.name ?? ''
  const after = [{ opType: 'Reshape', input: [result, 'harness flat'], output: ['harness result'] }]
  const constants = given.flatMap((tensor, i) => (computed.includes(i) ? [] : [{ ...tensor, name: ports[i] ?? '' }]))
  const port = (name: string, shape: readonly number[]) => ({
    name,
    type: {
      value: {
        case: 'tensorType' as const,
        value: {
          elemType: 1,
          shape: { dim: shape.map((extent) => ({ value: { case: 'dimValue' as const, value: BigInt(extent) } })) },
        },
      },
    },
  })
  const init = {
    ...{ irVersion: 8n, opsetImport: proto.opsetImport },
    graph: {
      node: [...before, ...graph.node, ...after],
      initializer: [
        ...graph.initializer,
        ...constants,
        ...shapes,
        integers('harness sizes', batch ? sizes.map((size) => size / examples) : sizes),
        integers('harness flat', batch ? [examples, -1] : [-1]),
      ],
      input: [port('harness all', row)],
      output: [port('harness result', [])],
    },
  }
  return decodeOnnx(encodeOnnx(init as Parameters<typeof encodeOnnx>[0]), 'case')
}
