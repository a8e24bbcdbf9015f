/**
 * Reads parts of an HDF5 file without the library: checks that keep damaged files away from it, and facts that it does not
 * report. Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
 */
import { WeftgradError } from '../errors.ts'
import { type ByteSource, readBytes } from './byte-source.ts'

export const hdf5Signature: readonly number[] = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a]

const heapSignature: readonly number[] = [0x47, 0x43, 0x4f, 0x4c]

/** The class of floating-point types. */
export const floatClass = 1

/** Reports most broken downloads at once, and refuses address sizes that no writer of weights uses. */
export function checkSuperblock(source: ByteSource): void {
  const refuse = (problem: string): never => {
    throw new WeftgradError('format', `${source.name} is not a readable HDF5 file: ${problem}.`, {
      source: source.name,
    })
  }
  if (source.size < 96) refuse(`it has ${source.size} bytes, too few for an HDF5 file. Download it again`)
  const head = readBytes(source, 0, 96)
  if (hdf5Signature.some((byte, i) => head[i] !== byte)) refuse('it lacks the HDF5 signature. Check the path')
  const version = head[8] ?? 0
  const isOld = version < 2
  const [offsetBytes, lengthBytes] = head.subarray(isOld ? 13 : 9)
  if (version > 3 || offsetBytes !== 8 || lengthBytes !== 8) {
    refuse(`its version ${version} with addresses of ${offsetBytes} bytes is unknown. Write it again with h5py`)
  }
  const extra = version === 1 ? 4 : 0
  const end = new DataView(head.buffer).getBigUint64(isOld ? 40 + extra : 28, true)
  if (end > BigInt(source.size)) refuse(`it is cut off after ${source.size} of ${end} bytes. Download it again`)
}

/**
 * Strings of variable length are in "global heaps". A heap whose entries do not advance makes the library loop forever without
 * reading (HDF5 2.0.0), so every heap is checked before the library reads it. Format specification, III.E.
 */
export class HeapCheck {
  readonly #source: ByteSource
  readonly #checked = new Set<number>()
  #stepsLeft: number

  constructor(source: ByteSource) {
    this.#source = source
    this.#stepsLeft = 2 ** 20 + source.size / 4
  }

  /** Checks bytes that the library is about to read. It reads heaps from their start. */
  check(position: number, bytes: Uint8Array): void {
    const isHeap = heapSignature.every((byte, i) => bytes[i] === byte)
    if (!isHeap || this.#checked.has(position)) return
    this.#checked.add(position)
    this.#walk(position)
  }

  #walk(heap: number): void {
    const { size } = this.#source
    // The library itself refuses a heap that is too short.
    if (heap + 16 > size) return
    const heapBytes = this.#lengthAt(heap + 8)
    if (heapBytes < 16 || heap + heapBytes > size) throw this.#refuse(heap, `claims ${heapBytes} bytes`)
    const bytes = readBytes(this.#source, heap, heapBytes)
    const view = new DataView(bytes.buffer)
    for (let at = 16; at + 16 <= heapBytes; ) {
      const index = view.getUint16(at, true)
      const entry = Number(view.getBigUint64(at + 8, true))
      // Entry 0 is the free space; its size includes its header.
      const step = index === 0 ? entry : 16 + 8 * Math.ceil(entry / 8)
      this.#stepsLeft -= 1
      if (step < 16 || at + step > heapBytes || this.#stepsLeft < 0)
        throw this.#refuse(heap, `is damaged at byte ${at}`)
      at += step
    }
  }

  #lengthAt(position: number): number {
    return Number(new DataView(readBytes(this.#source, position, 8).buffer).getBigUint64(0, true))
  }

  #refuse(heap: number, problem: string): WeftgradError {
    const { name } = this.#source
    return new WeftgradError(
      'format',
      `${name} is not a readable HDF5 file: the string heap at byte ${heap} ${problem}. Download it again.`,
      { source: name },
    )
  }
}

/** The kinds of 16-bit floats that a file describes. */
export function* halfFloats(source: ByteSource): Generator<string> {
  const piece = 2 ** 20
  const typeBytes = 16
  for (let from = 0; from < source.size; from += piece) {
    const bytes = readBytes(source, from, Math.min(piece + typeBytes - 1, source.size - from))
    for (let at = bytes.indexOf(16, 10); at >= 0; at = bytes.indexOf(16, at + 1)) {
      const start = at - 10
      const isFloat = ((bytes[start] ?? 0) & 0x0f) === floatClass && bytes[start + 4] === 2
      const isHalf = isFloat && [5, 6, 7, 8, 9, 11].every((i) => bytes[start + i] === 0)
      const layout = isHalf ? bytes.subarray(start + 12, start + 16).join(' ') : ''
      if (layout === '10 5 0 10') yield 'float16'
      if (layout === '7 8 0 7') yield 'bfloat16'
    }
  }
}
