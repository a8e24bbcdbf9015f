/**
 * The IDX format of the MNIST family: a magic number (two zero bytes, a type code, the number of dimensions), the
 * dimensions as big-endian 32-bit integers, then the values in row-major order. Only unsigned bytes are supported, the type of
 * every published set of the family.
 *
 * Promises: nothing is copied or allocated by the size that a header claims; the length must match exactly.
 */

import { WeftgradError } from '../errors.ts'
import { checkValue, theBytes } from '../options.ts'

/** The content of an IDX file. */
export interface IdxArray {
  /** Outermost dimension first. */
  readonly shape: readonly number[]
  /** Row-major values; `parseIdx` returns a view into the parsed bytes. */
  readonly data: Uint8Array
}

const unsignedByte = 0x08

/**
 * Reads an IDX file of unsigned bytes.
 * @param source names the bytes in errors, for example the file's path.
 * @throws WeftgradError 'format' for anything but exactly one well-formed array.
 */
export function parseIdx(bytes: Uint8Array, source = 'The IDX data'): IdxArray {
  checkValue('parseIdx: the bytes', bytes, theBytes)
  const refuse = (problem: string, details: Record<string, unknown> = {}): never => {
    throw new WeftgradError('format', `${source} is not a readable IDX file: ${problem}`, { source, ...details })
  }

  if (bytes.length < 4) {
    refuse(`it has only ${bytes.length} bytes. Download the file again.`)
  }
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    refuse('it starts with the signature of gzip. Decompress it first.')
  }
  if (bytes[0] !== 0 || bytes[1] !== 0) {
    refuse('bytes 0 and 1 are not zero. Check that this is the right file.')
  }
  const type = bytes[2] ?? 0
  if (type !== unsignedByte) {
    refuse(
      `byte 2 gives the type ${hex(type)}; only bytes (${hex(unsignedByte)}) are supported. Convert the values to bytes.`,
      {
        type,
      },
    )
  }
  const rank = bytes[3] ?? 0
  if (rank === 0) refuse('byte 3 gives 0 dimensions. Download the file again.')
  const headerBytes = 4 + 4 * rank
  if (bytes.length < headerBytes) {
    refuse(`byte 3 gives ${rank} dimensions, but the file has only ${bytes.length} bytes. Download the file again.`, {
      rank,
    })
  }

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const shape: number[] = []
  for (let i = 0; i < rank; i++) shape.push(view.getUint32(4 + 4 * i))
  const count = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, 1)
  const present = bytes.length - headerBytes
  // A product beyond exact integers is still larger than any length, so the comparison holds for it too.
  if (count !== present) {
    refuse(
      `its dimensions ${shape.slice(0, 8).join('x')}${rank > 8 ? '...' : ''} need ${count} values, but ${present} follow. Download the file again.`,
      { shape, expectedBytes: count, actualBytes: present },
    )
  }
  return { shape, data: bytes.subarray(headerBytes) }
}

/**
 * Writes an array of unsigned bytes as IDX.
 * @throws WeftgradError 'argument' if the shape cannot be written or does not match the data.
 */
export function writeIdx(array: IdxArray): Uint8Array {
  const { shape, data } = array
  if (shape.length < 1 || shape.length > 255) {
    throw new WeftgradError('argument', `IDX holds 1 to 255 dimensions, not ${shape.length}.`, { shape })
  }
  for (const extent of shape) {
    if (!Number.isInteger(extent) || extent < 0 || extent > 0xffffffff) {
      throw new WeftgradError('argument', `${extent} is not a dimension: IDX holds 32-bit unsigned integers.`, {
        shape,
      })
    }
  }
  const count = shape.reduce((product, extent) => product * extent, 1)
  if (count !== data.length) {
    throw new WeftgradError('argument', `The shape ${shape.join('x')} has ${count} values, not ${data.length}.`, {
      shape,
      length: data.length,
    })
  }
  const headerBytes = 4 + 4 * shape.length
  const bytes = new Uint8Array(headerBytes + data.length)
  const view = new DataView(bytes.buffer)
  bytes[2] = unsignedByte
  bytes[3] = shape.length
  shape.forEach((extent, i) => {
    view.setUint32(4 + 4 * i, extent)
  })
  bytes.set(data, headerBytes)
  return bytes
}

function hex(byte: number | undefined): string {
  return `0x${(byte ?? 0).toString(16).padStart(2, '0')}`
}
