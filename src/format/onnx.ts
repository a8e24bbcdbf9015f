/**
 * ONNX files: a graph of operators, and its tensors, in the file or in files beside it. Format: https://onnx.ai/onnx/repo-docs/IR.html
 *
 * Promises: every tensor's length is checked when the file is opened, also in the files beside it; its numbers are converted
 * on demand. What the graph computes is not looked at here: `weights/onnx/` builds models. The reader of protobuf messages is
 * imported on demand.
 */

import { WeftgradError } from '../errors.ts'
import { isBeside, type OpenShard } from './beside.ts'
import { type ByteSource, readBytes } from './byte-source.ts'
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from './onnx/onnx_pb.ts'
import type { OnnxAttribute, OnnxGraph, OnnxNode, OnnxPort, OnnxTensor } from './onnx-graph.ts'
import { bfloat16ToFloat32, float16ToFloat32 } from './safetensors.ts'
import { groupedByLayer, heldWeights, type WeightFile } from './weight-file.ts'

/** ONNX's types by number. `field` holds the numbers of a tensor without raw bytes. */
interface StoredType {
  readonly dtype: string
  readonly bytes: number
  readonly field: 'floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data'
  /** The numbers in raw bytes, little-endian, which start at a multiple of their size. */
  readonly raw: (buffer: ArrayBuffer) => Float32Array | ArrayLike<number> | ArrayLike<bigint>
}

const storedTypes: ReadonlyMap<number, StoredType> = new Map([
  [1, { dtype: 'float32', bytes: 4, field: 'floatData', raw: (buffer) => new Float32Array(buffer) }],
  [2, { dtype: 'uint8', bytes: 1, field: 'int32Data', raw: (buffer) => new Uint8Array(buffer) }],
  [3, { dtype: 'int8', bytes: 1, field: 'int32Data', raw: (buffer) => new Int8Array(buffer) }],
  [4, { dtype: 'uint16', bytes: 2, field: 'int32Data', raw: (buffer) => new Uint16Array(buffer) }],
  [5, { dtype: 'int16', bytes: 2, field: 'int32Data', raw: (buffer) => new Int16Array(buffer) }],
  [6, { dtype: 'int32', bytes: 4, field: 'int32Data', raw: (buffer) => new Int32Array(buffer) }],
  [7, { dtype: 'int64', bytes: 8, field: 'int64Data', raw: (buffer) => new BigInt64Array(buffer) }],
  [9, { dtype: 'bool', bytes: 1, field: 'int32Data', raw: (buffer) => new Uint8Array(buffer) }],
  [10, { dtype: 'float16', bytes: 2, field: 'int32Data', raw: (buffer) => float16ToFloat32(new Uint16Array(buffer)) }],
  [11, { dtype: 'float64', bytes: 8, field: 'doubleData', raw: (buffer) => new Float64Array(buffer) }],
  [12, { dtype: 'uint32', bytes: 4, field: 'uint64Data', raw: (buffer) => new Uint32Array(buffer) }],
  [13, { dtype: 'uint64', bytes: 8, field: 'uint64Data', raw: (buffer) => new BigUint64Array(buffer) }],
  [
    16,
    { dtype: 'bfloat16', bytes: 2, field: 'int32Data', raw: (buffer) => bfloat16ToFloat32(new Uint16Array(buffer)) },
  ],
])

/** Node.js and browsers read at most 2 GiB at once, which is also the most that protobuf allows. */
const mostFileBytes = 2 ** 31 - 1
/** Every file beside is an open file. */
const mostFiles = 2048

/** Whether a file begins as an ONNX model does: with the version of the format, then the producer, the graph or the operators. */
export function looksLikeOnnx(start: Uint8Array): boolean {
  const [field, version = 0, next = 0] = start
  return field === 0x08 && version >= 1 && version <= 64 && [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42].includes(next)
}

/**
 * Opens a file, which is read as a whole. Closing the result closes the files beside it.
 * @param openShard opens the files beside it; without it, a model with such files is refused.
 * @throws WeftgradError 'format' for a damaged file, and what `openShard` throws.
 */
