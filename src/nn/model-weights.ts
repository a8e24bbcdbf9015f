/**
 * A model's weights. Their numbers are created on first use: initial ones when they are put on a device, loaded ones
 * while they stream there one at a time. On a device, all trainable weights are slices of one flat buffer, so that an
 * optimizer updates them in one dispatch; the others are slices of further buffers.
 */

import { WeftgradError } from '../errors.ts'
import { alignUp, wordBytes } from '../gpu/alignment.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { Shape, Storage } from '../graph/node.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { leaf, Tensor } from '../operators/tensor.ts'
import { Random } from '../random.ts'
import type { WeightEncoding, WeightSpec } from './layers.ts'
import type { Regularizer } from './regularizers.ts'

/** Weights on the host, by name, `<layer>/<weight>`, in the model's order. */
export type WeightNumbers = ReadonlyMap<
  string,
  {
    /** Extents. */
    readonly shape: Shape
    /** Row-major. */
    readonly data: Float32Array
  }
>

/** A weight in its model. */
export interface ModelWeight {
  /** Its full name, `<layer>/<weight>`. */
  readonly name: string
  /** Extents. */
  readonly shape: Shape
  /** Whether an optimizer updates it. */
  readonly trainable: boolean
  /** The weight in graphs: `valueAndGrad` can differentiate by it. */
  readonly tensor: Tensor
  /** Its penalty in training, if it has one. */
  readonly regularizer?: Regularizer | undefined
  /**
   * The number of the buffer that holds it; 0 if it is trainable.
   * @internal
   */
  readonly part: number
  /** Bytes from the start of that buffer. */
  readonly offset: number
  /**
   * How it is stored there, if not as f32.
   * @internal
   */
  readonly encoding?: WeightEncoding | undefined
}

/** The position of a weight in the model's buffers. */
export type WeightPlace = Pick<ModelWeight, 'trainable' | 'part' | 'offset' | 'shape' | 'encoding'>

/** Returns a weight's numbers, row-major. The array is read once; it is not kept or written to. */
export type ReadWeight = (weight: ModelWeight) => Promise<Float32Array>

/** The progress of loading. */
export interface LoadProgress {
  /** The weight that has just reached the device. */
  readonly weight: ModelWeight
  /** Bytes on the device so far. */
  readonly bytes: number
  /** Bytes of all weights. */
  readonly totalBytes: number
}

/** A weight of another model. */
interface ForeignWeight {
  readonly memory: WeightMemory
  readonly weight: ModelWeight
}

/** Which weights were set by name. */
export interface WeightMatch {
  /** Names of the weights that were set. */
  readonly taken: readonly string[]
  /** Names of the model's other weights: none was given, or one of another shape. */
  readonly left: readonly string[]
}

/** The flat buffers: one for trainable weights, at least one for the others. */
interface WeightBuffers {
  readonly trainable: DeviceBuffer
  readonly fixed: readonly DeviceBuffer[]
}

/** Every adapter has buffers of this size. A frozen ResNet152V2 takes 579 MB, since its filters are transformed. */
const mostPartBytes = 2 ** 28

/**
 * WebGPU keeps a copy of written bytes until the device has taken them. After this many, loading waits for the device.
 */
const mostUnderWay = 32 * 2 ** 20

/** The numbers of one model's weights, on the host until `to` or `load` puts them on a device. */
export class WeightMemory {
  readonly #model: string
  readonly #seed: number
  readonly #weights: ModelWeight[] = []
  readonly #initial = new Map<string, () => Float32Array>()
  /** Where the weights of nested models come from, until they are on a device or set. */
  readonly #nested = new Map<string, ForeignWeight>()
  #trainableBytes = 0
  /** Bytes of each part of the fixed weights. */
  readonly #fixedBytes = [0]
  /** Numbers set before the model was put on a device. */
  readonly #host = new Map<string, Float32Array>()
  #buffers: WeightBuffers | undefined
  #disposed = false

  /**
   * `model` is the model's name, for errors and labels. Initial numbers depend only on `seed` and the weights' names.
   */
  constructor(model: string, seed: number) {
    this.#model = model
    this.#seed = seed
  }

