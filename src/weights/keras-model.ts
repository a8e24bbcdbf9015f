/**
 * Builds a model from Keras' description of it: the configuration in `.keras` and whole-model `.h5` files and in the
 * `model.json` of TensorFlow.js layers models, Sequential or Functional, as Keras 2, Keras 3 and TensorFlow.js write it.
 * Nested models are taken apart: their layers are named `<model>/<layer>`, as in the files.
 *
 * Promises: every setting is used, or known to mean nothing once the weights are loaded, or refused by name. Unknown layers
 * are named all at once. Nothing in a description, however deep or wrong, does more than throw.
 */

import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { LayerDescription, LayerMaker } from '../nn/layers/registry.ts'
import { isLayerClass, layerOf } from '../nn/layers/registry.ts'
import type { WiredLayer } from '../nn/model.ts'
import { Model } from '../nn/model.ts'

/** How to build a model from a description. */
export interface KerasModelOptions {
  /** The shape of an input without the batch, for a model that leaves extents open. */
  readonly inputShape?: readonly number[]
  /** Makers of layers that are not weftgrad's, by class name. */
  readonly customLayers?: Readonly<Record<string, LayerMaker>>
}

type Json = Readonly<Record<string, unknown>>

/** A layer in its place. `config` is Keras', without settings that mean nothing here. */
interface Step extends LayerDescription {
  readonly inputs: readonly number[]
  /** The axis that the layer works along, the batch counted, if the description says it. */
  readonly axis?: number | undefined
}

/** The place of the model's input. */
const modelInput = -1
const deepestNesting = 32

/**
 * Builds the model.
 * @param described parsed JSON: `{ class_name, config }`.
 * @throws WeftgradError 'mismatch' for models of other kinds, such as subclassed ones or those with several inputs, 'format'
 * for a damaged description, 'argument' for unknown layers and settings, 'shape' for layers that do not fit.
 */
export function kerasModel(described: unknown, source: string, options: KerasModelOptions = {}): Model {
  const { customLayers } = options
  const reader = new DescriptionReader(source)
  const record = reader.record(described, 'the model')
  const output = reader.model(record, '', [modelInput], 0)
  if (output !== reader.steps.length - 1) throw reader.refused('its output is not the output of a layer')
  const unknown = reader.steps.filter(({ className }) => !isLayerClass(className, customLayers))
  if (unknown.length > 0) {
    const named = unknown.map(({ className, name, config }) => `${className} (${name}): ${JSON.stringify(config)}`)
    throw new WeftgradError(
      'argument',
      `${source} has ${unknown.length === 1 ? 'a layer' : 'layers'} that weftgrad lacks; give makers in customLayers. ${named.slice(0, 20).join('; ')}`,
      { source, classes: [...new Set(unknown.map(({ className }) => className))] },
    )
  }
  const layers = reader.steps.map(
    ({ inputs, axis: _, ...description }): WiredLayer => ({ layer: layerOf(description, customLayers), inputs }),
  )
  const config = isRecord(record.config) ? record.config : {}
  const name = typeof config.name === 'string' ? config.name : 'model'
  const model = new Model(name, reader.inputShape(record, options.inputShape), layers)
  model.layers.forEach(({ outputShape }, i) => {
    const { axis = -1, name: own = '', className = '' } = reader.steps[i] ?? {}
    if (Object.hasOwn(customLayers ?? {}, className)) return
    // weftgrad's layers work along the last axis; the batch is not part of the shape.
    if (axis !== -1 && axis !== outputShape.length) throw reader.refused(`its layer '${own}' has axis ${axis}`)
  })
  return model
}

/**
 * The shape of the input that a description states, the batch first; null for open extents, undefined if it states none.
 * @throws WeftgradError 'format' for a damaged description.
 */
export function statedInputShape(described: unknown, source: string): readonly (number | null)[] | undefined {
  const reader = new DescriptionReader(source)
  return reader.statedShape(reader.record(described, 'the model'))
}

/** A reference to the output of a layer: its name. */
interface Call {
  readonly inputs: readonly string[]
  /** Numbers among the arguments: Keras 3's operations have them. */
  readonly numbers: readonly { readonly at: number; readonly value: number }[]
}

