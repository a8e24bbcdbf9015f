/**
 * Freezes a network for inference: the same function with fewer kernels.
 *
 * - A batch normalisation that directly follows a convolution (also a separable one) or a dense layer, and is its only
 *   reader, is merged into kernel and bias; the merged layer has the normalisation's name.
 * - Any other normalisation becomes a multiplication and an addition, which fuse with what follows.
 * - Zeros around a convolution's input become its padding.
 * - A layer that is used several times is frozen once: like this if its neighbours are the same everywhere, else left as it is.
 * - Relu needs nothing here: rewriting the graph moves it into the kernel before it.
 * - Kernels may be stored in half precision: see half-weights.ts.
 *
 * Weights are computed in float64 on the host while they stream in, a layer at a time, and rounded once: neither the
 * host nor the device ever holds the network twice.
 */

import { WeftgradError } from '../errors.ts'
import type { Device, Precision } from '../gpu/device.ts'
import { aPrecision } from '../gpu/open.ts'
import { bestTile, fewestChannels, pointsOf, transformFilters } from '../kernels/conv2d/winograd/tiles.ts'
import { add, mul } from '../operators/index.ts'
import type { Tensor } from '../operators/tensor.ts'
import { pairOf } from '../operators/window.ts'
import { winogradConv2d } from '../operators/winograd.ts'
import { anArray, checkOptions } from '../options.ts'
import { halfPrecision } from './half-weights.ts'
import { zerosInitializer } from './initializers.ts'
import { channelsOf, first, needed } from './layers/layer.ts'
import type { Layer, LayerRole, WeightSpec } from './layers.ts'
import type { ModelCall, PlacedLayer } from './model.ts'
import { Model } from './model.ts'
import type { LoadProgress, ModelWeight, ReadWeight } from './model-weights.ts'
import { checkNumbers } from './model-weights.ts'

/** Options of {@link freeze}. */
export interface FreezeOptions {
  /** Layers whose outputs are needed: they are not merged into the next ones. */
  readonly keep?: readonly string[]
  /**
   * 'f16' stores the kernels of convolutions and dense layers in half precision: half the memory, and half the bytes that a
   * product reads. Sums and all other numbers stay float32. Needs a device opened with precision 'f16'; pass
   * `device.precision` to follow it. 'f32' by default.
   */
  readonly precision?: Precision
}

/**
 * The network for inference: normalisations are folded into the kernels before them, zeros into paddings. It has no
 * weights yet. Fill it from a file with `weights.loadWeights` or `load`, like the original model, or from the model
 * itself with `frozen.load(device, (weight) => model.read(weight))`.
 * @throws WeftgradError 'argument', with similar names, for unknown layers to keep. In half precision, `load` throws
 * 'argument' for a device in single precision, and 'data' for a kernel with a number beyond 65,504.
 */
export function freeze(model: Model, options: FreezeOptions = {}): FrozenModel {
  const { keep = [], precision = 'f32' } = checkOptions('freeze', options, { keep: anArray, precision: aPrecision })
  const kept = new Set(keep.map((name) => model.layers[model.positionOf(name)]))
  const groups = findGroups(model, (placed) => kept.has(placed))
  const wholes = new Map<PlacedLayer, PlacedLayer>()
  for (const [last, { padding, product }] of groups)
    for (const part of [padding?.placed, product.placed])
      if (part !== undefined && part !== last) wholes.set(part, last)

  const places = new Map<number, number>()
  const layers: WiredFrozenLayer[] = []
  const shared = new Map<Layer, FrozenLayer>()
  for (const [i, placed] of model.layers.entries()) {
    if (wholes.has(placed)) continue
    const group = groups.get(placed)
    places.set(i, layers.length)
    const inputs = (group?.padding?.placed ?? group?.product.placed ?? placed).inputs.map((n) => places.get(n) ?? n)
    let frozen = shared.get(placed.layer)
    if (frozen === undefined) {
      const { layer, recipes, kernel } = frozenLayer(placed, group)
      frozen = { layer: withoutNumbers(layer, model.name, precision === 'f16' ? kernel : undefined), recipes }
      shared.set(placed.layer, frozen)
    }
    layers.push({ ...frozen, inputs })
  }
  return new FrozenModel(model, layers, wholes)
}

/** A model for inference, with fewer kernels than its source: see {@link freeze}. */
export class FrozenModel extends Model {
  readonly #source: Model
  readonly #recipes: ReadonlyMap<string, Recipe>
  /** The name of the layer that each merged layer is now part of. */
  readonly #wholes: ReadonlyMap<string, string>