export async function openOnnx(source: ByteSource, openShard?: OpenShard): Promise<WeightFile> {
  const { name: own, size } = source
  if (size > mostFileBytes) throw refusal(own, `it has ${size} bytes, more than protobuf allows`)
  const bytes = readBytes(source, 0, size)
  source.close()
  const { decodeOnnx } = await import('./onnx/messages.ts')
  const model: ModelProto = decodeOnnx(bytes, own)
  const { graph } = model
  if (graph === undefined) throw refusal(own, 'it holds no graph')
  const files = new Map<string, ByteSource>()
  const close = (): void => {
    for (const file of files.values()) file.close()
  }
  try {
    for (const path of filesBeside(graph, own)) {
      if (openShard === undefined)
        throw refusal(own, `it keeps weights in the file '${path}' beside it; give openShard`)
      files.set(path, await openShard(path))
    }
    const read = new GraphReader(own, files).graph(graph, model)
    const held = [...read.tensors.values()].filter(({ dtype }) => /float/.test(dtype))
    return heldWeights<OnnxTensor>({
      format: 'onnx',
      source: own,
      groups: groupedByLayer(held.map((tensor) => ({ entry: tensor, place: tensor }))),
      onnx: read,
      metadata: Object.fromEntries(model.metadataProps.map(({ key, value }) => [key, value])),
      read: async (tensor) => Float32Array.from(tensor.read()),
      close,
    })
  } catch (error) {
    close()
    throw error
  }
}

/** The files that tensors are in. */
function filesBeside(graph: GraphProto, source: string): ReadonlySet<string> {
  const attributes = graph.node.flatMap(({ attribute }) => attribute.flatMap(({ t }) => t ?? []))
  const paths = new Set<string>()
  for (const tensor of [...graph.initializer, ...attributes]) {
    if (tensor.externalData.length === 0) continue
    const path = locationOf(tensor)
    if (!isBeside(path))
      throw refusal(source, `it keeps '${tensor.name}' in ${JSON.stringify(path)}, which is not beside it`)
    paths.add(path)
    if (paths.size > mostFiles) throw refusal(source, `it has more than ${mostFiles} files of weights`)
  }
  return paths
}

/** The file that a tensor's numbers are in, by its path from the model's. */
const locationOf = (tensor: TensorProto): string => (external(tensor, 'location') ?? '').replace(/^(\.\/)+/, '')

const external = ({ externalData }: TensorProto, key: string): string | undefined =>
  externalData.find((entry) => entry.key === key)?.value

function refusal(source: string, problem: string): WeftgradError {
  return new WeftgradError(
    'format',
    `${source} is not a readable ONNX file: ${problem}. Download it or write it again.`,
    { source },
  )
}

class GraphReader {
  readonly #source: string
  readonly #files: ReadonlyMap<string, ByteSource>

  constructor(source: string, files: ReadonlyMap<string, ByteSource>) {
    this.#source = source
    this.#files = files
  }

