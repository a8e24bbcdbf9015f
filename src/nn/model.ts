/**
 * A model: layers wired into a graph, and the weights they asked for. Weights get their numbers when somebody first needs
 * them: initial ones are made as they are put on a device, loaded ones stream there one at a time. On a device all
 * trainable weights are slices of one flat buffer, so that an optimizer updates them in one dispatch.
 */

import { reshape } from '../autograd/ops.ts'
import { aTensor, leaf, Tensor } from '../autograd/tensor.ts'
import { WeftgradError } from '../errors.ts'
import { alignUp } from '../gpu/alignment.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { Shape, Storage } from '../graph/node.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { nameHint } from '../near-names.ts'
import { aFlag, aFunction, aNumber, checkOptions } from '../options.ts'
import { Random } from '../random.ts'
import type { CallContext, Layer, WeightSpec } from './layers.ts'
import { batchedShapeText } from './layers.ts'

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
  /** `<layer>/<weight>` */
  readonly name: string
  /** Extents. */
  readonly shape: Shape
  /** Whether an optimizer updates it. */
  readonly trainable: boolean
  /** Stands for its numbers in graphs: what `valueAndGrad` can differentiate by. */
  readonly tensor: Tensor
  /** Bytes from the start of the flat buffer that holds it. */
  readonly offset: number
}

/** Gives a weight's numbers, row-major. The array is read once, not kept and not written to. */
export type ReadWeight = (weight: ModelWeight) => Promise<Float32Array>

/** How far loading has come. */
export interface LoadProgress {
  /** The weight that has just reached the device. */
  readonly weight: ModelWeight
  /** On the device so far. */
  readonly bytes: number
  /** Of all weights. */
  readonly totalBytes: number
}

/** A layer, and the numbers of the layers that feed it; -1 is the model's input. */
export interface WiredLayer {
  /** What it does. */
  readonly layer: Layer
  /** Who feeds it, in the order it takes them. */
  readonly inputs: readonly number[]
}

/** A layer in its place in a model. */
export interface PlacedLayer extends WiredLayer {
  /** Without the batch. */
  readonly outputShape: Shape
  /** In the order in which it asked for them. */
  readonly weights: readonly ModelWeight[]
  /** Whether an optimizer updates it. */
  readonly trainable: boolean
}

/** How a model begins, and what of it is trained. */
export interface ModelOptions {
  /** Initial weights depend on this and their names alone. 1 by default. */
  readonly seed?: number
  /** Which layers an optimizer updates; all by default. The others' normalisations keep their statistics in training, too. */
  readonly trainable?: (layer: Layer) => boolean
}

/** What `Model.call` may be told. */
export interface ModelCall {
  /** Dropout drops, normalisations use the batch. False by default. */
  readonly training?: boolean
  /** Of dropout; the model's own by default. */
  readonly seed?: number
  /** A u32 tensor whose first element counts steps, for dropout. */
  readonly counter?: Tensor
  /** Takes the new values of weights that training updates without a gradient: moving statistics. */
  readonly update?: CallContext['update']
  /** Sees each layer's output as it is traced. */
  readonly tap?: (layer: Layer, output: Tensor) => void
}

/** Where a weight is in the model's two flat buffers. */
export type WeightPlace = Pick<ModelWeight, 'trainable' | 'offset' | 'shape'>

/** The flat buffers: of trainable weights, and of those that are not. */
interface WeightBuffers {
  readonly trainable: DeviceBuffer
  readonly fixed: DeviceBuffer
}

const bytesOf = ({ shape }: Pick<ModelWeight, 'shape'>): number => elementCount(shape) * 4

function sliceIn(buffers: WeightBuffers, place: WeightPlace): BufferSlice {
  return (place.trainable ? buffers.trainable : buffers.fixed).slice(place.offset, bytesOf(place))
}

/** A weight's numbers, wherever the model has put them. */
class WeightStorage implements Storage {
  readonly transient = false
  readonly #model: Model
  readonly #place: WeightPlace