  /**
   * Made by `freeze`.
   * @internal
   */
  constructor(source: Model, layers: readonly WiredFrozenLayer[], wholes: ReadonlyMap<PlacedLayer, PlacedLayer>) {
    super(source.name, source.inputShape, layers, { seed: source.seed, trainable: () => false })
    this.#source = source
    this.#recipes = new Map(layers.flatMap(({ recipes }) => [...recipes]))
    this.#wholes = new Map([...wholes].map(([part, whole]) => [part.layer.name, whole.layer.name]))
  }

  override get source(): Model {
    return this.#source
  }

  override load(device: Device, read: ReadWeight, onProgress?: (progress: LoadProgress) => void): Promise<this> {
    const weights = new SourceWeights(this.#source, read)
    return super.load(device, ({ name }) => this.#recipes.get(name)?.(weights) ?? weights.numbers(name), onProgress)
  }

  /**
   * Traces the model on a batch, like {@link Model.call}.
   * @throws WeftgradError 'argument' for training: the normalisations are gone.
   */
  override call(x: Tensor, options: ModelCall = {}): Tensor {
    const y = super.call(x, options)
    this.#refuseTraining(options)
    return y
  }

  /** @throws WeftgradError 'argument' as {@link Model.features}, and for training. */
  override features(x: Tensor, names: readonly string[], options: ModelCall = {}): Tensor[] {
    const outputs = super.features(x, names, options)
    this.#refuseTraining(options)
    return outputs
  }

  #refuseTraining({ training }: ModelCall): void {
    if (training === true) throw new WeftgradError('argument', `${this.name} is frozen; train its source model.`)
  }

  override positionOf(name: string): number {
    const whole = this.#wholes.get(name)
    if (whole === undefined) return super.positionOf(name)
    throw new WeftgradError(
      'argument',
      `${this.name} is frozen, and ${name} is merged into ${whole}; freeze the model with keep: ['${name}'].`,
      { name, whole },
    )
  }
}

/** A layer and its role. */
interface Part<K extends LayerRole['kind']> {
  readonly placed: PlacedLayer
  readonly role: Extract<LayerRole, { kind: K }>
}

/** Layers that are merged into one. */
interface Group {
  readonly padding: Part<'zeroPadding'> | undefined
  readonly product: Part<'product'>
  readonly normalization?: Part<'normalization'>
}

function partOf<K extends LayerRole['kind']>(placed: PlacedLayer | undefined, kind: K): Part<K> | undefined {
  const role = placed?.layer.role
  if (placed === undefined || role?.kind !== kind) return undefined
  return { placed, role: role as Extract<LayerRole, { kind: K }> }
}

/** All groups of the model, by their last layers. */
function findGroups(model: Model, isKept: (placed: PlacedLayer) => boolean): Map<PlacedLayer, Group> {
  const readers = new Map<number, number>()
  for (const i of model.layers.flatMap(({ inputs }) => inputs)) readers.set(i, (readers.get(i) ?? 0) + 1)
  /** The layer before, if nothing else reads its output. */
  const before = ({ inputs: [i = -1] }: PlacedLayer): PlacedLayer | undefined => {
    const placed = model.layers[i]
    return placed !== undefined && readers.get(i) === 1 && !isKept(placed) ? placed : undefined
  }
  const groups = new Map<PlacedLayer, Group>()
  for (const placed of model.layers) {
    const previous = before(placed)
    const product = partOf(placed, 'product')
    if (product !== undefined)
      groups.set(placed, { product, padding: product.role.takesPadding ? partOf(previous, 'zeroPadding') : undefined })
    const normalization = partOf(placed, 'normalization')
    const group = previous === undefined ? undefined : groups.get(previous)
    if (normalization === undefined || previous === undefined || group?.product.role.takesScale !== true) continue
    groups.delete(previous)
    groups.set(placed, { ...group, normalization })
  }
  return alikeEverywhere(model, groups)
}

/** Leaves out groups with a layer that has other neighbours, or another size, where it is used again. */
function alikeEverywhere(model: Model, groups: Map<PlacedLayer, Group>): Map<PlacedLayer, Group> {
  const uses = new Map<Layer, Set<string>>(model.layers.map(({ layer }) => [layer, new Set()]))
  const grouped = [...groups].map(([last, { padding, product, normalization }]) => {
    const parts = [padding, product, normalization].flatMap((part) => part?.placed ?? [])
    const use = [...parts.map(({ layer }) => layer.name), ...product.placed.outputShape].join()
    for (const { layer } of parts) uses.get(layer)?.add(use)
    return { last, parts }
  })
  const within = new Set(grouped.flatMap(({ parts }) => parts))
  for (const placed of model.layers) if (!within.has(placed)) uses.get(placed.layer)?.add('')
  for (const { last, parts } of grouped)
    if (parts.some(({ layer }) => (uses.get(layer)?.size ?? 0) > 1)) groups.delete(last)
  return groups
}

/** Computes a weight from the source's weights. */
type Recipe = (weights: SourceWeights) => Promise<Float32Array>

interface FrozenLayer extends Pick<PlacedLayer, 'layer'> {
  /** The recipes, by full name, of weights that are not copied from the source's layer of the same name. */
  readonly recipes: ReadonlyMap<string, Recipe>
  /** The weight that may be stored in half precision. */
  readonly kernel?: string | undefined
}

/** `inputs` are indices of frozen layers. */
type WiredFrozenLayer = FrozenLayer & Pick<PlacedLayer, 'inputs'>

/** The frozen form of a layer that ends its group or has none. */
function frozenLayer(placed: PlacedLayer, group: Group | undefined): FrozenLayer {
  if (group !== undefined) return mergedLayer(group)
  const normalization = partOf(placed, 'normalization')
  if (normalization === undefined) return { layer: placed.layer, recipes: new Map() }
  const { name } = placed.layer
  const recipes = new Map<string, Recipe>([
    [`${name}/scale`, async (weights) => Float32Array.from((await weights.affine(normalization)).scale)],
    [`${name}/shift`, async (weights) => Float32Array.from((await weights.affine(normalization)).shift)],
  ])
  return { layer: affineLayer(name), recipes }
}

function mergedLayer({ padding, product, normalization }: Group): FrozenLayer {
  const { placed, role } = product
  const old = placed.layer.name
  const { name } = (normalization?.placed ?? placed).layer
  const layer = role.rebuilt({
    name,
    ...(normalization === undefined ? {} : { useBias: true }),
    ...(padding === undefined ? {} : { padding: padding.role.padding }),
  })
  const recipes = new Map<string, Recipe>()
  if (normalization !== undefined) {
    for (const weight of placed.weights)
      recipes.set(`${name}${weight.name.slice(old.length)}`, (weights) => weights.numbers(weight.name))
    const hasBias = placed.weights.some((weight) => weight.name === `${old}/bias`)
    recipes.set(`${name}/${role.kernel}`, async (weights) => {
      const { scale } = await weights.affine(normalization)
      return scaledChannels(await weights.numbers(`${old}/${role.kernel}`), scale)
    })
    recipes.set(`${name}/bias`, async (weights) => {
      const { scale, shift } = await weights.affine(normalization)
      const bias = hasBias ? await weights.numbers(`${old}/bias`) : undefined
      return Float32Array.from(shift, (offset, c) => (bias?.[c] ?? 0) * (scale[c] ?? 0) + offset)
    })
  }
  const fast = fastConvolution(layer, placed)
  const half = role.takesHalf === true ? role.kernel : undefined
  if (fast === undefined) return { layer, recipes, kernel: half }
  const kernel = `${name}/kernel`
  const direct: Recipe = recipes.get(kernel) ?? ((weights) => weights.numbers(`${old}/kernel`))
  recipes.set(kernel, async (weights) => transformFilters(await direct(weights), fast.tile))
  return { layer: fast.layer, recipes, kernel: half }
}

/** A 3x3 convolution by Winograd's algorithm, where that has clearly less arithmetic. `source` gives the extents. */
function fastConvolution(
  { role, ...layer }: Layer,
  { outputShape, weights: sourceWeights }: PlacedLayer,
): { readonly layer: Layer; readonly tile: 2 | 4 } | undefined {
  if (role?.kind !== 'product' || role.convolution === undefined) return undefined
  const { kernelSize, options } = role.convolution
  const { strides = 1, dilationRate = 1, padding = 'valid', activation = 'linear' } = options
  const steps = [...pairOf('strides', strides), ...pairOf('dilationRate', dilationRate)]
  const [height = 0, width = 0, filters = 0] = outputShape
  const channels = sourceWeights.find(({ name }) => name.endsWith('/kernel'))?.shape[2] ?? 0
  const tile = bestTile(height, width)
  const is3x3 = kernelSize.every((extent) => extent === 3) && steps.every((step) => step === 1)
  if (!is3x3 || Math.min(channels, filters) < fewestChannels || tile === undefined) return undefined
  return {
    tile,
    layer: {
      ...layer,
      weights: (inputs) =>
        layer
          .weights(inputs)
          .map((spec) => (spec.name === 'kernel' ? { ...spec, shape: [pointsOf(tile), channels, filters] } : spec)),
      call: (inputs, [kernel, bias]) =>
        winogradConv2d(first(inputs, layer.name), needed(kernel, layer.name), bias, { tile, padding, activation }),
    },
  }
}

/** A normalisation in inference: x * scale + shift, one of each per channel. */
interface Affine {
  readonly scale: Float64Array
  readonly shift: Float64Array
}

/** The source's weights, each checked as it is read. */
class SourceWeights {
  readonly #model: Model
  readonly #read: ReadWeight
  readonly #weights: ReadonlyMap<string, ModelWeight>
  /** The last normalisation computed: kernel and bias (or scale and shift) need the same one. */
  #last: { readonly placed: PlacedLayer; readonly affine: Affine } | undefined