class DescriptionReader {
  readonly steps: Step[] = []
  readonly #source: string

  constructor(source: string) {
    this.#source = source
  }

  refused(problem: string): WeftgradError {
    return new WeftgradError(
      'mismatch',
      `${this.#source} describes a model that weftgrad cannot build: ${problem}. Build it with weftgrad's layers, and read its weights with weights.loadWeights.`,
      { source: this.#source },
    )
  }

  #damaged(problem: string): WeftgradError {
    return new WeftgradError('format', `The description of the model in ${this.#source} is damaged: ${problem}.`, {
      source: this.#source,
    })
  }

  record(value: unknown, what: string): Json {
    if (isRecord(value)) return value
    throw this.#damaged(`${what} is not an object`)
  }

  /** Adds the layers of a model that gets these places as inputs. Returns the place of its output. */
  model(record: Json, prefix: string, feed: readonly number[], depth: number): number {
    if (depth > deepestNesting) throw this.#damaged('its models are nested without end')
    const { config } = record
    if (Array.isArray(config)) return this.#sequence(config, prefix, feed, depth)
    const { layers, input_layers: inputLayers, output_layers: outputLayers } = isRecord(config) ? config : {}
    if (!Array.isArray(layers))
      throw this.refused(`${String(record.class_name)} is a class of its own, whose layers are not described`)
    if (outputLayers === undefined) return this.#sequence(layers, prefix, feed, depth)
    return this.#graph(layers, this.#references(inputLayers), this.#references(outputLayers), prefix, feed, depth)
  }

  /** The shape of an input: from the options, an input layer, the first layer or the shape that the model was built with. */
  inputShape(record: Json, given: readonly number[] | undefined): readonly number[] {
    if (given !== undefined) return given
    const shape = this.statedShape(record)
    if (shape === undefined) throw this.refused('it does not say the shape of its input; give inputShape')
    const extents = shape.slice(1)
    const known = extents.filter((extent) => extent !== null && Number.isInteger(extent) && extent > 0)
    if (known.length === extents.length) return known.map(Number)
    throw this.refused(`its input of ${JSON.stringify(shape)} leaves extents open; give inputShape`)
  }

  statedShape(record: Json, depth = 0): readonly (number | null)[] | undefined {
    const config: unknown = record.config
    const { layers } = isRecord(config) ? config : { layers: config }
    const [first] = Array.isArray(layers) ? layers : []
    const built = isRecord(record.build_config) ? record.build_config.input_shape : undefined
    const own = isRecord(config) ? (config.batch_shape ?? config.batch_input_shape) : undefined
    const stated = own ?? built
    if (Array.isArray(stated) && stated.every((extent) => extent === null || typeof extent === 'number')) return stated
    if (depth > deepestNesting || !isRecord(first)) return undefined
    return this.statedShape(first, depth + 1)
  }

