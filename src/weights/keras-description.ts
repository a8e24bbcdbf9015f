/**
 * Reads Keras' description of a model as a list of layers in an order in which they can run: the configuration in `.keras` and
 * whole-model `.h5` files and in the `model.json` of TensorFlow.js layers models, Sequential or Functional, as Keras 1, 2 and 3
 * and TensorFlow.js write it. Nested models are taken apart: their layers are named `<model>/<layer>`, as in the files. A layer
 * or model that is called several times comes several times, each time with the same `origin`.
 *
 * Promises: every setting is used, or known to mean nothing once the weights are loaded, or refused by name. Nothing in a
 * description, however deep or wrong, does more than throw; the work is bounded.
 */

import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { LayerDescription } from '../nn/layers/registry.ts'
import { withTodaysNames } from './keras-1.ts'
import { compositions } from './keras-compositions.ts'
import { type Call, type Graph, GraphReader, nameOf } from './keras-graph.ts'
import { operation } from './keras-operations.ts'
import { type Json, jsonStart, type KerasDialect, layerSettings } from './keras-settings.ts'

/** A layer in its place. `config` has weftgrad's settings. */
export interface Step extends LayerDescription {
  /** The places of its inputs; -1 is the model's input. */
  readonly inputs: readonly number[]
  /** The axis that the layer works along, the batch counted, if the description says it. */
  readonly axis?: number | undefined
  /** Whether an optimizer updates it. */
  readonly trainable: boolean
  /** What describes it: the same for the same layer. */
  readonly origin: object
}

/** The place of the model's input. */
export const modelInput = -1
const deepestNesting = 32
/** Lists and objects within each other: more than models so deeply nested need. */
const deepestJson = 512
/** Calls of layers. Published networks have up to some thousand; nested models can call each other without end. */
const mostCalls = 300_000
const longestName = 4096

/** What a layer's record says, whatever it is called with. */
interface Described {
  readonly layer: Json
  readonly name: string
  readonly className: string
  readonly config: Json
}

/** Reads one description. */
export class DescriptionReader {
  readonly steps: Step[] = []
  readonly #source: string
  readonly #dialect: KerasDialect
  readonly #isCustom: (className: string) => boolean
  readonly #graphs: GraphReader
  readonly #described = new Map<Json, Described>()
  #calls = 0

