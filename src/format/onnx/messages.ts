/**
 * ONNX models as protobuf messages, from bytes and to bytes. `onnx_pb.ts` describes the messages. It is generated from the
 * ONNX project's own schema, `onnx.proto` of its Python package, under the license beside it. For a newer version, copy that
 * file and run
 *
 *     npx -p @bufbuild/buf -p @bufbuild/protoc-gen-es buf generate src/format/onnx --template \
 *       '{"version":"v2","plugins":[{"local":"protoc-gen-es","out":"src/format/onnx","opt":["target=ts","import_extension=ts"]}]}'
 *
 * Promises: before anything is decoded, what the bytes would become in memory is bounded, and messages nested without end
 * are refused. Import this file on demand: with its library it takes 20 kB.
 */
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { WeftgradError } from '../../errors.ts'
import { type ModelProto, ModelProtoSchema } from './onnx_pb.ts'

/**
 * The most messages, strings and integers of 64 bits. Decoded, each takes about 100 bytes, and two bytes of a file can be
 * one. A graph of 100,000 nodes has some 1.5 million.
 */
const mostItems = 2 ** 22
/** Graphs of `If` and `Loop` within each other take three levels each. */
const deepestNesting = 48

/**
 * Decodes a model. Its tensors' `rawData` are views of `bytes`.
 * @param source names the bytes in errors.
 * @throws WeftgradError 'format' for bytes that are no ONNX model, have too many parts, or are nested too deeply.
 */
export function decodeOnnx(bytes: Uint8Array, source: string): ModelProto {
  try {
    countItems(bytes)
    return fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false, recursionLimit: deepestNesting })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new WeftgradError(
      'format',
      `${source} is not a readable ONNX file: ${reason}. Download it or write it again.`,
      { source },
      cause,
    )
  }
}

/** Encodes a model, given as a plain object of the fields that matter. */
export function encodeOnnx(model: MessageInitShape<typeof ModelProtoSchema>): Uint8Array<ArrayBuffer> {
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, model))
}

/** Throws if decoding would make more than `mostItems` items. Skips over the bytes of tensors. */
function countItems(bytes: Uint8Array): void {
  const reader = new BinaryReader(bytes)
  let items = 0
  const count = (more: number): void => {
    items += more
    if (items > mostItems) throw new RangeError(`it has more than ${mostItems} nodes, names and numbers`)
  }
  const walk = (message: DescMessage, end: number, depth: number): void => {
    if (depth > deepestNesting) throw new RangeError(`its messages are nested more than ${deepestNesting} deep`)
    const fields = fieldsOf(message)
    while (reader.pos < end) {
      const [number, wireType] = reader.tag()
      if (wireType !== WireType.LengthDelimited) {
        count(1)
        reader.skip(wireType, number, deepestNesting)
        continue
      }
      const length = reader.uint32()
      const next = reader.pos + length
      if (next > end) throw new RangeError(`${length} bytes at byte ${reader.pos} go beyond byte ${end}`)
      const field = fields.get(number)
      count(isPacked(field) ? length * itemsPerByte(field) : 1)
      if (field?.message === undefined) reader.pos = next
      else walk(field.message, next, depth + 1)
    }
  }
  walk(ModelProtoSchema, bytes.length, 0)
}

const fieldsByNumber = new Map<DescMessage, ReadonlyMap<number, DescField>>()

function fieldsOf(message: DescMessage): ReadonlyMap<number, DescField> {
  const known = fieldsByNumber.get(message)
  if (known !== undefined) return known
  const fields = new Map(message.fields.map((field) => [field.number, field]))
  fieldsByNumber.set(message, fields)
  return fields
}

const isPacked = (field: DescField | undefined): boolean => field?.fieldKind === 'list' && field.packed

/** Decoded integers of 64 bits are objects, of one byte at least; other numbers are not. */
const itemsPerByte = (field: DescField | undefined): number =>
  field?.scalar === ScalarType.INT64 || field?.scalar === ScalarType.UINT64 ? 1 : 0