  constructor(model: Model, place: WeightPlace) {
    this.#model = model
    this.#place = place
  }

  get device(): Device | undefined {
    return this.#model.device
  }

  on(device: Device): BufferSlice {
    return this.#model.to(device).sliceOf(this.#place)
  }
}

/** What a last softmax is applied to, also before reshapes that keep its axis; the tensor itself where there is none. */
function beforeSoftmax(y: Tensor): Tensor {
  const { node } = y.value
  const [input] = node.inputs
  if (input === undefined) return y
  const x = new Tensor(input)
  if (node.kind === 'softmax') return x
  if (node.kind !== 'reshape' || x.shape.at(-1) !== y.shape.at(-1)) return y
  const inner = beforeSoftmax(x)
  return inner === x ? y : reshape(inner, y.shape)
}

/** While weights stream in, the device is waited for after so many bytes: WebGPU keeps a copy of them until then. */
const mostUnderWay = 32 * 2 ** 20

/**
 * A network: layers wired into a graph, and their weights. Initial weights depend on the seed and their names alone. Weights
 * get onto a device when the model is first used there; `dispose()` gives that memory back.
 */
export class Model {
  /** For summaries and errors. */
  readonly name: string
  /** Of one example, without the batch: [height, width, channels] for images. */
  readonly inputShape: Shape
  /** In the order in which they run. The last one's output is the model's. */
  readonly layers: readonly PlacedLayer[]
  /** All weights, layer by layer. */
  readonly weights: readonly ModelWeight[]
  /** Of the initial weights. */
  readonly seed: number
  #disposed = false
  #buffers: WeightBuffers | undefined
  /** Numbers that were set before the model was put on a device. */
  #host = new Map<string, Float32Array>()
  readonly #initial = new Map<string, () => Float32Array>()
  readonly #bytes = { trainable: 0, fixed: 0 }

