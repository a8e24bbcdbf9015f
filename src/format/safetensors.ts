/**
 * The safetensors format: eight bytes of header length (little-endian), a JSON header that gives every tensor's dtype,
 * shape and offsets, then the tensors' bytes without holes or overlaps. Format: https://github.com/huggingface/safetensors
 *
 * Promises: reading checks every length against the file and copies a tensor only if its bytes are not aligned for its type;
 * writing is deterministic (same tensors and metadata, same bytes, whatever their order). Values are little-endian, like
 * every platform of WebGPU. Half-precision floats are returned as bits; see `toFloat32`.
 */
import { WeftgradError } from '../errors.ts'
import { type ByteSource, memorySource, readBytes } from './byte-source.ts'
import { boundedJson, isRecord, isSizes } from './json.ts'

/** The array type that holds each dtype; F16 and BF16 as bits, BOOL as 0 and 1. */
export interface SafetensorsArrays {
  readonly F64: Float64Array
  readonly I64: BigInt64Array
  readonly U64: BigUint64Array
  readonly F32: Float32Array
  readonly I32: Int32Array
  readonly U32: Uint32Array
  readonly F16: Uint16Array
  readonly BF16: Uint16Array
  readonly I16: Int16Array
  readonly U16: Uint16Array
  readonly I8: Int8Array
  readonly U8: Uint8Array
  readonly BOOL: Uint8Array
}

export type SafetensorsDtype = keyof SafetensorsArrays

/** One tensor; `dtype` discriminates the type of `data`, whose length is the product of `shape`. */
export type SafeTensor = {
  [D in SafetensorsDtype]: { readonly dtype: D; readonly shape: readonly number[]; readonly data: SafetensorsArrays[D] }
}[SafetensorsDtype]

export interface Safetensors {
  /** The tensors in the header's order. */
  readonly tensors: ReadonlyMap<string, SafeTensor>
  /** The header's `__metadata__`; empty if there is none. It has no prototype, so all keys are safe. */
  readonly metadata: Readonly<Record<string, string>>
}

const bytesPerValue: Readonly<Record<SafetensorsDtype, number>> = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
}

/** The reference implementation's limit on the header, in bytes. */
const longestHeaderBytes = 100_000_000
const metadataKey = '__metadata__'

/** The location of a tensor in its file. */
export interface SafetensorsPlace {
  readonly name: string
  /** Tensors with an unknown dtype cannot be read; the rest of the file can. */
  readonly dtype: string
  readonly shape: readonly number[]
  /** The offset of its first byte in the file. */
  readonly start: number
  readonly bytes: number
}

/**
 * Reads a whole safetensors file.
 * @param source names the bytes in errors, for example the file's path.
 * @throws WeftgradError 'format' for a malformed file, with the tensor or the byte.
 */
export function readSafetensors(bytes: Uint8Array, source = 'The safetensors data'): Safetensors {
  const { places, metadata } = readSafetensorsHeader(memorySource(bytes, source))
  const tensors = new Map(
    places.map((place) => [
      place.name,
      tensorAt(place, bytes.subarray(place.start, place.start + place.bytes), source),
    ]),
  )
  return { tensors, metadata }
}

/** Reads one tensor of a file whose header was read. Throws WeftgradError 'format' for an invalid BOOL. */
export function readSafetensor(file: ByteSource, place: SafetensorsPlace): SafeTensor {
  return tensorAt(place, readBytes(file, place.start, place.bytes), file.name)
}

/**
 * Reads only the header: the tensors of a file and their locations, in the header's order.
 * @throws WeftgradError 'format' for a malformed file, with the tensor or the byte.
 */
