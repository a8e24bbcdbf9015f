/**
 * Builds a model from the graph of a TensorFlow.js graph model, whose operations the converter has folded and fused: each
 * becomes a layer of weftgrad. `graph-operations.ts` says which.
 *
 * Promises: operations that weftgrad cannot follow are named all at once; every attribute that changes the numbers is used or
 * refused by name.
 */

import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { GraphNode, TensorFlowGraph } from '../format/weight-file.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { elementCount } from '../kernels/kernel.ts'
import type { LayerConfig } from '../nn/layers/registry.ts'
import { layerOf } from '../nn/layers/registry.ts'
import type { WiredLayer } from '../nn/model.ts'
import { Model } from '../nn/model.ts'
import type { ReadWeight } from '../nn/model-weights.ts'
import { type GraphValue, type NodeBuilder, NodeReader, type PlaceValue, type WeightSource } from './graph-node.ts'
import { operations } from './graph-operations.ts'
import type { KerasModelOptions } from './keras-model.ts'
import { jsonStart } from './keras-settings.ts'

/** A model and how its weights are read from the graph's constants. */
export interface GraphModel {
  readonly model: Model
  readonly read: ReadWeight
}

/**
 * Builds the model.
 * @throws WeftgradError 'argument' for operations that weftgrad lacks, all at once; 'mismatch' for several inputs or outputs and
 * for attributes that it cannot follow; 'shape' for layers that do not fit.
 */
export async function graphModel(
  graph: TensorFlowGraph,
  source: string,
  { inputShape, trainable }: KerasModelOptions,
): Promise<GraphModel> {
  const builder = new GraphBuilder(graph, source, inputShape)
  const unknown = graph.nodes.filter(({ op }) => !Object.hasOwn(operations, op))
  if (unknown.length > 0) {
    const classes = [...new Set(unknown.map(({ op }) => op))]
    const named = classes
      .slice(0, 20)
      .map((op) => `${op} (${unknown.find((node) => node.op === op)?.name.slice(0, 200)})`)
    throw new WeftgradError('argument', `${source} has operations that weftgrad lacks: ${named.join('; ')}.`, {
      source,
      classes,
    })
  }
  const [output, ...more] = graph.outputs
  if (output === undefined || more.length > 0)
    throw builder.refused(`it has ${graph.outputs.length} outputs, and weftgrad's models have one`)
  for (const node of graph.nodes) await builder.add(node)
  return builder.model(output, trainable)
}

class GraphBuilder implements NodeBuilder {
  readonly #graph: TensorFlowGraph
  readonly #source: string
  readonly #givenShape: readonly number[] | undefined
  readonly #values = new Map<string, GraphValue>()
  readonly #layers: WiredLayer[] = []
  readonly #weights: (readonly WeightSource[])[] = []
  readonly #prefix: string
  #inputShape: readonly number[] | undefined

  constructor(graph: TensorFlowGraph, source: string, givenShape: readonly number[] | undefined) {
    this.#graph = graph
    this.#source = source
    this.#givenShape = givenShape
    const folder = /^(StatefulPartitionedCall\/)?[^/]+\//
    const prefixes = graph.nodes.map(({ name }) => folder.exec(name)?.[0]).filter((one) => one !== undefined)
    const [first = ''] = prefixes
    this.#prefix = prefixes.every((one) => one === first) ? first : ''
  }

  refused(problem: string): WeftgradError {
    return new WeftgradError('mismatch', `${this.#source} is a graph that weftgrad cannot build: ${problem}.`, {
      source: this.#source,
    })
  }

  /** Adds what a node computes. */
  async add(node: GraphNode): Promise<void> {
    const reader = new NodeReader(
      node,
      node.operands.map(({ name, output }) => {
        const value = this.#values.get(name)
        if (value !== undefined && output === 0) return value
        throw this.refused(`'${node.name}' takes output ${output} of '${name}'`)
      }),
      this,
    )
    this.#values.set(node.name, await (operations[node.op] ?? reader.unsupported)(reader))
  }

  constant(name: string): GraphValue {
    const constant = this.#graph.constants.get(name)
    if (constant === undefined) throw this.refused(`it has no numbers for the constant '${name}'`)
    return { kind: 'constant', constant }
  }

  input(node: GraphNode): GraphValue {
    if (this.#inputShape !== undefined) throw this.refused("it has several inputs, and weftgrad's models have one")
    const { shape } = isRecord(node.attributes.shape) ? node.attributes.shape : {}
    const dims = isRecord(shape) && Array.isArray(shape.dim) ? shape.dim : []
    const stated = dims.slice(1).map((dim) => Number(isRecord(dim) ? dim.size : Number.NaN))
    const extents = this.#givenShape ?? stated
    if (extents.length === 0 || !extents.every((extent) => Number.isSafeInteger(extent) && extent > 0))
      throw this.refused(`its input of ${jsonStart(stated)} leaves extents open; give inputShape`)
    this.#inputShape = extents
    return { kind: 'place', place: -1, shape: extents }
  }

  /** Adds a layer with its weights, in the layer's order. */
  layer(
    name: string,
    className: string,
    config: LayerConfig,
    inputs: readonly PlaceValue[],
    weights: readonly WeightSource[],
  ): PlaceValue {
    const own = name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : name
    const layer = layerOf({ className, name: own, config })
    const shapes = inputs.map(({ shape }) => shape)
    const specs = layer.weights(shapes)
    for (const [i, { name: weight, shape }] of specs.entries()) {
      const given = weights[i]?.constant
      const fits = given !== undefined && elementCount(given.shape) === elementCount(shape)
      if (
        !fits ||
        (weights[i]?.change === undefined && given.shape.length === shape.length && !sameShape(given.shape, shape))
      )
        throw this.refused(
          `'${own}' needs ${weight} ${shapeText(shape)}, and its constant is ${given === undefined ? 'missing' : shapeText(given.shape)}`,
        )
    }
    const place = this.#layers.push({ layer, inputs: inputs.map((input) => input.place) }) - 1
    this.#weights.push(weights)
    return { kind: 'place', place, shape: layer.outputShape(shapes) }
  }

  model(output: string, trainable: KerasModelOptions['trainable']): GraphModel {
    const value = this.#values.get(output)
    if (value?.kind !== 'place' || value.place === -1 || this.#inputShape === undefined)
      throw this.refused(`its output '${output}' does not depend on its input`)
    // The nodes are those that the output needs, so its layer is the last one.
    if (value.place !== this.#layers.length - 1) throw this.refused(`its output '${output}' is not its last operation`)
    const model = new Model('graph', this.#inputShape, this.#layers, trainable === undefined ? {} : { trainable })
    const sources = new Map(
      model.layers.flatMap(({ weights }, i) => weights.map((weight, j) => [weight, this.#weights[i]?.[j]] as const)),
    )
    const read: ReadWeight = async (weight) => {
      const from = sources.get(weight)
      const numbers = await from?.constant.read()
      if (from === undefined || !(numbers instanceof Float32Array))
        throw this.refused(`the constant of ${weight.name} is no float`)
      return from.change?.(numbers, from.constant.shape) ?? numbers
    }
    return { model, read }
  }
}
