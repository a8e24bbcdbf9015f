/**
 * A model: layers wired into a graph, and the weights they asked for. Weights live on the host until the model is put
 * on a device; there all trainable ones are slices of one flat buffer, so that an optimizer updates them in one dispatch.
 */

import { leaf, Tensor } from '../autograd/tensor.ts'
import { WeftgradError } from '../errors.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import { alignUp } from '../gpu/device.ts'
import type { Shape, Storage } from '../graph/node.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { Random } from '../random.ts'
import type { CallContext, Layer, WeightSpec } from './layers.ts'
import { batchedShapeText } from './layers.ts'

/** Numbers by name, `<layer>/<weight>`, in the model's order. */
export type WeightNumbers = ReadonlyMap<string, { readonly shape: Shape; readonly data: Float32Array }>

export interface ModelWeight {
  /** `<layer>/<weight>` */
  readonly name: string
  readonly shape: Shape
  readonly trainable: boolean
  readonly tensor: Tensor
  /** Bytes from the start of the flat buffer that holds it. */
  readonly offset: number
}

/** A layer in its place. */
export interface PlacedLayer {
  readonly layer: Layer
  /** Which earlier layers feed it; -1 is the model's input. */
  readonly inputs: readonly number[]
  readonly outputShape: Shape
  readonly weights: readonly ModelWeight[]
}

export interface ModelOptions {
  /** Initial weights depend on this and their names alone. 1 by default. */
  readonly seed?: number
}

/** What `call` may be told. */
export interface ModelCall {
  readonly training?: boolean
  /** Of dropout; the model's own by default. */
  readonly seed?: number
  readonly counter?: Tensor
  readonly update?: CallContext['update']
  /** Sees each layer's output as it is traced. */
  readonly tap?: (layer: Layer, output: Tensor) => void
}

/** One of the model's two flat buffers: trainable weights, or those that are not. */
class WeightRegion {
  readonly #label: string
  bytes = 0
  buffer: DeviceBuffer | undefined

  constructor(label: string) {
    this.#label = label
  }

  reserve(shape: Shape): number {
    const offset = this.bytes
    this.bytes += alignUp(elementCount(shape) * 4)
    return offset
  }

  place(device: Device): DeviceBuffer {
    this.buffer = device.allocate(this.bytes, this.#label)
    return this.buffer
  }
}

/** A weight's numbers, wherever the model has put them. */
class WeightStorage implements Storage {
  readonly transient = false
  readonly #model: Model
  readonly #region: WeightRegion
  readonly #offset: number
  readonly #bytes: number

  constructor(model: Model, region: WeightRegion, offset: number, bytes: number) {
    this.#model = model
    this.#region = region
    this.#offset = offset
    this.#bytes = bytes
  }

  get device(): Device | undefined {
    return this.#model.device
  }

  on(device: Device): BufferSlice {
    this.#model.to(device)
    if (this.#region.buffer === undefined) throw new RangeError('a placed model has buffers')
    return this.#region.buffer.slice(this.#offset, this.#bytes)
  }
}

export class Model {
  readonly name: string
  /** [height, width, channels]. */
  readonly inputShape: Shape
  readonly layers: readonly PlacedLayer[]
  readonly weights: readonly ModelWeight[]
  readonly seed: number
  #device: Device | undefined
  #disposed = false
  /** Initial or loaded numbers, until they are on a device. */
  #host = new Map<string, Float32Array>()
  readonly #trainable: WeightRegion
  readonly #fixed: WeightRegion