export function readSafetensorsHeader(
  file: ByteSource,
): Pick<Safetensors, 'metadata'> & { readonly places: readonly SafetensorsPlace[] } {
  const { name: source, size: fileBytes } = file
  const refuse = (problem: string, details: Record<string, unknown> = {}): never => {
    throw new WeftgradError('format', `${source} is not a readable safetensors file: ${problem}`, {
      source,
      ...details,
    })
  }

  if (fileBytes < 8) refuse(`it has ${fileBytes} bytes, fewer than the 8 of the header length. Download it again.`)
  const claimed = new DataView(readBytes(file, 0, 8).buffer).getBigUint64(0, true)
  if (claimed > BigInt(fileBytes - 8)) {
    refuse(
      `bytes 0 to 7 give a header of ${claimed} bytes, but only ${fileBytes - 8} follow. Check that this is the right file, and download it again.`,
    )
  }
  if (claimed > BigInt(longestHeaderBytes)) {
    refuse(`its header of ${claimed} bytes is longer than the ${longestHeaderBytes} that the format allows.`)
  }
  const dataStart = 8 + Number(claimed)
  const headerBytes = readBytes(file, 8, Number(claimed))
  if (headerBytes[0] !== 0x7b) refuse("the header at byte 8 does not start with '{'. Download it again.")

  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(headerBytes)
    header = boundedJson(text)
  } catch (cause) {
    throw new WeftgradError(
      'format',
      `${source} is not a readable safetensors file: the header, bytes 8 to ${dataStart - 1}, is not JSON (${reason(cause)}). Download it again.`,
      { source },
      cause,
    )
  }
  const twice = repeatedKey(text)
  if (twice !== undefined) refuse(`the header has the key '${shortened(twice)}' twice. Write the file again.`)
  if (!isRecord(header)) return refuse('the header is not a JSON object. Write the file again.')

  const metadata: Record<string, string> = Object.create(null)
  const places: SafetensorsPlace[] = []
  for (const [name, entry] of Object.entries(header)) {
    if (name === metadataKey) {
      if (entry === null) continue
      if (!isRecord(entry)) return refuse(`${metadataKey} is not an object of strings. Write the file again.`)
      for (const [key, value] of Object.entries(entry)) {
        if (typeof value !== 'string') {
          return refuse(`${metadataKey} gives '${shortened(key)}' a value that is not a string. Write the file again.`)
        }
        metadata[key] = value
      }
      continue
    }
    const label = `tensor '${shortened(name)}'`
    if (!isRecord(entry)) return refuse(`${label} is not described by an object. Write the file again.`)
    const { dtype, shape, data_offsets: offsets } = entry
    if (typeof dtype !== 'string') {
      return refuse(`${label} has the dtype ${shortened(JSON.stringify(dtype) ?? 'undefined')}. Write the file again.`)
    }
    if (!isSizes(shape)) return refuse(`${label} has a shape that is not a list of sizes. Write the file again.`)
    if (!isSizes(offsets)) return refuse(`${label} has data_offsets that are not sizes. Write the file again.`)
    const [begin, end] = offsets
    if (offsets.length !== 2 || begin === undefined || end === undefined || begin > end) {
      return refuse(`${label} has data_offsets that are not a begin and an end. Write the file again.`)
    }
    if (end > fileBytes - dataStart) {
      return refuse(
        `${label} ends at byte ${end} of the data, of which there are only ${fileBytes - dataStart}. Download it again: it is cut off.`,
        { name },
      )
    }
    const count = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, 1)
    const bytes = isDtype(dtype) ? count * bytesPerValue[dtype] : end - begin
    // A product beyond exact integers is still larger than any length, so the comparison holds for it too.
    if (bytes !== end - begin) {
      return refuse(
        `${label} of ${dtype} and shape [${shortened(shape.join(', '))}] takes ${bytes} bytes, but its data_offsets span ${end - begin}. Write the file again.`,
        { name },
      )
    }
    places.push({ name, dtype, shape, start: dataStart + begin, bytes })
  }

  let reached = 0
  for (const place of [...places].sort((a, b) => a.start - b.start || a.bytes - b.bytes)) {
    const begin = place.start - dataStart
    if (begin !== reached) {
      refuse(
        `tensor '${shortened(place.name)}' starts at byte ${begin} of the data, where the ones before it end at ${reached}: ` +
          `the format allows neither ${begin < reached ? 'overlaps' : 'holes'}. Write the file again.`,
        { name: place.name },
      )
    }
    reached += place.bytes
  }
  if (reached !== fileBytes - dataStart) {
    refuse(`its tensors end at byte ${reached} of the data, but there are ${fileBytes - dataStart}. Download it again.`)
  }
  return { places, metadata }
}

