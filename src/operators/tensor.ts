/**
 * A tensor: a value of the traced graph, and how to compute it. Operator functions return tensors without running
 * anything; `data()` and `item()` plan and run only what they need. Intermediates own no memory and need no disposal.
 */

import { WeftgradError } from '../errors.ts'
import { wordBytes } from '../gpu/alignment.ts'
import { upload } from '../gpu/buffers.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { DType, Shape, Storage, TensorType, Value } from '../graph/node.ts'
import { isNode, leafOp, makeNode, outputOf, shapeText } from '../graph/node.ts'
import { bytesOf } from '../graph/plan/plan.ts'
import type { EvaluateOptions, HostNumbers } from '../graph/run/evaluate.ts'
import { evaluateValues, keepValues } from '../graph/run/evaluate.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { Kind } from '../options.ts'

export type { DType, Shape } from '../graph/node.ts'

/** Numbers on the host, copied to the device for each run that reads them. */
class HostStorage implements Storage {
  readonly device = undefined
  readonly transient = true
  readonly numbers: HostNumbers

  constructor(numbers: HostNumbers) {
    this.numbers = numbers
  }

  on(device: Device): BufferSlice {
    return upload(device, this.numbers, 'host tensor').slice(0, wordBytes(this.numbers.byteLength))
  }
}

/** Numbers that stay on a device: a parameter, a data set, or a kept result. */
export class DeviceStorage implements Storage {
  readonly transient = false
  readonly slice: BufferSlice

  constructor(slice: BufferSlice) {
    this.slice = slice
  }

  get device(): Device {
    return this.slice.buffer.device
  }

  on(device: Device): BufferSlice {
    if (!this.slice.buffer.live)
      throw new WeftgradError('disposed', `${this.slice.buffer.label} was disposed and can no longer be read.`)
    if (device !== this.device)
      throw new WeftgradError(
        'argument',
        `${this.slice.buffer.label} lives on another device; read it back and make a new tensor.`,
      )
    return this.slice
  }
}

/**
 * A value of the traced graph: a shape, and numbers that are known or still to be computed. Operators return tensors
 * without running anything; {@link Tensor.data}, {@link Tensor.item}, {@link Tensor.keep} and `evaluate` plan and run
 * only what they need. A computed tensor owns no memory and needs no disposal.
 */
export class Tensor {
  /**
   * The value in the graph.
   * @internal
   */
  readonly value: Value

  /**
   * For operator functions; to make a tensor from your own numbers, use `tensor(...)`.
   * @internal
   */
  constructor(value: Value) {
    this.value = value
  }

  /** Extents, positive whole numbers; [] for a single number. */
  get shape(): Shape {
    return this.value.type.shape
  }

  /** The type of its elements. */
  get dtype(): DType {
    return this.value.type.dtype
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.shape)
  }

  /**
   * Computes the tensor and copies it to the host: Float32Array, Uint32Array or Uint8Array by dtype, row-major. To
   * compute several tensors, use `evaluate`, which computes what they share only once.
   * @throws WeftgradError 'no-adapter' if no device is open, 'limit' if the tensor exceeds the device's buffers or
   * bindings, 'disposed' if a kept tensor or a model it depends on was disposed, 'device' or 'device-lost' if the
   * device fails.
   */
  async data(options: EvaluateOptions = {}): Promise<HostNumbers> {
    const [numbers] = await evaluateValues([this.value], options)
    if (numbers === undefined) throw new RangeError()
    return numbers
  }

  /**
   * Computes a tensor of one element and returns its number.
   * @throws WeftgradError 'shape' if there is more than one element, else as {@link Tensor.data}.
   */
  async item(options: EvaluateOptions = {}): Promise<number> {
    if (this.size !== 1)
      throw new WeftgradError(
        'shape',
        `item: ${shapeText(this.shape)} holds ${this.size} numbers, not one; use data().`,
      )
    const [number = Number.NaN] = await this.data(options)
    return number
  }

  /**
   * Computes the tensor and keeps the numbers on the device for later graphs. The result owns memory: release it with
   * `dispose()` or `using`.
   * @throws WeftgradError as {@link Tensor.data}.
   */
  async keep(options: EvaluateOptions = {}): Promise<KeptTensor> {
    const [slice] = await keepValues([this.value], options)
    if (slice === undefined) throw new RangeError()
    return new KeptTensor(slice, this.value.type)
  }

  /** Dtype and shape, as in `Tensor(f32[2, 3])`; the numbers may not be computed yet. */
  toString(): string {
    return `Tensor(${this.dtype}${shapeText(this.shape)})`
  }
}