  /** Use `sequential`, or list layers with the numbers of the layers that feed them. */
  constructor(
    name: string,
    inputShape: Shape,
    layers: readonly { readonly layer: Layer; readonly inputs: readonly number[] }[],
    { seed = 1 }: ModelOptions = {},
  ) {
    this.name = name
    this.inputShape = inputShape
    this.seed = seed
    this.#trainable = new WeightRegion(`${name} trainable weights`)
    this.#fixed = new WeightRegion(`${name} fixed weights`)
    const placed: PlacedLayer[] = []
    for (const { layer, inputs } of layers) {
      if (placed.some((other) => other.layer.name === layer.name))
        throw new WeftgradError('argument', `${name} has two layers called ${layer.name}; names must differ.`)
      const shapes = inputs.map((i) => {
        const shape = i === -1 ? inputShape : placed[i]?.outputShape
        if (shape === undefined)
          throw new WeftgradError('argument', `${name}: ${layer.name} is fed by layer ${i}, which is not before it.`)
        return shape
      })
      placed.push({
        layer,
        inputs,
        outputShape: layer.outputShape(shapes),
        weights: layer.weights(shapes).map((spec) => this.#declare(layer, spec)),
      })
    }
    if (placed.length === 0) throw new WeftgradError('argument', `${name} has no layers.`)
    this.layers = placed
    this.weights = placed.flatMap((p) => p.weights)
  }

  #declare(layer: Layer, spec: WeightSpec): ModelWeight {
    const name = `${layer.name}/${spec.name}`
    const region = spec.trainable ? this.#trainable : this.#fixed
    const offset = region.reserve(spec.shape)
    const storage = new WeightStorage(this, region, offset, elementCount(spec.shape) * 4)
    this.#host.set(name, spec.initializer(spec.shape, new Random(this.seed, name)))
    const tensor = new Tensor(leaf(storage, { shape: spec.shape, dtype: 'f32' }))
    return { name, shape: spec.shape, trainable: spec.trainable, tensor, offset }
  }

  get outputShape(): Shape {
    return this.layers.at(-1)?.outputShape ?? []
  }

  get parameterCount(): number {
    return this.weights.reduce((sum, weight) => sum + elementCount(weight.shape), 0)
  }

  get trainableWeights(): readonly ModelWeight[] {
    return this.weights.filter((weight) => weight.trainable)
  }

  /** The device the weights are on, if they are on one. */
  get device(): Device | undefined {
    return this.#device
  }