/**
 * Writes tensors as safetensors. As in the reference implementation, tensors are sorted by width of the type, then by name, so
 * that every tensor is aligned; the header is padded with spaces to a multiple of 8 bytes.
 * @throws WeftgradError 'argument' for a name, shape or metadata that the format does not support.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, SafeTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const sorted = [...tensors].sort(
    ([nameA, a], [nameB, b]) => bytesPerValue[b.dtype] - bytesPerValue[a.dtype] || (nameA < nameB ? -1 : 1),
  )
  for (const [name, { dtype, shape, data }] of sorted) {
    if (!isSizes(shape)) throw badShape(name, shape)
    const count = shape.reduce((product, extent) => product * extent, 1)
    if (count !== data.length || data.BYTES_PER_ELEMENT !== bytesPerValue[dtype]) {
      throw new WeftgradError(
        'argument',
        `Tensor '${name}' of ${dtype} and shape [${shape.join(', ')}] needs ${count} values of ${bytesPerValue[dtype]} bytes, not ${data.length} of ${data.BYTES_PER_ELEMENT}.`,
        { name, dtype, shape, length: data.length },
      )
    }
    if (dtype === 'BOOL' && data.some((value) => value > 1)) {
      throw new WeftgradError('argument', `Tensor '${name}' of BOOL has values other than 0 and 1.`, { name })
    }
  }
  const start = safetensorsStart(
    sorted.map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    metadata,
  )
  const dataBytes = sorted.reduce((sum, [, { data }]) => sum + data.byteLength, 0)
  const bytes = new Uint8Array(start.length + dataBytes)
  bytes.set(start)
  let at = start.length
  for (const [, { data }] of sorted) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return bytes
}

/**
 * The bytes before the data; the tensors' bytes follow in this order, without gaps. For files written one tensor at a time.
 * Put wide dtypes first, which aligns every tensor.
 * @throws WeftgradError 'argument' for a name, shape or metadata that the format does not support, or a duplicate name.
 */
