/**
 * The graph of a Functional model in Keras' description: which call of a layer takes which others. Keras 1, 2 and TensorFlow.js
 * list references, `['conv', 0, 0, {}]`; Keras 3 lists arguments with tensors among them. A reference names a layer, one of its
 * calls and one of that call's outputs.
 */

import type { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import { type Json, jsonStart } from './keras-settings.ts'

/** A call of a layer. Calls are known by `<layer>:<number>`. */
export interface Call {
  readonly layer: Json
  /** Its number among the layer's calls. */
  readonly use: number
  /** The calls whose outputs it takes. */
  readonly inputs: readonly string[]
  /** Numbers among the arguments: operations have them. */
  readonly numbers: readonly { readonly at: number; readonly value: number }[]
  /** The argument `training`, if the call gives it. */
  readonly isTraining: boolean | undefined
}

/** A Functional model's calls. */
export interface Graph {
  /** Its input layers. */
  readonly inputs: readonly Json[]
  /** The call that gives its output. */
  readonly output: string
  readonly calls: ReadonlyMap<string, Call>
}

interface Reference {
  readonly name: string
  readonly use: number
}

/** A call as its node describes it, with Keras' numbers of calls. */
interface Node {
  readonly inputs: Reference[]
  readonly numbers: { readonly at: number; readonly value: number }[]
  isTraining: boolean | undefined
}

const deepestArguments = 32

/** The name of a layer. */
export function nameOf({ name, config }: Json): string {
  const own = isRecord(config) ? config.name : undefined
  return typeof own === 'string' ? own : typeof name === 'string' ? name : ''
}

/** Makes the errors of a reader. */
interface Errors {
  readonly damaged: (problem: string) => WeftgradError
  readonly refused: (problem: string) => WeftgradError
}

/** Reads graphs, each once: a model can be called many times. */
export class GraphReader {
  readonly #errors: Errors
  readonly #read = new Map<Json, Graph>()

  constructor(errors: Errors) {
    this.#errors = errors
  }

  /** The graph of a Functional model. Throws 'format' for a damaged one, 'mismatch' for several inputs or outputs. */
  graph(record: Json): Graph {
    const known = this.#read.get(record)
    if (known !== undefined) return known
    const graph = this.#graphOf(isRecord(record.config) ? record.config : {})
    this.#read.set(record, graph)
    return graph
  }

  #graphOf({ layers, input_layers: inputLayers, output_layers: outputLayers }: Json): Graph {
    const inputs = this.#listed(inputLayers).inputs
    const [output, ...more] = this.#listed(outputLayers).inputs
    if (inputs.length > 1) throw this.#errors.refused(`it has ${inputs.length} inputs, and weftgrad's models have one`)
    if (output === undefined || more.length > 0)
      throw this.#errors.refused(
        `it has ${more.length === 0 ? 'no' : more.length + 1} outputs, and weftgrad's models have one`,
      )
    const records = new Map<string, Json>()
    const nodes = new Map<string, readonly Node[]>()
    for (const layer of Array.isArray(layers) ? layers : []) {
      if (!isRecord(layer)) throw this.#errors.damaged('a layer is not an object')
      const name = nameOf(layer)
      if (records.has(name)) throw this.#errors.damaged(`two layers are called '${name.slice(0, 80)}'`)
      records.set(name, layer)
      const calls: unknown[] = Array.isArray(layer.inbound_nodes) ? layer.inbound_nodes : []
      nodes.set(
        name,
        calls.map((node) => this.#node(node)),
      )
    }
    const key = this.#keys(records, nodes, output)
    const calls = new Map<string, Call>()
    for (const [name, layer] of records)
      for (const [use, node] of (nodes.get(name) ?? []).entries())
        calls.set(`${name}:${use}`, { ...node, layer, use, inputs: node.inputs.map(key) })
    const inputRecords = inputs.map(({ name }) => records.get(name) ?? { name })
    return { inputs: inputRecords, output: key(output), calls }
  }

  /**
   * How a reference's call is known here. Keras counts the calls of a nested Functional model from 1, and other versions from 0:
   * then none has the number of calls as its number.
   */
  #keys(
    records: ReadonlyMap<string, Json>,
    nodes: ReadonlyMap<string, readonly Node[]>,
    output: Reference,
  ): (reference: Reference) => string {
    const fromOne = new Set<string>()
    const note = ({ name, use }: Reference): void => {
      const config = records.get(name)?.config
      const isModel = Array.isArray(config) || (isRecord(config) && Array.isArray(config.layers))
      if (isModel && use > 0 && use === nodes.get(name)?.length) fromOne.add(name)
    }
    note(output)
    for (const calls of nodes.values()) for (const { inputs } of calls) for (const reference of inputs) note(reference)
    return ({ name, use }) => `${name}:${fromOne.has(name) ? use - 1 : use}`
  }

  #node(described: unknown): Node {
    if (!isRecord(described)) return this.#listed(described)
    const node: Node = { inputs: [], numbers: [], isTraining: undefined }
    const { args, kwargs } = described
    for (const [at, value] of (Array.isArray(args) ? args : []).entries()) {
      if (typeof value === 'number') node.numbers.push({ at, value })
      else this.#addTensors(node, value)
    }
    this.#addTensors(node, kwargs)
    this.#noteTraining(node, kwargs)
    return node
  }

  /** Adds Keras 3's tensors anywhere within a call's arguments. */
  #addTensors(node: Node, value: unknown, depth = 0): void {
    if (depth > deepestArguments || typeof value !== 'object' || value === null) return
    const { class_name: className, config } = value as Json
    if (className === '__keras_tensor__') this.#add(node, isRecord(config) ? config.keras_history : undefined)
    else for (const one of Object.values(value)) this.#addTensors(node, one, depth + 1)
  }

  /** References by name, `[['conv', 0, 0, {}], ...]`, or a single one of them, or one for each name. */
  #listed(value: unknown): Node {
    const node: Node = { inputs: [], numbers: [], isTraining: undefined }
    const list = isRecord(value) ? Object.values(value) : value
    if (!Array.isArray(list)) throw this.#errors.damaged('a list of layers is missing')
    for (const reference of typeof list[0] === 'string' ? [list] : list) {
      const [name, , constant, further] = Array.isArray(reference) ? reference : []
      if (name === '_CONSTANT_VALUE' && typeof constant === 'number') node.numbers.push({ at: 0, value: constant })
      else this.#add(node, reference)
      // Arguments by name: of TensorFlow's operations, and of layers that take several inputs.
      for (const one of isRecord(further) ? Object.values(further) : []) {
        if (typeof one === 'number') node.numbers.push({ at: 1, value: one })
        else if (Array.isArray(one) && typeof one[0] === 'string' && one.length >= 3) this.#add(node, one)
      }
      this.#noteTraining(node, further)
    }
    return node
  }

  /** `['conv', 0, 0]`: the layer, its call, and that call's output. */
  #add(node: Node, reference: unknown): void {
    const [name, use = 0, output = 0] = Array.isArray(reference) ? reference : []
    if (typeof name !== 'string' || !Number.isSafeInteger(use) || use < 0)
      throw this.#errors.damaged(`${jsonStart(reference)} names no layer`)
    if (output !== 0)
      throw this.#errors.refused(
        `it takes output ${jsonStart(output)} of '${name.slice(0, 80)}', and weftgrad's layers have one`,
      )
    node.inputs.push({ name, use })
  }

  #noteTraining(node: Node, args: unknown): void {
    if (isRecord(args) && typeof args.training === 'boolean') node.isTraining = args.training
  }
}