  constructor(model: Model, read: ReadWeight) {
    this.#model = model
    this.#read = read
    this.#weights = new Map(model.weights.map((weight) => [weight.name, weight]))
  }

  async numbers(name: string): Promise<Float32Array> {
    const weight = this.#weights.get(name)
    if (weight === undefined) throw new RangeError(`${this.#model.name} has no weight ${name}`)
    const data = await this.#read(weight)
    checkNumbers(this.#model.name, weight, data)
    return data
  }

  /** Throws 'data' for a variance below 0. */
  async affine({ placed, role: { epsilon } }: Part<'normalization'>): Promise<Affine> {
    if (this.#last?.placed === placed) return this.#last.affine
    const { name } = placed.layer
    const optional = (own: string): Promise<Float32Array> | undefined =>
      this.#weights.has(`${name}/${own}`) ? this.numbers(`${name}/${own}`) : undefined
    const [gamma, beta] = [await optional('gamma'), await optional('beta')]
    const mean = await this.numbers(`${name}/moving_mean`)
    const variance = await this.numbers(`${name}/moving_variance`)
    const negative = variance.findIndex((x) => x < 0)
    if (negative >= 0)
      throw new WeftgradError(
        'data',
        `${this.#model.name}: number ${negative} of ${name}/moving_variance is ${variance[negative]}; variances must not be negative. The file is damaged.`,
        { name, index: negative },
      )
    const scale = Float64Array.from(variance, (x, c) => (gamma?.[c] ?? 1) / Math.sqrt(x + epsilon))
    const shift = Float64Array.from(mean, (x, c) => (beta?.[c] ?? 0) - x * (scale[c] ?? 0))
    this.#last = { placed, affine: { scale, shift } }
    return this.#last.affine
  }
}

/**
 * Scales the output channels. They are the last axis, or the last two of a depthwise kernel, so contiguous in memory.
 */
function scaledChannels(kernel: Float32Array, scale: Float64Array): Float32Array {
  const scaled = new Float32Array(kernel.length)
  for (let row = 0; row < kernel.length; row += scale.length)
    for (let c = 0; c < scale.length; c++) scaled[row + c] = (kernel[row + c] ?? 0) * (scale[c] ?? 0)
  return scaled
}

/** A layer whose weights only `load` or `setWeights` can fill. The weight named `half` is stored in half precision. */
function withoutNumbers(layer: Layer, model: string, half: string | undefined): Layer {
  const initializer = (): never => {
    throw new WeftgradError('argument', `The frozen ${model} has no weights yet; call its \`load\` first.`)
  }
  const empty = (spec: WeightSpec): WeightSpec => ({
    ...{ ...spec, initializer },
    ...(spec.name === half ? { encoding: halfPrecision } : {}),
  })
  return { ...layer, weights: (inputs) => layer.weights(inputs).map(empty) }
}

/** A normalisation with fixed statistics. */
function affineLayer(name: string): Layer {
  return {
    name,
    className: 'BatchNormalization',
    outputShape: (inputs) => first(inputs, name),
    weights(inputs) {
      const shape = [channelsOf(inputs, name)]
      return ['scale', 'shift'].map((own) => ({ name: own, shape, initializer: zerosInitializer, trainable: false }))
    },
    call: (inputs, [scale, shift]) => add(mul(first(inputs, name), needed(scale, name)), needed(shift, name)),
  }
}