  #sequence(layers: readonly unknown[], prefix: string, feed: readonly number[], depth: number): number {
    const [input, ...others] = feed
    if (input === undefined || others.length > 0) throw this.refused('a sequence of layers gets several inputs')
    let place = input
    for (const value of layers) {
      const layer = this.record(value, 'a layer')
      if (layer.class_name !== 'InputLayer')
        place = this.#layer(layer, prefix, { inputs: [], numbers: [] }, [place], depth)
    }
    return place
  }

  /** Adds the layers that lead to the output, each after its inputs. Without recursion: networks can be very deep. */
  #graph(
    layers: readonly unknown[],
    inputs: readonly string[],
    outputs: readonly string[],
    prefix: string,
    feed: readonly number[],
    depth: number,
  ): number {
    const [output, ...more] = outputs
    if (output === undefined || more.length > 0) throw this.refused('it has several outputs')
    if (inputs.length !== feed.length) throw this.refused(`it has ${inputs.length} inputs`)
    const records = new Map(
      layers.map((value) => {
        const layer = this.record(value, 'a layer')
        return [nameOf(layer), layer] as const
      }),
    )
    const places = new Map(inputs.map((name, i) => [name, feed[i] ?? modelInput]))
    const open = new Set<string>()
    const stack = [output]
    for (let name = stack.at(-1); name !== undefined; name = stack.at(-1)) {
      if (places.has(name)) {
        stack.pop()
        continue
      }
      const layer = records.get(name)
      if (layer === undefined) throw this.#damaged(`there is no layer '${name}', which another takes`)
      const call = this.#call(layer, name)
      const missing = call.inputs.filter((one) => !places.has(one))
      if (missing.length > 0) {
        if (open.has(name)) throw this.#damaged(`the layer '${name}' takes its own output`)
        open.add(name)
        stack.push(...missing)
        continue
      }
      const fed = call.inputs.map((one) => places.get(one) ?? modelInput)
      places.set(name, this.#layer(layer, prefix, call, fed, depth))
      stack.pop()
    }
    return places.get(output) ?? modelInput
  }

  /** The layers that a layer takes, from its only call. */
  #call(layer: Json, name: string): Call {
    const nodes = Array.isArray(layer.inbound_nodes) ? layer.inbound_nodes : []
    const [node, ...others] = nodes
    if (others.length > 0) throw this.refused(`its layer '${name}' is used ${nodes.length} times`)
    const inputs: string[] = []
    const numbers: { at: number; value: number }[] = []
    if (isRecord(node)) {
      const args: unknown[] = Array.isArray(node.args) ? node.args : []
      args.forEach((value, at) => {
        if (typeof value === 'number') numbers.push({ at, value })
        else inputs.push(...kerasTensors(value, 0))
      })
      inputs.push(...kerasTensors(node.kwargs, 0))
    } else inputs.push(...this.#references(node))
    if (inputs.length === 0) throw this.#damaged(`the layer '${name}' takes nothing`)
    return { inputs, numbers }
  }

  /** Names of layers in Keras 2's form: `[['conv', 0, 0, {}], ...]`, or a single one of them. */
  #references(value: unknown): string[] {
    if (!Array.isArray(value)) throw this.#damaged('a list of layers is missing')
    const list: unknown[] = typeof value[0] === 'string' ? [value] : value
    return list.flatMap((reference) => {
      if (!Array.isArray(reference) || typeof reference[0] !== 'string')
        throw this.#damaged(`${JSON.stringify(reference)} names no layer`)
      const further = isRecord(reference[3]) ? Object.values(reference[3]) : []
      const tensors = further.filter((one) => Array.isArray(one) && typeof one[0] === 'string' && one.length >= 3)
      return [reference[0], ...tensors.flatMap((one) => this.#references(one))]
    })
  }

  /** Adds a layer, or the layers of a nested model. Returns the place of its output. */
  #layer(layer: Json, prefix: string, call: Call, inputs: readonly number[], depth: number): number {
    const { class_name: className, config } = layer
    const own = `${prefix}${nameOf(layer)}`
    if (Array.isArray(config) || (isRecord(config) && Array.isArray(config.layers)))
      return this.model(layer, `${own}/`, inputs, depth + 1)
    if (typeof className !== 'string') throw this.#damaged(`the layer '${own}' has no class`)
    const plain = this.record(config, `the config of '${own}'`)
    const module = typeof layer.module === 'string' ? layer.module : ''
    if (/\.ops(\.|$)/.test(module)) return this.#push({ ...operation(className, call), name: own, inputs })
    const settings = this.#settings(className, own, plain)
    const { keepdims, ...rest } = settings
    const axis = className === 'Concatenate' ? undefined : Number([plain.axis ?? -1].flat()[0])
    if (keepdims !== true) return this.#push({ className, name: own, config: rest, inputs, axis })
    const place = this.#push({ className, name: own, config: rest, inputs })
    return this.#push({
      className: 'Reshape',
      name: `${own}/keepdims`,
      config: { target_shape: [1, 1, -1] },
      inputs: [place],
    })
  }

  #push(step: Step): number {
    return this.steps.push(step) - 1
  }

  /** The settings that decide what the layer computes. Throws 'mismatch' for those that weftgrad's layers do not have. */
  #settings(className: string, name: string, config: Json): Json {
    const settings: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(config)) {
      if (value === null || value === undefined || isWithoutEffect(key)) continue
      const accepts = withoutChoice(className, key)
      if (accepts === undefined)
        settings[className === 'LeakyReLU' && key === 'alpha' ? 'negative_slope' : key] = key.endsWith('activation')
          ? activationName(value)
          : value
      else if (!accepts.test(JSON.stringify(value)))
        throw this.refused(`its layer '${name}' (${className}) has ${key} ${JSON.stringify(value)}`)
    }
    return settings
  }
}