/** A tensor whose numbers stay on a device until it is disposed: the result of {@link Tensor.keep}. */
export class KeptTensor extends Tensor {
  /** The memory that holds its numbers. */
  readonly slice: BufferSlice

  /**
   * Takes over memory that already holds numbers of this type.
   * @internal
   */
  constructor(slice: BufferSlice, type: TensorType) {
    super(leaf(new DeviceStorage(slice), type))
    this.slice = slice
  }

  /** The buffer that holds the numbers. */
  get buffer(): DeviceBuffer {
    return this.slice.buffer
  }

  /** Frees the memory; a second call does nothing. Computing from it afterwards throws 'disposed'. */
  dispose(): void {
    this.slice.buffer.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

export const aTensor: Kind = ['a tensor', (value) => value instanceof Tensor]

/** Where a tensor's numbers are, with the numbers if that is the host; undefined if they are yet to be computed. */
export function storageOf({ value: { node } }: Tensor): (Storage & { readonly numbers?: HostNumbers }) | undefined {
  return isNode(node, leafOp) ? node.attributes.storage : undefined
}

/** Makes a value whose numbers already exist. */
export function leaf(storage: Storage, type: TensorType): Value {
  return outputOf(makeNode(leafOp, [], { storage, type }))
}

/** A number, or arrays of numbers nested evenly: `[[1, 2], [3, 4]]`. */
export type NestedNumbers = number | readonly NestedNumbers[]

/** Flat numbers of any type, except 64-bit whole ones. */
export type FlatNumbers =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array

/**
 * Makes a tensor from numbers: a single number, nested arrays (their nesting gives the shape), or flat numbers with a
 * shape. A Uint32Array gives u32, anything else f32 unless `dtype` says otherwise. The numbers are copied. They are
 * sent to the device at each evaluation that reads them; use {@link Tensor.keep} to keep there what is used often.
 * @throws WeftgradError 'shape' if numbers and shape do not agree, rows have different lengths, or an extent is not a
 * positive whole number; 'argument' for u32 numbers that are not whole.
 */
export function tensor(
  numbers: NestedNumbers | FlatNumbers,
  shape?: Shape,
  dtype: 'f32' | 'u32' = numbers instanceof Uint32Array ? 'u32' : 'f32',
): Tensor {
  const isTyped = ArrayBuffer.isView(numbers)
  const flat: ArrayLike<number> = isTyped ? numbers : flatten(numbers)
  const own = shape ?? (isTyped ? [numbers.length] : nestedShape(numbers))
  const type: TensorType = { shape: [...own], dtype }
  if (own.some((extent) => !Number.isInteger(extent) || extent < 1))
    throw new WeftgradError(
      'shape',
      `tensor: ${shapeText(own)} is empty or not a shape; extents are positive whole numbers.`,
    )
  if (flat.length * 4 !== bytesOf(type))
    throw new WeftgradError('shape', `tensor: ${flat.length} numbers do not fill ${shapeText(own)}.`, { shape: own })
  const isCount = (x: number): boolean => Number.isInteger(x) && x >= 0 && x <= 0xffffffff
  if (dtype === 'u32' && !Array.prototype.every.call(flat, isCount))
    throw new WeftgradError('argument', 'tensor: u32 takes whole numbers from 0 to 4294967295.')
  const data = dtype === 'u32' ? Uint32Array.from(flat) : Float32Array.from(flat)
  return new Tensor(leaf(new HostStorage(data), type))
}

export function flatten(numbers: NestedNumbers): number[] {
  return typeof numbers === 'number' ? [numbers] : numbers.flatMap(flatten)
}

export function nestedShape(numbers: NestedNumbers): number[] {
  if (typeof numbers === 'number') return []
  const shapes = numbers.map(nestedShape)
  const [first = []] = shapes
  if (shapes.some((s) => s.join() !== first.join()))
    throw new WeftgradError('shape', 'tensor: the nested arrays have rows of different lengths.')
  return [numbers.length, ...first]
}