  /**
   * Use `sequential` or a `Wiring`, or list layers with the numbers of the layers that feed them.
   * @throws WeftgradError 'argument' for layers of one name or none at all, 'shape' for one that cannot take what feeds it.
   */
  constructor(name: string, inputShape: Shape, layers: readonly WiredLayer[], options: ModelOptions = {}) {
    const kinds = { seed: aNumber, trainable: aFunction }
    const { seed = 1, trainable = (): boolean => true } = checkOptions(name, options, kinds)
    this.name = name
    this.inputShape = inputShape
    this.seed = seed
    const placed: PlacedLayer[] = []
    const used = new Set<string | Layer>()
    const taken = new Set(layers.flatMap(({ layer }) => (layer.named === undefined ? layer.name : [])))
    for (const { layer: unplaced, inputs } of layers) {
      const layer = unplaced.named?.(freeName(unplaced.name, taken)) ?? unplaced
      if (used.has(layer.name) || used.has(unplaced))
        throw new WeftgradError('argument', `${name} has two layers called ${layer.name}; names must differ.`)
      used.add(layer.name).add(unplaced)
      const shapes = inputs.map((i) => {
        const shape = i === -1 ? inputShape : placed[i]?.outputShape
        if (shape === undefined)
          throw new WeftgradError('argument', `${name}: ${layer.name} is fed by layer ${i}, which is not before it.`)
        return shape
      })
      const isTrained = trainable(layer)
      placed.push({
        layer,
        inputs,
        outputShape: layer.outputShape(shapes),
        weights: layer.weights(shapes).map((spec) => this.#declare(layer, spec, isTrained && spec.trainable)),
        trainable: isTrained,
      })
    }
    if (placed.length === 0) throw new WeftgradError('argument', `${name} has no layers.`)
    this.layers = placed
    this.weights = placed.flatMap((p) => p.weights)
  }

  #declare(layer: Layer, { name: own, shape, initializer }: WeightSpec, trainable: boolean): ModelWeight {
    const name = `${layer.name}/${own}`
    const region = trainable ? 'trainable' : 'fixed'
    const place = { trainable, offset: this.#bytes[region], shape }
    this.#bytes[region] += alignUp(bytesOf(place))
    this.#initial.set(name, () => initializer(shape, new Random(this.seed, name)))
    const tensor = new Tensor(leaf(new WeightStorage(this, place), { shape, dtype: 'f32' }))
    return { name, tensor, ...place }
  }

  /** Of one example, without the batch. */
  get outputShape(): Shape {
    return this.layers.at(-1)?.outputShape ?? []
  }

  /** Numbers in all weights, those that are not trained included. */
  get parameterCount(): number {
    return this.weights.reduce((sum, weight) => sum + elementCount(weight.shape), 0)
  }

  /** Those that an optimizer updates. */
  get trainableWeights(): readonly ModelWeight[] {
    return this.weights.filter((weight) => weight.trainable)
  }

  /** The network whose weights `load` asks for, by the names and in the order that files have them: this one. */
  get source(): Model {
    return this
  }

  /** The device the weights are on, if they are on one. */
  get device(): Device | undefined {
    return this.#buffers?.trainable.device
  }

  /**
   * The flat buffer of all trainable weights.
   * @throws WeftgradError 'argument' before the model is on a device.
   */
  get trainableBuffer(): DeviceBuffer {
    return this.#placed().trainable
  }

  #placed(): WeightBuffers {
    if (this.#buffers === undefined)
      throw new WeftgradError('argument', `${this.name} is not on a device yet; call model.to(device).`)
    return this.#buffers
  }

  /**
   * Puts the weights on the device. `fit`, `evaluate` and a tensor that is computed do so by themselves.
   * @throws WeftgradError 'argument' if they are on another, 'disposed' after `dispose`.
   */
  to(device: Device): this {
    this.#refuse(device)
    if (this.#buffers !== undefined) return this
    const buffers = this.#allocate(device)
    try {
      for (const weight of this.weights) upload(sliceIn(buffers, weight), this.#hostNumbers(weight))
    } catch (error) {
      release(buffers)
      throw error
    }
    this.#adopt(buffers)
    return this
  }

  /**
   * Fills the weights from `read`, which is asked for `source`'s weights one at a time, and puts the model on the device.
   * All or nothing: whatever fails, the model stays as it was. For files use `weights.loadWeights`.
   * @throws WeftgradError 'mismatch' where the numbers do not fill a weight, 'data' where they are not finite, what `to` throws,
   * and what `read` or `onProgress` throws.
   */
  async load(device: Device, read: ReadWeight, onProgress?: (progress: LoadProgress) => void): Promise<this> {
    this.#refuse(device)
    const fresh = this.#allocate(device)
    try {
      const totalBytes = this.weights.reduce((sum, weight) => sum + bytesOf(weight), 0)
      let [bytes, underWay] = [0, 0]
      for (const weight of this.weights) {
        const data = await read(weight)
        checkNumbers(this.name, weight, data)
        const { buffer, offset } = sliceIn(fresh, weight)
        for (let from = 0; from < data.byteLength; from += mostUnderWay) {
          const part = data.subarray(from / 4, (from + mostUnderWay) / 4)
          upload(buffer.slice(offset + from, part.byteLength), part)
          underWay += part.byteLength
          if (underWay < mostUnderWay) continue
          await device.idle()
          underWay = 0
        }
        bytes += data.byteLength
        onProgress?.({ weight, bytes, totalBytes })
      }
      await device.idle()
      this.#refuse(device)
    } catch (error) {
      release(fresh)
      throw error
    }
    this.#adopt(fresh)
    return this
  }

  #refuse(device: Device): void {
    this.#refuseDisposed()
    if (this.device !== undefined && this.device !== device)
      throw new WeftgradError(
        'argument',
        `${this.name} is on another device; make a new model and give it these weights.`,
      )
  }

  #refuseDisposed(): void {
    if (this.#disposed) throw new WeftgradError('disposed', `${this.name} was disposed of.`)
  }

  #allocate(device: Device): WeightBuffers {
    const trainable = device.allocate(this.#bytes.trainable, `${this.name} trainable weights`)
    try {
      return { trainable, fixed: device.allocate(this.#bytes.fixed, `${this.name} fixed weights`) }
    } catch (error) {
      trainable.dispose()
      throw error
    }
  }

  /** Takes over filled buffers; where there are some already, programs are bound to those, and they get the bytes. */
  #adopt(fresh: WeightBuffers): void {
    if (this.#buffers === undefined) {
      this.#buffers = fresh
      this.#host.clear()
      return
    }
    const { device } = fresh.trainable
    device.copy(fresh.trainable.slice(), this.#buffers.trainable.slice())
    device.copy(fresh.fixed.slice(), this.#buffers.fixed.slice())
    release(fresh)
  }

  #hostNumbers({ name }: ModelWeight): Float32Array {
    return this.#host.get(name) ?? this.#initial.get(name)?.() ?? new Float32Array()
  }

  /**
   * Traces the model on a batch, f32 [n, ...inputShape]; gives the last layer's output, [n, ...outputShape]. Nothing runs.
   * @throws WeftgradError 'shape' for another input.
   */
  call(x: Tensor, options: ModelCall = {}): Tensor {
    return this.#trace(x, options, this.layers.length).at(-1) ?? x
  }

  /**
   * Traces the model as {@link Model.call} does, and leaves out the softmax that it ends in, if it ends in one: what losses
   * take, so that no probability is lost by rounding and none goes through a second softmax.
   * @throws WeftgradError as {@link Model.call}.
   */
  logits(x: Tensor, options: ModelCall = {}): Tensor {
    return beforeSoftmax(this.call(x, options))
  }

  /**
   * The named layers' outputs for a batch, in the order of the names. What lies beyond the deepest of them is not traced,
   * and what none of them needs is not computed.
   * @throws WeftgradError 'argument', naming those most alike, for layers that are not there; 'shape' as {@link Model.call}.
   */
  features(x: Tensor, names: readonly string[]): Tensor[] {
    const positions = names.map((name) => this.positionOf(name))
    const outputs = this.#trace(x, {}, Math.max(-1, ...positions) + 1)
    return positions.flatMap((position) => outputs[position] ?? [])
  }

  /** A layer's number, by its name. @throws WeftgradError 'argument', naming those most alike, if it is not there. */
  positionOf(name: string): number {
    const position = this.layers.findIndex(({ layer }) => layer.name === name)
    if (position >= 0) return position
    const names = this.layers.map(({ layer }) => layer.name)
    const hint = nameHint(name, names, '`summary()` lists its layers.')
    throw new WeftgradError('argument', `${this.name} has no layer ${name}${hint}`, { name })
  }

  /** The outputs of the first `count` layers. */
  #trace(x: Tensor, options: ModelCall, count: number): Tensor[] {
    const kinds = { training: aFlag, seed: aNumber, counter: aTensor, update: aFunction, tap: aFunction }
    const { training = false, seed = this.seed, counter, update, tap } = checkOptions(this.name, options, kinds)
    if (!sameShape(x.shape.slice(1), this.inputShape))
      throw new WeftgradError(
        'shape',
        `${this.name} takes ${batchedShapeText(this.inputShape)}, not ${shapeText(x.shape)}.`,
      )
    const shared = { seed, counter, update: update ?? ((): void => undefined) }
    const outputs: Tensor[] = []
    for (const { layer, inputs, weights, trainable } of this.layers.slice(0, count)) {
      const context: CallContext = { ...shared, training: training && (trainable || weights.length === 0) }
      const fed = inputs.map((i) => (i < 0 ? x : (outputs[i] ?? x)))
      const output = layer.call(
        fed,
        weights.map((weight) => weight.tensor),
        context,
      )
      tap?.(layer, output)
      outputs.push(output)
    }
    return outputs
  }

  /** Reads one weight back, row-major. @throws WeftgradError 'disposed' after `dispose`. */
  async read(weight: ModelWeight): Promise<Float32Array> {
    this.#refuseDisposed()
    if (this.#buffers === undefined) return Float32Array.from(this.#hostNumbers(weight))
    return new Float32Array(await this.#buffers.trainable.device.read(sliceIn(this.#buffers, weight)))
  }

  /** Reads all weights back, in order. @throws WeftgradError 'disposed' after `dispose`. */
  async weightNumbers(): Promise<WeightNumbers> {
    this.#refuseDisposed()
    const { weights } = this
    const bytes = await this.device?.readAll(weights.map((weight) => this.sliceOf(weight)))
    return new Map(
      weights.map((weight, i) => {
        const onDevice = bytes?.[i]
        const data = onDevice === undefined ? Float32Array.from(this.#hostNumbers(weight)) : new Float32Array(onDevice)
        return [weight.name, { shape: weight.shape, data }]
      }),
    )
  }

  /** Where a weight is on the device. @throws WeftgradError 'argument' before the model is on one. */
  sliceOf(weight: WeightPlace): BufferSlice {
    return sliceIn(this.#placed(), weight)
  }

  /**
   * Does nothing where `setWeights` would take these numbers.
   * @throws WeftgradError 'mismatch', naming the first weight that is missing, foreign, or of another shape.
   */
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

  /**
   * Replaces all weights.
   * @throws WeftgradError 'mismatch' as {@link Model.checkWeights}, before anything is changed; 'disposed' after `dispose`.
   */
  setWeights(numbers: WeightNumbers): void {
    this.#refuseDisposed()
    this.checkWeights(numbers)
    for (const weight of this.weights) {
      const data = numbers.get(weight.name)?.data ?? new Float32Array()
      if (this.#buffers === undefined) this.#host.set(weight.name, Float32Array.from(data))
      else upload(sliceIn(this.#buffers, weight), data)
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
    if (this.#buffers !== undefined) release(this.#buffers)
    this.#host.clear()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Keras' count of layers that nobody named: `dense`, `dense_1` ... The name is taken then. */
function freeName(kind: string, taken: Set<string>): string {
  let name = kind
  for (let i = 1; taken.has(name); i++) name = `${kind}_${i}`
  taken.add(name)
  return name
}

function release({ trainable, fixed }: WeightBuffers): void {
  trainable.dispose()
  fixed.dispose()
}

function upload(slice: BufferSlice, data: Float32Array): void {
  // WebGPU takes no shared memory; numbers in memory of their own go as they are.
  const { buffer, byteOffset, length } = data
  const isOwn = data instanceof Float32Array && buffer instanceof ArrayBuffer
  const own = isOwn ? new Float32Array(buffer, byteOffset, length) : Float32Array.from(data)
  slice.buffer.device.write(slice, own)
}

/** Throws 'mismatch' for numbers that do not fill the weight, 'data' for those that are not finite. */
export function checkNumbers(
  model: string,
  { name, shape }: Pick<ModelWeight, 'name' | 'shape'>,
  data: Float32Array,
): void {
  if (data.length !== elementCount(shape))
    throw new WeftgradError(
      'mismatch',
      `${model}: ${name} is ${shapeText(shape)}, and ${data.length} numbers do not fill it.`,
      { name, shape, count: data.length },
    )
  // 0 as long as every number is finite, else NaN: without a branch, 15 million numbers take 15 ms.
  let probe = 0
  for (let i = 0; i < data.length; i++) probe += (data[i] ?? 0) * 0
  if (probe === 0) return
  const index = data.findIndex((x) => !Number.isFinite(x))
  throw new WeftgradError(
    'data',
    `${model}: number ${index} of ${name} is ${data[index]}; weights must be finite. The file is damaged, or its training went wrong.`,
    { name, index },
  )
}

/**
 * A model of layers one after the other; the first takes [batch, ...inputShape].
 * @throws WeftgradError 'argument' for layers of one name or none at all, 'shape' for one that cannot take what is before it.
 */
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