export function safetensorsStart(
  tensors: readonly { readonly name: string; readonly dtype: SafetensorsDtype; readonly shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const entries: string[] = []
  const metadataKeys = Object.keys(metadata).sort()
  if (metadataKeys.length > 0) {
    const pairs = metadataKeys.map((key) => {
      const value = metadata[key]
      if (typeof value !== 'string') {
        throw new WeftgradError('argument', `The metadata '${key}' must be a string, not ${typeof value}.`, { key })
      }
      return `${JSON.stringify(key)}:${JSON.stringify(value)}`
    })
    entries.push(`"${metadataKey}":{${pairs.join(',')}}`)
  }
  const names = new Set<string>()
  let offset = 0
  for (const { name, dtype, shape } of tensors) {
    if (name === metadataKey || names.has(name) || !isWellFormed(name)) {
      const how = names.has(name) ? ', as another is' : ''
      throw new WeftgradError('argument', `A tensor cannot be named ${JSON.stringify(name)} in safetensors${how}.`, {
        name,
      })
    }
    names.add(name)
    if (!isSizes(shape)) throw badShape(name, shape)
    const end = offset + shape.reduce((product, extent) => product * extent, bytesPerValue[dtype])
    entries.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${offset},${end}]}`,
    )
    offset = end
  }
  const header = new TextEncoder().encode(`{${entries.join(',')}}`)
  const headerBytes = Math.ceil(header.length / 8) * 8
  if (headerBytes > longestHeaderBytes) {
    throw new WeftgradError('argument', `The header takes ${headerBytes} bytes; safetensors allows 100,000,000.`)
  }
  const start = new Uint8Array(8 + headerBytes).fill(0x20)
  new DataView(start.buffer).setBigUint64(0, BigInt(headerBytes), true)
  start.set(header, 8)
  return start
}

function badShape(name: string, shape: readonly number[]): WeftgradError {
  return new WeftgradError('argument', `Tensor '${name}' has a shape that is not a list of sizes.`, { name, shape })
}

/**
 * A tensor's values as float32: the data itself for F32, a converted copy for other floats and for integers (64-bit
 * integers and doubles are rounded to the nearest).
 */
export function toFloat32(tensor: SafeTensor): Float32Array {
  switch (tensor.dtype) {
    case 'F32':
      return tensor.data
    case 'F16':
      return float16ToFloat32(tensor.data)
    case 'BF16':
      return bfloat16ToFloat32(tensor.data)
    case 'I64':
    case 'U64':
      return Float32Array.from(tensor.data, Number)
    default:
      return Float32Array.from(tensor.data)
  }
}

/** Widens bfloat16, given as bits: the upper halves of float32. */
export function bfloat16ToFloat32(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length)
  for (const [i, half] of halves.entries()) bits[i] = half << 16
  return new Float32Array(bits.buffer)
}

/** Widens IEEE 754 half-precision floats, given as bits; exact for every value, infinities and NaN included. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const values = new Float32Array(bits.length)
  for (const [i, half] of bits.entries()) {
    const sign = half & 0x8000 ? -1 : 1
    const exponent = (half >> 10) & 0x1f
    const fraction = half & 0x3ff
    if (exponent === 0) values[i] = sign * fraction * 2 ** -24
    else if (exponent === 31) values[i] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    else values[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
  }
  return values
}

function tensorAt({ name, dtype, shape }: SafetensorsPlace, bytes: Uint8Array, source: string): SafeTensor {
  if (!isDtype(dtype)) {
    throw new WeftgradError(
      'format',
      `${source} is not a readable safetensors file: tensor '${shortened(name)}' has the dtype ` +
        `${shortened(JSON.stringify(dtype))}; known are ${Object.keys(bytesPerValue).join(', ')}. Convert it.`,
      { source, name },
    )
  }
  const tensor = tensorFrom(dtype, shape, bytes)
  const wrong = tensor.dtype === 'BOOL' ? tensor.data.findIndex((value) => value > 1) : -1
  if (wrong >= 0) {
    throw new WeftgradError(
      'format',
      `${source} is not a readable safetensors file: tensor '${shortened(name)}' of BOOL has a value other than 0 and 1 at index ${wrong}.`,
      { source, name },
    )
  }
  return tensor
}

function tensorFrom(dtype: SafetensorsDtype, shape: readonly number[], bytes: Uint8Array): SafeTensor {
  const width = bytesPerValue[dtype]
  // Not `slice()`, which does not copy a Node.js Buffer.
  const { buffer, byteOffset } = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes)
  const length = bytes.length / width
  switch (dtype) {
    case 'F64':
      return { dtype, shape, data: new Float64Array(buffer, byteOffset, length) }
    case 'I64':
      return { dtype, shape, data: new BigInt64Array(buffer, byteOffset, length) }
    case 'U64':
      return { dtype, shape, data: new BigUint64Array(buffer, byteOffset, length) }
    case 'F32':
      return { dtype, shape, data: new Float32Array(buffer, byteOffset, length) }
    case 'I32':
      return { dtype, shape, data: new Int32Array(buffer, byteOffset, length) }
    case 'U32':
      return { dtype, shape, data: new Uint32Array(buffer, byteOffset, length) }
    case 'F16':
    case 'BF16':
    case 'U16':
      return { dtype, shape, data: new Uint16Array(buffer, byteOffset, length) }
    case 'I16':
      return { dtype, shape, data: new Int16Array(buffer, byteOffset, length) }
    case 'I8':
      return { dtype, shape, data: new Int8Array(buffer, byteOffset, length) }
    case 'U8':
    case 'BOOL':
      return { dtype, shape, data: new Uint8Array(buffer, byteOffset, length) }
  }
}

/**
 * The first duplicate key in an object of this JSON text; JSON.parse silently keeps the last one. The text was parsed before,
 * so it is well formed, and scanning for strings and brackets is enough.
 */
function repeatedKey(json: string): string | undefined {
  const open: (Set<string> | 'array')[] = []
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]]/g
  for (const { 0: token, index } of json.matchAll(tokens)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push('array')
    else if (token === '}' || token === ']') open.pop()
    else {
      const keys = open.at(-1)
      if (keys === undefined || keys === 'array' || !isFollowedByColon(json, index + token.length)) continue
      const key: unknown = JSON.parse(token)
      if (typeof key !== 'string') continue
      if (keys.has(key)) return key
      keys.add(key)
    }
  }
  return undefined
}

function isFollowedByColon(json: string, start: number): boolean {
  let at = start
  while (' \t\n\r'.includes(json.charAt(at)) && at < json.length) at++
  return json.charAt(at) === ':'
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === 'string' && Object.hasOwn(bytesPerValue, value)
}

/** Whether UTF-8 can represent the text: a lone surrogate would change. */
function isWellFormed(text: string): boolean {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(text)) === text
}

function shortened(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}...` : text
}

function reason(cause: unknown): string {
  return shortened(cause instanceof Error ? cause.message : String(cause))
}