  graph(graph: GraphProto, { opsetImport }: ModelProto): OnnxGraph {
    const tensors = new Map<string, OnnxTensor>()
    for (const tensor of graph.initializer) {
      if (tensors.has(tensor.name)) throw refusal(this.#source, `it has two tensors called '${tensor.name}'`)
      tensors.set(tensor.name, this.#tensor(tensor, tensor.name))
    }
    const own = opsetImport.find(({ domain }) => isOwnDomain(domain))
    return {
      name: graph.name,
      opset: own && Number(own.version),
      nodes: graph.node.map((node) => this.#node(node)),
      tensors,
      // Before version 4 of the format, tensors of the file were inputs, too.
      inputs: graph.input.filter(({ name }) => !tensors.has(name)).map(portOf),
      outputs: graph.output.map(portOf),
    }
  }

  #node({ name, domain, opType, input, output, attribute }: NodeProto): OnnxNode {
    const attributes = attribute.map((one) => [one.name, this.#attribute(one, name)] as const)
    const operator = isOwnDomain(domain) ? opType : `${domain}.${opType}`
    return { name, operator, inputs: input, outputs: output, attributes: new Map(attributes) }
  }

  /** The type is a number of `AttributeProto.AttributeType`; very old files leave it out. */
  #attribute(one: AttributeProto, node: string): OnnxAttribute {
    const { type, f, i, s, t, floats, ints, strings } = one
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
    if (type === 1) return f
    if (type === 2) return Number(i)
    if (type === 3) return text(s)
    if (type === 4 && t !== undefined) return this.#tensor(t, `${one.name} of ${node}`)
    if (type === 6) return floats
    if (type === 7) return ints.map(Number)
    if (type === 8) return strings.map(text)
    if (type === 0 || type === 4) throw refusal(this.#source, `the attribute '${one.name}' of '${node}' has no value`)
    return '(graph)'
  }

  #tensor(tensor: TensorProto, name: string): OnnxTensor {
    const shape = tensor.dims.map(Number)
    if (shape.length > 32 || !shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0))
      throw refusal(this.#source, `'${name}' has the shape [${shape.slice(0, 40)}]`)
    const count = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, 1)
    const type = storedTypes.get(tensor.dataType)
    if (type === undefined || tensor.segment !== undefined) {
      const read = (): never => {
        throw refusal(this.#source, `'${name}' holds no plain numbers (its type is ${tensor.dataType})`)
      }
      return { name, dtype: String(tensor.dataType), shape, read }
    }
    return { name, dtype: type.dtype, shape, read: this.#numbers(tensor, name, type, count) }
  }

  /** Reads the numbers of a tensor, once their length is known to be right. */
  #numbers(tensor: TensorProto, name: string, type: StoredType, count: number): OnnxTensor['read'] {
    const { dtype, bytes, field, raw } = type
    const isFloat = /float/.test(dtype)
    const plain = (numbers: ArrayLike<number> | ArrayLike<bigint>): Float32Array | Float64Array => {
      if (numbers instanceof Float32Array) return numbers
      return isFloat ? Float32Array.from(numbers, Number) : Float64Array.from(numbers, Number)
    }
    const checked = (found: number, expected: number, what: string): void => {
      if (found !== expected)
        throw refusal(
          this.#source,
          `'${name}' has ${found} ${what}, but its shape and type (${dtype}) take ${expected}`,
        )
    }
    if (tensor.externalData.length > 0) {
      const path = locationOf(tensor)
      const file = this.#files.get(path)
      const start = Number(external(tensor, 'offset') ?? 0)
      const length = Number(external(tensor, 'length') ?? (file?.size ?? 0) - start)
      checked(length, count * bytes, 'bytes')
      if (file === undefined || !Number.isSafeInteger(start) || start < 0 || start + length > file.size)
        throw refusal(this.#source, `'${name}' lies beyond the end of '${path}', which has ${file?.size} bytes`)
      return () => plain(raw(readBytes(file, start, length).buffer))
    }
    const { rawData } = tensor
    if (rawData.length > 0 || tensor[field].length === 0) {
      checked(rawData.length, count * bytes, 'bytes')
      return () => plain(raw(rawData.slice().buffer as ArrayBuffer))
    }
    const listed: ArrayLike<number> | ArrayLike<bigint> = tensor[field]
    checked(listed.length, count, 'numbers')
    if (dtype === 'float16') return () => float16ToFloat32(Uint16Array.from(tensor.int32Data))
    if (dtype === 'bfloat16') return () => bfloat16ToFloat32(Uint16Array.from(tensor.int32Data))
    return () => plain(listed)
  }
}

const isOwnDomain = (domain: string): boolean => domain === '' || domain === 'ai.onnx'

function portOf({ name, type }: ValueInfoProto): OnnxPort {
  const dims = type?.value.case === 'tensorType' ? type.value.value.shape?.dim : undefined
  if (dims === undefined) return { name }
  const shape = dims.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : value.value))
  return { name, shape }
}