  constructor(source: string, dialect: KerasDialect, isCustom: (className: string) => boolean) {
    this.#source = source
    this.#dialect = dialect
    this.#isCustom = isCustom
    this.#graphs = new GraphReader({
      damaged: (problem) => this.damaged(problem),
      refused: (problem) => this.refused(problem),
    })
  }

  /** The description as an object. Throws 'format' for one whose values are nested so deeply that reading them could not end well. */
  root(described: unknown): Json {
    const open: { readonly value: unknown; readonly depth: number }[] = [{ value: described, depth: 0 }]
    for (let top = open.pop(); top !== undefined; top = open.pop()) {
      const { value, depth } = top
      if (typeof value !== 'object' || value === null) continue
      if (depth > deepestJson) throw this.damaged('its values are nested without end')
      for (const one of Object.values(value)) open.push({ value: one, depth: depth + 1 })
    }
    return this.record(described, 'the model')
  }

  refused(problem: string): WeftgradError {
    return new WeftgradError(
      'mismatch',
      `${this.#source} describes a model that weftgrad cannot build: ${problem}. Build it with weftgrad's layers, and read its weights with weights.loadWeights.`,
      { source: this.#source },
    )
  }

  damaged(problem: string): WeftgradError {
    return new WeftgradError('format', `The description of the model in ${this.#source} is damaged: ${problem}.`, {
      source: this.#source,
    })
  }

  record(value: unknown, what: string): Json {
    if (isRecord(value)) return value
    throw this.damaged(`${what} is not an object`)
  }

  /** Adds the layers of a model that gets these places as inputs. Returns the place of its output. */
  model(record: Json, prefix: string, feed: readonly number[], depth = 0): number {
    if (depth > deepestNesting) throw this.damaged('its models are nested without end')
    const { config } = record
    if (Array.isArray(config)) return this.#sequence(config, prefix, feed, depth)
    const { layers, output_layers: outputLayers } = isRecord(config) ? config : {}
    if (!Array.isArray(layers))
      throw this.refused(`${jsonStart(record.class_name)} is a class of its own, whose layers are not described`)
    if (outputLayers === undefined) return this.#sequence(layers, prefix, feed, depth)
    return this.#graph(this.#graphs.graph(record), prefix, feed, depth)
  }

  /** The shape of an input: from the options, the input layer, the first layer or the shape that the model was built with. */
  inputShape(record: Json, given: readonly number[] | undefined): readonly number[] {
    if (given !== undefined) return given
    const shape = this.statedShape(record)
    if (shape === undefined) throw this.refused('it does not say the shape of its input; give inputShape')
    const extents = shape.slice(1)
    const known = extents.filter((extent) => extent !== null && Number.isInteger(extent) && extent > 0)
    if (known.length === extents.length) return known.map(Number)
    throw this.refused(`its input of ${jsonStart(shape)} leaves extents open; give inputShape`)
  }

  statedShape(record: Json, depth = 0): readonly (number | null)[] | undefined {
    const config: unknown = record.config
    const { layers } = isRecord(config) ? config : { layers: config }
    const [first] = Array.isArray(layers) ? layers : []
    const [input = first] =
      isRecord(config) && config.input_layers !== undefined ? this.#graphs.graph(record).inputs : []
    const built = isRecord(record.build_config) ? record.build_config.input_shape : undefined
    const own = isRecord(config) ? (config.batch_shape ?? config.batch_input_shape) : undefined
    const stated = own ?? built
    if (Array.isArray(stated) && stated.every((extent) => extent === null || typeof extent === 'number')) return stated
    if (depth > deepestNesting || !isRecord(input)) return undefined
    return this.statedShape(input, depth + 1)
  }

  #sequence(layers: readonly unknown[], prefix: string, feed: readonly number[], depth: number): number {
    const [input, ...others] = feed
    if (input === undefined || others.length > 0) throw this.refused('a sequence of layers gets several inputs')
    let place = input
    for (const value of layers) {
      const layer = this.record(value, 'a layer')
      this.#count(1)
      if (layer.class_name !== 'InputLayer') place = this.#layer(layer, prefix, undefined, [place], depth)
    }
    return place
  }

  /** Adds the calls that lead to the output, each after its inputs. Without recursion: networks can be very deep. */
  #graph(graph: Graph, prefix: string, feed: readonly number[], depth: number): number {
    if (graph.inputs.length !== feed.length) throw this.refused(`it has ${graph.inputs.length} inputs`)
    const places = new Map(graph.inputs.map((layer, i) => [`${nameOf(layer)}:0`, feed[i] ?? modelInput]))
    const open = new Set<string>()
    const stack = [graph.output]
    for (let key = stack.at(-1); key !== undefined; key = stack.at(-1)) {
      if (places.has(key)) {
        stack.pop()
        continue
      }
      const call = graph.calls.get(key)
      if (call === undefined)
        throw this.damaged(`there is no layer '${key.replace(/:\d+$/, '')}' with inputs, which another takes`)
      const missing = call.inputs.filter((one) => !places.has(one))
      if (missing.length > 0) {
        if (open.has(key)) throw this.damaged(`the layer '${nameOf(call.layer)}' takes its own output`)
        open.add(key)
        for (const one of missing.toReversed()) stack.push(one)
        continue
      }
      const fed = call.inputs.map((one) => places.get(one) ?? modelInput)
      places.set(key, this.#layer(call.layer, prefix, call, fed, depth))
      stack.pop()
    }
    return places.get(graph.output) ?? modelInput
  }

  #count(calls: number): void {
    this.#calls += calls
    if (this.#calls > mostCalls) throw this.refused(`it calls layers more than ${mostCalls} times`)
  }

  /** Adds a layer, or the layers of a nested model. Returns the place of its output. */
  #layer(record: Json, prefix: string, call: Call | undefined, inputs: readonly number[], depth: number): number {
    this.#count(1 + inputs.length)
    if (Array.isArray(record.config) || (isRecord(record.config) && Array.isArray(record.config.layers)))
      return this.model(record, `${this.#nameWithin(prefix, record)}/`, inputs, depth + 1)
    const { layer, name, className, config } = this.#describedLayer(record, prefix)
    // With Keras 3, what the model is called with takes precedence.
    if (call?.isTraining === true && this.#dialect.version < 3)
      throw this.refused(`it calls the layer '${name}' with training=True, also outside training`)
    const trainable = config.trainable !== false
    const add = (kind: string, given: Json, from: readonly number[], part?: string): number => {
      const own = part === undefined ? name : `${name}/${part}`
      const isCustom = this.#isCustom(kind)
      const { settings, unsupported } = layerSettings(kind, given, this.#dialect)
      if (unsupported !== undefined && !isCustom)
        throw this.refused(`its layer '${own}' (${kind}) has ${unsupported.key} ${jsonStart(unsupported.value)}`)
      const along = [given.axis ?? -1].flat()[0]
      const axis = kind === 'Concatenate' || isCustom || typeof along !== 'number' ? undefined : along
      const step = { className: kind, name: own, config: settings, inputs: from, axis, trainable, origin: record }
      return this.steps.push(step) - 1
    }
    const op = operation(layer, call)
    // Every call of an operation can have other numbers.
    if (op !== undefined) return add(op.className, op.config, inputs, call?.use ? `${call.use}` : undefined)
    const composed = Object.hasOwn(compositions, className) && !this.#isCustom(className)
    return (composed ? compositions[className] : undefined)?.(config, inputs, add) ?? add(className, config, inputs)
  }

  #describedLayer(record: Json, prefix: string): Described {
    const known = this.#described.get(record)
    if (known !== undefined) return known
    const layer = withTodaysNames(record)
    const name = this.#nameWithin(prefix, layer)
    const { class_name: className, config } = layer
    if (typeof className !== 'string') throw this.damaged(`the layer '${name}' has no class`)
    const described = { layer, name, className, config: this.record(config, `the config of '${name}'`) }
    this.#described.set(record, described)
    return described
  }

  #nameWithin(prefix: string, record: Json): string {
    const name = `${prefix}${nameOf(record)}`
    if (name.length > longestName) throw this.damaged(`a name has ${name.length} letters`)
    return name
  }
}