  /**
   * Adds a weight. All must be declared before the first is put on a device. Its first numbers are those of `from`, a weight of
   * a nested model, else its initializer's.
   */
  declare(layer: string, spec: WeightSpec, trainable: boolean, from?: ForeignWeight): ModelWeight {
    const { name: own, shape, initializer, regularizer, encoding } = spec
    const name = `${layer}/${own}`
    if (from !== undefined) this.#nested.set(name, from)
    const kept = { shape, encoding }
    const place = { ...this.#placeFor(alignUp(bytesOf(kept)), trainable), trainable, ...kept }
    this.#initial.set(name, () => initializer(shape, new Random(this.#seed, name)))
    const tensor = new Tensor(leaf(new WeightStorage(this, place), { shape, dtype: encoding?.dtype ?? 'f32' }))
    const weight = { name, tensor, regularizer, ...place }
    this.#weights.push(weight)
    return weight
  }

  /** Makes room for a weight. */
  #placeFor(bytes: number, trainable: boolean): Pick<WeightPlace, 'part' | 'offset'> {
    if (trainable) {
      this.#trainableBytes += bytes
      return { part: 0, offset: this.#trainableBytes - bytes }
    }
    const last = this.#fixedBytes.at(-1) ?? 0
    if (last > 0 && last + bytes > mostPartBytes) this.#fixedBytes.push(0)
    const part = this.#fixedBytes.length - 1
    const offset = this.#fixedBytes[part] ?? 0
    this.#fixedBytes[part] = offset + bytes
    return { part, offset }
  }

  /** The device the weights are on, if they are on one. */
  get device(): Device | undefined {
    return this.#buffers?.trainable.device
  }

  /** The flat buffer of all trainable weights. Throws 'argument' before the weights are on a device. */
  get trainableBuffer(): DeviceBuffer {
    return this.#onDevice().trainable
  }

  /** The memory of one weight. Throws 'argument' before the weights are on a device. */
  sliceOf(place: WeightPlace): BufferSlice {
    return sliceIn(this.#onDevice(), place)
  }

  #onDevice(): WeightBuffers {
    if (this.#buffers === undefined)
      throw new WeftgradError('argument', `${this.#model} is not on a device yet; call model.to(device).`)
    return this.#buffers
  }

  /** `Model.to`. */
  to(device: Device): void {
    this.#refuse(device)
    if (this.#buffers !== undefined) return
    const buffers = this.#allocate(device)
    try {
      for (const weight of this.#weights) {
        const from = this.#nestedOn(weight)
        if (from === undefined) write(sliceIn(buffers, weight), this.#hostNumbers(weight), weight)
        else {
          from.memory.#refuse(device)
          device.copy(from.memory.sliceOf(from.weight), sliceIn(buffers, weight))
        }
      }
    } catch (error) {
      release(buffers)
      throw error
    }
    this.#adopt(buffers)
  }

  /** `Model.load`. */
  async load(device: Device, read: ReadWeight, onProgress?: (progress: LoadProgress) => void): Promise<void> {
    this.#refuse(device)
    const fresh = this.#allocate(device)
    try {
      const totalBytes = this.#weights.reduce((sum, weight) => sum + bytesOf(weight), 0)
      let [bytes, underWay] = [0, 0]
      for (const weight of this.#weights) {
        const data = await read(weight)
        checkNumbers(this.#model, weight, data)
        const { buffer, offset } = sliceIn(fresh, weight)
        for (let from = 0; from < data.byteLength; from += mostUnderWay) {
          const part = data.subarray(from / 4, (from + mostUnderWay) / 4)
          const share = storedBytes(weight) / 4
          write(buffer.slice(offset + from * share, wordBytes(part.byteLength * share)), part, weight)
          underWay += part.byteLength
          if (underWay < mostUnderWay) continue
          await device.idle()
          underWay = 0
        }
        bytes += bytesOf(weight)
        onProgress?.({ weight, bytes, totalBytes })
      }
      await device.idle()
      this.#refuse(device)
    } catch (error) {
      release(fresh)
      throw error
    }
    this.#adopt(fresh)
  }

  #refuse(device: Device): void {
    this.#refuseDisposed()
    if (this.device !== undefined && this.device !== device)
      throw new WeftgradError(
        'argument',
        `${this.#model} is on another device; make a new model and give it these weights.`,
      )
  }

  #refuseDisposed(): void {
    if (this.#disposed) throw new WeftgradError('disposed', `${this.#model} was disposed.`)
  }

  #allocate(device: Device): WeightBuffers {
    const trainable = device.allocate(this.#trainableBytes, `${this.#model} trainable weights`)
    const fixed: DeviceBuffer[] = []
    try {
      for (const bytes of this.#fixedBytes) fixed.push(device.allocate(bytes, `${this.#model} fixed weights`))
      return { trainable, fixed }
    } catch (error) {
      release({ trainable, fixed })
      throw error
    }
  }

  /**
   * Takes over filled buffers. If buffers exist already, programs are bound to them, so they receive the bytes instead.
   */
  #adopt(fresh: WeightBuffers): void {
    if (this.#buffers === undefined) {
      this.#buffers = fresh
      this.#host.clear()
      return
    }
    const { device } = fresh.trainable
    device.copy(fresh.trainable.slice(), this.#buffers.trainable.slice())
    for (const [part, buffer] of this.#buffers.fixed.entries()) {
      const from = fresh.fixed[part]
      if (from !== undefined) device.copy(from.slice(), buffer.slice())
    }
    release(fresh)
  }

  /** The nested model's weight that a weight still takes its numbers from, if that is on a device. */
  #nestedOn({ name }: ModelWeight): ForeignWeight | undefined {
    const from = this.#host.has(name) || this.#buffers !== undefined ? undefined : this.#nested.get(name)
    if (from === undefined || from.memory.#buffers !== undefined) return from
    return from.memory.#nestedOn(from.weight)
  }

  #hostNumbers({ name }: ModelWeight): Float32Array {
    const from = this.#host.has(name) ? undefined : this.#nested.get(name)
    if (from !== undefined) {
      from.memory.#refuseDisposed()
      return from.memory.#hostNumbers(from.weight)
    }
    const numbers = this.#host.get(name) ?? this.#initial.get(name)?.()
    if (numbers === undefined) throw new WeftgradError('argument', `${this.#model} has no weight ${name}.`)
    return numbers
  }

  /** `Model.read`. */
  async read(weight: ModelWeight): Promise<Float32Array> {
    this.#refuseDisposed()
    const from = this.#nestedOn(weight)
    if (from !== undefined) return from.memory.read(from.weight)
    if (this.#buffers === undefined) return Float32Array.from(this.#hostNumbers(weight))
    return numbersOf(await this.#buffers.trainable.device.read(sliceIn(this.#buffers, weight)), weight)
  }

  /** `Model.weightNumbers`. */
  async numbers(): Promise<WeightNumbers> {
    this.#refuseDisposed()
    const bytes = await this.device?.readAll(this.#weights.map((weight) => this.sliceOf(weight)))
    const numbers = await Promise.all(
      this.#weights.map(async (weight, i) => {
        const onDevice = bytes?.[i]
        const data = onDevice === undefined ? await this.read(weight) : numbersOf(onDevice, weight)
        return [weight.name, { shape: weight.shape, data }] as const
      }),
    )
    return new Map(numbers)
  }

  /** `Model.checkWeights`. */
  check(numbers: WeightNumbers): void {
    this.#matched(numbers)
  }

  /** `Model.setWeights`. */
  set(numbers: WeightNumbers, partial: boolean): WeightMatch {
    this.#refuseDisposed()
    const matched = partial ? this.#fitting(numbers) : this.#matched(numbers)
    // The first pass throws, if any does, before anything is written.
    const { device } = this
    if (device !== undefined) for (const { weight, data } of matched) weight.encoding?.encode(data, weight.name, device)
    for (const { weight, data } of matched) {
      if (this.#buffers === undefined) this.#host.set(weight.name, Float32Array.from(data))
      else write(sliceIn(this.#buffers, weight), data, weight)
    }
    const taken = matched.map(({ weight }) => weight.name)
    const left = this.#weights.map(({ name }) => name).filter((name) => !taken.includes(name))
    return { taken, left }
  }

  /** The weights with numbers of their names and shapes. */
  #fitting(numbers: WeightNumbers): { readonly weight: ModelWeight; readonly data: Float32Array }[] {
    return this.#weights.flatMap((weight) => {
      const given = numbers.get(weight.name)
      return given !== undefined && fits(given, weight) ? [{ weight, data: given.data }] : []
    })
  }

  /** Pairs each weight with its new numbers. */
  #matched(numbers: WeightNumbers): { readonly weight: ModelWeight; readonly data: Float32Array }[] {
    const matched = this.#weights.map((weight) => {
      const { name, shape } = weight
      const given = numbers.get(name)
      if (given === undefined)
        throw new WeftgradError(
          'mismatch',
          `${this.#model} has a weight ${name}${shapeText(shape)} that the given weights lack.`,
        )
      if (!fits(given, weight))
        throw new WeftgradError(
          'mismatch',
          `${this.#model}: ${name} is ${shapeText(shape)} here and ${shapeText(given.shape)} there.`,
        )
      return { weight, data: given.data }
    })
    const own = new Set(this.#weights.map((weight) => weight.name))
    const foreign = [...numbers.keys()].find((name) => !own.has(name))
    if (foreign !== undefined) throw new WeftgradError('mismatch', `${this.#model} has no weight ${foreign}.`)
    return matched
  }

  dispose(): void {
    this.#disposed = true
    if (this.#buffers !== undefined) release(this.#buffers)
    this.#host.clear()
  }
}

/** A weight's numbers for graphs: puts the model on the device when a graph needs them there. */
class WeightStorage implements Storage {
  readonly transient = false
  readonly #memory: WeightMemory
  readonly #place: WeightPlace

  constructor(memory: WeightMemory, place: WeightPlace) {
    this.#memory = memory
    this.#place = place
  }

  get device(): Device | undefined {
    return this.#memory.device
  }

  on(device: Device): BufferSlice {
    this.#memory.to(device)
    return this.#memory.sliceOf(this.#place)
  }
}

type Stored = Pick<ModelWeight, 'shape' | 'encoding'>

/** Bytes of one number on the device. */
const storedBytes = ({ encoding }: Stored): number => encoding?.elementBytes ?? 4

const bytesOf = (weight: Stored): number => wordBytes(elementCount(weight.shape) * storedBytes(weight))

const numbersOf = (bytes: ArrayBuffer, { shape, encoding }: Stored): Float32Array =>
  encoding?.decode(bytes, elementCount(shape)) ?? new Float32Array(bytes)

function fits(given: { readonly shape: Shape; readonly data: Float32Array }, { shape }: ModelWeight): boolean {
  return sameShape(given.shape, shape) && given.data.length === elementCount(shape)
}

function sliceIn({ trainable, fixed }: WeightBuffers, place: WeightPlace): BufferSlice {
  const buffer = place.trainable ? trainable : fixed[place.part]
  if (buffer === undefined) throw new RangeError(`there is no part ${place.part} of the fixed weights`)
  return buffer.slice(place.offset, bytesOf(place))
}

function release({ trainable, fixed }: WeightBuffers): void {
  for (const buffer of [trainable, ...fixed]) buffer.dispose()
}

function write(slice: BufferSlice, data: Float32Array, { name, encoding }: ModelWeight): void {
  // WebGPU does not accept shared memory, so that is copied first, as is anything but a Float32Array.
  const { buffer, byteOffset, length } = data
  const isOwn = data instanceof Float32Array && buffer instanceof ArrayBuffer
  const own = isOwn ? new Float32Array(buffer, byteOffset, length) : Float32Array.from(data)
  const { device } = slice.buffer
  device.write(slice, encoding?.encode(own, name, device) ?? own)
}

/** Throws 'mismatch' for numbers that do not fill the weight, 'data' if any is not finite. */
export function checkNumbers(
  model: string,
  { name, shape }: Pick<ModelWeight, 'name' | 'shape'>,
  data: Float32Array,
): void {
  if (data.length !== elementCount(shape))
    throw new WeftgradError(
      'mismatch',
      `${model}: ${name} is ${shapeText(shape)}, but ${data.length} numbers were given.`,
      { name, shape, count: data.length },
    )
  // Stays 0 while every number is finite, else NaN. Without a branch, 15 million numbers take 15 ms.
  let probe = 0
  for (let i = 0; i < data.length; i++) probe += (data[i] ?? Number.NaN) * 0
  if (probe === 0) return
  const index = data.findIndex((x) => !Number.isFinite(x))
  throw new WeftgradError(
    'data',
    `${model}: number ${index} of ${name} is ${data[index]}; weights must be finite. The file is damaged, or its training diverged.`,
    { name, index },
  )
}