  /** The flat buffer of all trainable weights. Throws 'argument' before the model is on a device. */
  get trainableBuffer(): DeviceBuffer {
    if (this.#trainable.buffer === undefined)
      throw new WeftgradError('argument', `${this.name} is not on a device yet; call model.to(device).`)
    return this.#trainable.buffer
  }

  /** Puts the weights on the device. Throws 'argument' if they are on another, 'disposed' after `dispose`. */
  to(device: Device): this {
    this.#refuseDisposed()
    if (this.#device === device) return this
    if (this.#device !== undefined)
      throw new WeftgradError(
        'argument',
        `${this.name} is on another device; make a new model and give it these weights.`,
      )
    const trainable = this.#trainable.place(device)
    const fixed = this.#fixed.place(device)
    for (const weight of this.weights)
      this.#upload(weight, this.#host.get(weight.name), weight.trainable ? trainable : fixed)
    this.#host.clear()
    this.#device = device
    return this
  }

  #refuseDisposed(): void {
    if (this.#disposed) throw new WeftgradError('disposed', `${this.name} was disposed of.`)
  }

  #upload(weight: ModelWeight, data: Float32Array | undefined, buffer: DeviceBuffer): void {
    if (data === undefined) return
    buffer.device.write(buffer.slice(weight.offset, data.byteLength), Float32Array.from(data))
  }

  /** Traces the model on a batch [n, ...inputShape]; gives the last layer's output. Throws 'shape'. */
  call(x: Tensor, { training = false, seed = this.seed, counter, update, tap }: ModelCall = {}): Tensor {
    if (!sameShape(x.shape.slice(1), this.inputShape))
      throw new WeftgradError(
        'shape',
        `${this.name} takes ${batchedShapeText(this.inputShape)}, not ${shapeText(x.shape)}.`,
      )
    const context: CallContext = { training, seed, counter, update: update ?? ((): void => undefined) }
    const outputs: Tensor[] = []
    for (const { layer, inputs, weights } of this.layers) {
      const fed = inputs.map((i) => (i < 0 ? x : (outputs[i] ?? x)))
      const output = layer.call(
        fed,
        weights.map((weight) => weight.tensor),
        context,
      )
      tap?.(layer, output)
      outputs.push(output)
    }
    return outputs.at(-1) ?? x
  }

  /** Reads all weights back, in order. Throws 'disposed'. */
  async weightNumbers(): Promise<WeightNumbers> {
    this.#refuseDisposed()
    if (this.#device === undefined)
      return new Map(
        this.weights.map(({ name, shape }) => [name, { shape, data: Float32Array.from(this.#host.get(name) ?? []) }]),
      )
    const device = this.#device
    const bytes = await device.readAll(this.weights.map((weight) => this.sliceOf(weight)))
    return new Map(
      this.weights.map(({ name, shape }, i) => [
        name,
        { shape, data: new Float32Array(bytes[i] ?? new ArrayBuffer(0)) },
      ]),
    )
  }

  /** Where a weight is on the device. */
  sliceOf(weight: ModelWeight): BufferSlice {
    const region = weight.trainable ? this.#trainable : this.#fixed
    if (region.buffer === undefined) throw new WeftgradError('argument', `${this.name} is not on a device yet.`)
    return region.buffer.slice(weight.offset, elementCount(weight.shape) * 4)
  }

  /** Throws 'mismatch', naming the first weight that does not fit, unless `setWeights` would take these numbers. */
  checkWeights(numbers: WeightNumbers): void {
    for (const { name, shape } of this.weights) {
      const given = numbers.get(name)
      if (given === undefined)
        throw new WeftgradError(
          'mismatch',
          `${this.name} has a weight ${name}${shapeText(shape)} that the given weights lack.`,
        )
      if (!sameShape(given.shape, shape) || given.data.length !== elementCount(shape))
        throw new WeftgradError(
          'mismatch',
          `${this.name}: ${name} is ${shapeText(shape)} here and ${shapeText(given.shape)} there.`,
        )
    }
    const own = new Set(this.weights.map((weight) => weight.name))
    const foreign = [...numbers.keys()].find((name) => !own.has(name))
    if (foreign !== undefined) throw new WeftgradError('mismatch', `${this.name} has no weight ${foreign}.`)
  }

  /** Replaces all weights. Throws as `checkWeights` before anything is changed, 'disposed' after `dispose`. */
  setWeights(numbers: WeightNumbers): void {
    this.#refuseDisposed()
    this.checkWeights(numbers)
    for (const weight of this.weights) {
      const data = numbers.get(weight.name)?.data
      const { buffer } = weight.trainable ? this.#trainable : this.#fixed
      if (buffer === undefined) this.#host.set(weight.name, Float32Array.from(data ?? []))
      else this.#upload(weight, data, buffer)
    }
  }

  /** Layers, output shapes and parameters as a table. */
  summary(): string {
    const rows = this.layers.map(({ layer, outputShape, weights }) => [
      `${layer.name} (${layer.className})`,
      batchedShapeText(outputShape),
      weights.reduce((sum, weight) => sum + elementCount(weight.shape), 0).toLocaleString('en-US'),
    ])
    const header = ['Layer', 'Output shape', 'Parameters']
    const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
    const line = (cells: readonly string[]): string =>
      cells.map((cell, i) => (i === 2 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ')
    const rule = '-'.repeat(widths.reduce((sum, width) => sum + width, 4))
    const fixed = this.weights.filter((w) => !w.trainable).reduce((sum, weight) => sum + elementCount(weight.shape), 0)
    const total = `Parameters: ${this.parameterCount.toLocaleString('en-US')}${fixed > 0 ? ` (${fixed.toLocaleString('en-US')} not trainable)` : ''}`
    return [
      `${this.name}: ${batchedShapeText(this.inputShape)}`,
      rule,
      line(header),
      rule,
      ...rows.map(line),
      rule,
      total,
    ].join('\n')
  }

  /** Releases the weights on the device. The model cannot be used afterwards. */
  dispose(): void {
    this.#disposed = true
    this.#trainable.buffer?.dispose()
    this.#fixed.buffer?.dispose()
    this.#host.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Layers one after the other. */
export function sequential(
  name: string,
  inputShape: Shape,
  layers: readonly Layer[],
  options: ModelOptions = {},
): Model {
  return new Model(
    name,
    inputShape,
    layers.map((layer, i) => ({ layer, inputs: [i - 1] })),
    options,
  )
}