function nameOf({ name, config }: Json): string {
  const own = isRecord(config) ? config.name : undefined
  return typeof own === 'string' ? own : typeof name === 'string' ? name : ''
}

/** The layers of Keras 3's tensors anywhere within a call's arguments. */
function kerasTensors(value: unknown, depth: number): string[] {
  if (depth > deepestNesting || typeof value !== 'object' || value === null) return []
  if (Array.isArray(value)) return value.flatMap((one) => kerasTensors(one, depth + 1))
  const { class_name: className, config } = value as Json
  if (className !== '__keras_tensor__') return Object.values(value).flatMap((one) => kerasTensors(one, depth + 1))
  const [layer] = isRecord(config) && Array.isArray(config.keras_history) ? config.keras_history : []
  return typeof layer === 'string' ? [layer] : []
}

/** Settings that mean nothing once a model is built and its weights are loaded. */
function isWithoutEffect(key: string): boolean {
  return withoutEffect.has(key) || /_(initializer|regularizer|constraint)$/.test(key)
}

const withoutEffect: ReadonlySet<string> = new Set([
  ...['name', 'trainable', 'dtype', 'batch_shape', 'batch_input_shape', 'input_shape', 'input_dim', 'sparse', 'ragged'],
  ...[
    'seed',
    'rng_seed',
    'synchronized',
    'renorm',
    'renorm_clipping',
    'renorm_momentum',
    'fused',
    'virtual_batch_size',
    'lora_rank',
    'lora_alpha',
  ],
  ...['quantization_config', 'flash_attention', 'autocast', 'supports_masking', 'optional', 'implementation', 'init'],
])

/** For a setting that weftgrad's layers do not have: the JSON of the values that they stand for. */
function withoutChoice(className: string, key: string): RegExp | undefined {
  if (key === 'data_format') return /^"channels_last"$/
  // The last axis, counted from either end; `kerasModel` compares it with the shape.
  if (key === 'axis' && className !== 'Concatenate') return /^\[?(-1|[1-4])\]?$/
  if (key === 'rms_scaling' || key === 'use_causal_mask') return /^false$/
  if (key === 'output_padding') return /^null$/
  if (className === 'Normalization' && key === 'invert') return /^false$/
  if (key === 'groups' && className !== 'GroupNormalization' && className !== 'Conv2D') return /^1$/
  if (key === 'dilation_rate' && className === 'Conv2DTranspose') return /^(1|\[1,1\])$/
  return undefined
}

/** `'relu'`, or Keras 3's `{ class_name: 'function', config: 'relu' }`. */
export function activationName(value: unknown): unknown {
  if (!isRecord(value)) return value
  const { class_name: className, config } = value
  if (className === 'function' && typeof config === 'string') return config
  return typeof className === 'string' ? className.toLowerCase() : value
}

/** Keras 3's operations on tensors, `x + 1`, as layers. An unknown one keeps its name, so that it is reported. */
function operation(className: string, { numbers }: Call): Omit<Step, 'name' | 'inputs'> {
  const [number] = numbers
  if (number === undefined) return { className: merging.has(className) ? className : `ops.${className}`, config: {} }
  const { at, value } = number
  const scaled = (scale: number, offset: number) => ({ className: 'Rescaling', config: { scale, offset } })
  if (className === 'Add') return scaled(1, value)
  if (className === 'Multiply') return scaled(value, 0)
  if (className === 'Subtract') return at === 0 ? scaled(-1, value) : scaled(1, -value)
  if (className === 'TrueDivide' && at === 1) return scaled(1 / value, 0)
  return { className: `ops.${className}`, config: { number: value } }
}

const merging: ReadonlySet<string> = new Set(['Add', 'Subtract', 'Multiply', 'Maximum', 'Minimum'])
