/**
 * A model: layers connected to a graph, and their weights. `model-weights.ts` manages the weights' memory.
 */

import { WeftgradError } from '../errors.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../gpu/device.ts'
import type { Shape } from '../graph/node.ts'
import { isNode, sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { nameHint } from '../near-names.ts'
import { sigmoidOp } from '../operators/activation.ts'
import { add } from '../operators/elementwise.ts'
import { reshape, reshapeOp } from '../operators/movement.ts'
import { softmaxOp } from '../operators/softmax.ts'
import { aTensor, Tensor } from '../operators/tensor.ts'
import { aFlag, aFunction, aNumber, checkOptions, type Kind } from '../options.ts'
import type { CallContext, Layer } from './layers.ts'
import { batchedShapeText } from './layers.ts'
import type { LoadProgress, ModelWeight, ReadWeight, WeightMatch, WeightNumbers, WeightPlace } from './model-weights.ts'
import { WeightMemory } from './model-weights.ts'

/** A layer and the indices of its input layers; -1 is the model's input. */
export interface WiredLayer {
  /** The layer, or a model that becomes a part of this one. */
  readonly layer: Layer | Model
  /** Indices of its inputs, in the layer's order. */
  readonly inputs: readonly number[]
}

/** A layer of a model. */
export interface PlacedLayer {
  /** The layer. */
  readonly layer: Layer
  /** Indices of its inputs among the model's layers, in the layer's order; -1 is the model's input. */
  readonly inputs: readonly number[]
  /** Its output's shape, without the batch. */
  readonly outputShape: Shape
  /** Its weights, in the layer's order. */
  readonly weights: readonly ModelWeight[]
  /** Whether an optimizer updates it. */
  readonly trainable: boolean
}

/** A model's random seed, and which of its layers to train. */
export interface ModelOptions {
  /** Random seed of the initial weights, which depend only on it and on their names. 1 by default. */
  readonly seed?: number
  /**
   * Which layers training changes: all of them, which is the default; none (false), as of a network whose features others use;
   * or those for which a function returns true. The other layers keep their weights, their normalisations also the moving
   * statistics, and have no penalty; dropout, which has no weights, stays active. A layer of a nested model, called `<model>/<layer>`, is trained if that model trains it and
   * this function selects it.
   */
  readonly trainable?: boolean | ((layer: Layer) => boolean)
}

/** Options of `Model.call`. */
export interface ModelCall {
  /** Whether dropout is active and normalisations use the batch. False by default. */
  readonly training?: boolean
  /** Random seed of dropout; the model's seed by default. */
  readonly seed?: number
  /** A u32 tensor whose first element counts steps, for dropout. */
  readonly counter?: Tensor
  /** Receives the new values of weights that training updates without a gradient: moving statistics. */
  readonly update?: CallContext['update']
  /** Receives each layer's output as it is traced. */
  readonly tap?: (layer: Layer, output: Tensor) => void
}

const aSelection: Kind = ['true, false or a function', (value) => aFlag[1](value) || aFunction[1](value)]

const headOps = { softmax: softmaxOp, sigmoid: sigmoidOp }

/**
 * The input of a final softmax or sigmoid, even if reshapes follow that keep a softmax's axis; the tensor itself if it
 * is not the result of one.
 */
export function beforeHead(y: Tensor, head: 'softmax' | 'sigmoid'): Tensor {
  const { node } = y.value
  const [input] = node.inputs
  if (input === undefined) return y
  const x = new Tensor(input)
  if (isNode(node, headOps[head])) return x
  const keepsAxis = head === 'sigmoid' || x.shape.at(-1) === y.shape.at(-1)
  if (!isNode(node, reshapeOp) || !keepsAxis) return y
  const inner = beforeHead(x, head)
  return inner === x ? y : reshape(inner, y.shape)
}

/**
 * A network: layers connected to a graph, and their weights. Initial weights depend only on the seed and their names.
 * The weights move to a device when the model is first used there; `dispose()` frees that memory.
 */
export class Model {
  /** Its name in summaries and errors. */
  readonly name: string
  /** The shape of one input example, without the batch: [height, width, channels] for images. */
  readonly inputShape: Shape
  /** The layers in the order in which they run. The last one's output is the model's. */
  readonly layers: readonly PlacedLayer[]
  /** All weights, layer by layer. */
  readonly weights: readonly ModelWeight[]
  /** Random seed of the initial weights. */
  readonly seed: number
  readonly #memory: WeightMemory

  /**
   * Use `sequential` or a `Wiring`, or list layers with the indices of their input layers.
   * @throws WeftgradError 'argument' for duplicate names or no layers, 'shape' for a layer that cannot take its inputs.
   */
  constructor(name: string, inputShape: Shape, layers: readonly WiredLayer[], options: ModelOptions = {}) {
    const kinds = { seed: aNumber, trainable: aSelection }
    const { seed = 1, trainable = true } = checkOptions(name, options, kinds)
    this.name = name
    this.inputShape = inputShape
    this.seed = seed
    const memory = new WeightMemory(name, seed)
    this.#memory = memory
    const placed: PlacedLayer[] = []
    const used = new Set<string | Layer>()
    const flat = flattened(layers, name)
    const taken = new Set(flat.flatMap(({ layer }) => (layer.named === undefined ? layer.name : [])))
    for (const { layer: unplaced, inputs, from } of flat) {
      const layer = unplaced.named?.(freeName(unplaced.name, taken)) ?? unplaced
      if (used.has(layer.name) || used.has(unplaced))
        throw new WeftgradError('argument', `${name} has two layers called ${layer.name}; names must differ.`)
      used.add(layer.name).add(unplaced)
      const shapes = inputs.map((i) => {
        const shape = i === -1 ? inputShape : placed[i]?.outputShape
        if (shape === undefined)
          throw new WeftgradError('argument', `${name}: the input ${i} of ${layer.name} is not a layer before it.`)
        return shape
      })
      const misfit = from?.placed.inputs.findIndex(
        (i, at) => i === -1 && !sameShape(shapes[at] ?? [], from.model.inputShape),
      )
      if (from !== undefined && misfit !== undefined && misfit >= 0)
        throw new WeftgradError(
          'shape',
          `${name}: ${from.model.name} takes ${shapeText(from.model.inputShape)}, not ${shapeText(shapes[misfit] ?? [])}.`,
        )
      const isSelected = typeof trainable === 'function' ? trainable(layer) : trainable
      const isTrained = isSelected && from?.placed.trainable !== false
      placed.push({
        layer,
        inputs,
        outputShape: layer.outputShape(shapes),
        weights: layer.weights(shapes).map((spec, i) => {
          const weight = from?.placed.weights[i]
          const own = weight && from && { memory: from.model.#memory, weight }
          return memory.declare(layer.name, spec, isTrained && spec.trainable, own)
        }),
        trainable: isTrained,
      })
    }
    if (placed.length === 0) throw new WeftgradError('argument', `${name} has no layers.`)
    this.layers = placed
    this.weights = placed.flatMap((p) => p.weights)
  }

  /** The shape of one output example, without the batch. */
  get outputShape(): Shape {
    return this.layers.at(-1)?.outputShape ?? []
  }

  /** Number of parameters, including those that are not trained. */
  get parameterCount(): number {
    return this.weights.reduce((sum, weight) => sum + elementCount(weight.shape), 0)
  }

  /**
   * Traces the sum of the penalties of the trainable weights, shape []; undefined if none has a regularizer. `fit`, `evaluate`,
   * and `trainStep` with a loss like `meanSquaredError()` add it to the loss. Add it yourself to a loss that you trace.
   */
  penalty(): Tensor | undefined {
    const penalties = this.trainableWeights.flatMap(({ regularizer, tensor }) => regularizer?.(tensor) ?? [])
    return penalties.length === 0 ? undefined : penalties.reduce((sum, penalty) => add(sum, penalty))
  }

  /** The weights that an optimizer updates. */
  get trainableWeights(): readonly ModelWeight[] {
    return this.weights.filter((weight) => weight.trainable)
  }

  /** The network whose weight names and order `load` uses: this one. */
  get source(): Model {
    return this
  }

  /** The device of the weights, if they are on one. */
  get device(): Device | undefined {
    return this.#memory.device
  }

  /**
   * The flat buffer of all trainable weights.
   * @throws WeftgradError 'argument' before the model is on a device.
   */
  get trainableBuffer(): DeviceBuffer {
    return this.#memory.trainableBuffer
  }

  /**
   * Puts the weights on the device. `fit`, `evaluate` and computing a tensor do so automatically.
   * @throws WeftgradError 'argument' if they are on another device, 'disposed' after `dispose`.
   */
  to(device: Device): this {
    this.#memory.to(device)
    return this
  }

  /**
   * Fills the weights from `read`, which is called for each of `source`'s weights in turn, and puts the model on the
   * device. After any failure the model is unchanged. For files use `weights.loadWeights`.
   * @throws WeftgradError 'mismatch' if the numbers do not fill a weight, 'data' if they are not finite, what `to`
   * throws, and what `read` or `onProgress` throws.
   */
  async load(device: Device, read: ReadWeight, onProgress?: (progress: LoadProgress) => void): Promise<this> {
    await this.#memory.load(device, read, onProgress)
    return this
  }

  /**
   * Traces the model on a batch, f32 [n, ...inputShape], and returns the last layer's output, [n, ...outputShape].
   * Nothing runs yet.
   * @throws WeftgradError 'shape' for an input of another shape.
   */
  call(x: Tensor, options: ModelCall = {}): Tensor {
    return this.#trace(x, options, this.layers.length).at(-1) ?? x
  }

  /**
   * Traces the model like {@link Model.call}, but leaves out a softmax at its end. Losses take these logits, so that no
   * probability is lost to rounding and none goes through a second softmax.
   * @throws WeftgradError as {@link Model.call}.
   */
  logits(x: Tensor, options: ModelCall = {}): Tensor {
    return beforeHead(this.call(x, options), 'softmax')
  }

  /**
   * The named layers' outputs for a batch, in the order of the names. Later layers are not traced or computed.
   * With `options`, as in {@link Model.call}, a network with several heads can be trained by `trainStep`.
   * @throws WeftgradError 'argument', with similar names, for unknown layers; 'shape' as {@link Model.call}.
   */
  features(x: Tensor, names: readonly string[], options: ModelCall = {}): Tensor[] {
    const positions = names.map((name) => this.positionOf(name))
    const outputs = this.#trace(x, options, Math.max(-1, ...positions) + 1)
    return positions.flatMap((position) => outputs[position] ?? [])
  }

  /**
   * The index of a layer by its name; of a nested model's last layer by the model's name.
   * @throws WeftgradError 'argument', with similar names, for an unknown layer.
   */
  positionOf(name: string): number {
    const position = this.layers.findIndex(({ layer }) => layer.name === name)
    const last = this.layers.findLastIndex(({ layer }) => layer.name.startsWith(`${name}/`))
    if (Math.max(position, last) >= 0) return position >= 0 ? position : last
    const names = this.layers.map(({ layer }) => layer.name)
    const hint = nameHint(name, names, '`summary()` lists its layers.')
    throw new WeftgradError('argument', `${this.name} has no layer '${name}'${hint}`, { name })
  }

  /** Traces the first `count` layers and returns their outputs. */
  #trace(x: Tensor, options: ModelCall, count: number): Tensor[] {
    const kinds = { training: aFlag, seed: aNumber, counter: aTensor, update: aFunction, tap: aFunction }
    const { training = false, seed = this.seed, counter, update, tap } = checkOptions(this.name, options, kinds)
    if (!sameShape(x.shape.slice(1), this.inputShape))
      throw new WeftgradError(
        'shape',
        `${this.name} takes inputs of shape ${batchedShapeText(this.inputShape)}, not ${shapeText(x.shape)}.`,
      )
    const shared = { seed, counter, update: update ?? ((): void => undefined) }
    const outputs: Tensor[] = []
    for (const { layer, inputs, weights, trainable } of this.layers.slice(0, count)) {
      const context: CallContext = {
        ...shared,
        name: layer.name,
        training: training && (trainable || weights.length === 0),
      }
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
  read(weight: ModelWeight): Promise<Float32Array> {
    return this.#memory.read(weight)
  }

  /** Reads all weights back, in order. @throws WeftgradError 'disposed' after `dispose`. */
  weightNumbers(): Promise<WeightNumbers> {
    return this.#memory.numbers()
  }

  /**
   * Reads the weights of a nested model back, by that model's own names: its `setWeights` takes them.
   * @throws WeftgradError 'argument', with similar names, for an unknown one; 'disposed' after `dispose`.
   */
  async nestedWeights(name: string): Promise<WeightNumbers> {
    this.positionOf(name)
    const own = [...(await this.weightNumbers())].filter(([full]) => full.startsWith(`${name}/`))
    return new Map(own.map(([full, numbers]) => [full.slice(name.length + 1), numbers]))
  }

  /** The memory of one weight on the device. @throws WeftgradError 'argument' before the model is on a device. */
  sliceOf(weight: WeightPlace): BufferSlice {
    return this.#memory.sliceOf(weight)
  }

  /**
   * Throws unless `setWeights` would take these numbers.
   * @throws WeftgradError 'mismatch', naming the first weight that is missing, foreign, or of another shape.
   */
  checkWeights(numbers: WeightNumbers): void {
    this.#memory.check(numbers)
  }

  /**
   * Replaces all weights; with `partial`, those whose names and shapes fit. Says which.
   * @throws WeftgradError 'mismatch' as {@link Model.checkWeights} unless `partial`, before anything is changed; 'disposed'
   * after `dispose`.
   */
  setWeights(numbers: WeightNumbers, options: { readonly partial?: boolean } = {}): WeightMatch {
    const { partial = false } = checkOptions('setWeights', options, { partial: aFlag })
    return this.#memory.set(numbers, partial)
  }

  /** A table of layers, output shapes and parameters. */
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

  /** Frees the weights on the device. The model cannot be used afterwards. */
  dispose(): void {
    this.#memory.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** A layer to place, and where it stands in the nested model that it comes from. */
interface FlatLayer {
  readonly layer: Layer
  readonly inputs: readonly number[]
  readonly from?: { readonly model: Model; readonly placed: PlacedLayer }
}

/** The layers, with those of nested models in their places, called `<model>/<layer>`. */
function flattened(layers: readonly WiredLayer[], name: string): readonly FlatLayer[] {
  const flat: FlatLayer[] = []
  /** The place of each given layer's output. */
  const ends: number[] = []
  for (const { layer: given, inputs } of layers) {
    const fed = inputs.map((i) => ends[i] ?? (i === -1 ? i : Number.NaN))
    if (!(given instanceof Model)) flat.push({ layer: given, inputs: fed })
    else {
      const [input = -1] = fed
      const start = flat.length
      if (fed.length !== 1)
        throw new WeftgradError(
          'argument',
          `${name}: the nested model ${given.name} takes one input, not ${fed.length}.`,
        )
      for (const placed of given.layers) {
        const own = `${given.name}/${placed.layer.name}`
        flat.push({
          layer: { ...placed.layer, name: own },
          inputs: placed.inputs.map((i) => (i === -1 ? input : start + i)),
          from: { model: given, placed },
        })
      }
    }
    ends.push(flat.length - 1)
  }
  return flat
}

/** Names an unnamed layer as Keras does: `dense`, `dense_1` ... Adds the name to `taken`. */
function freeName(kind: string, taken: Set<string>): string {
  let name = kind
  for (let i = 1; taken.has(name); i++) name = `${kind}_${i}`
  taken.add(name)
  return name
}

/**
 * A model of consecutive layers, or models; the first takes [batch, ...inputShape].
 * @throws WeftgradError 'argument' for duplicate names or no layers, 'shape' if a layer cannot take the previous
 * output.
 */
export function sequential(
  name: string,
  inputShape: Shape,
  layers: readonly (Layer | Model)[],
  options: ModelOptions = {},
): Model {
  return new Model(
    name,
    inputShape,
    layers.map((layer, i) => ({ layer, inputs: [i - 1] })),
    options,
  )
}
