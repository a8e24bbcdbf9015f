/**
 * Builds a model from an ONNX graph: one input, the first axis of which counts examples, and one output. Keras' layers stand for
 * its nodes where there are some, the layer `operation` for the others, so that the model trains and is saved like any other.
 * Images become [height, width, channels] once, at the input.
 *
 * Promises: a node is built as ONNX defines it, or refused by name; unknown operators are named all at once, with their
 * attributes. Nothing in a graph, however long or wrong, does more than throw, and time is linear in the number of nodes.
 */

import { WeftgradError } from '../../errors.ts'
import type { OnnxGraph, OnnxNode, OnnxPort } from '../../format/onnx-graph.ts'
import { activation } from '../../nn/layers/activation.ts'
import type { LayerMaker } from '../../nn/layers/registry.ts'
import type { Layer } from '../../nn/layers.ts'
import { Model, type ModelOptions } from '../../nn/model.ts'
import type { ReadWeight } from '../../nn/model-weights.ts'
import { GraphBuilder } from './builder.ts'
import { constantOf } from './constant.ts'
import { folded, isFoldable } from './folding.ts'
import { Call, floats, type Handler } from './node.ts'
import { isSpatial, operators, passesLayout } from './operators/index.ts'
import { extentOf, type Operand, part, type Value } from './value.ts'

/** How to build a model from a graph. */
export interface OnnxModelOptions {
  /** The shape of an input without the batch, as the model takes it, for a graph that leaves extents open. */
  readonly inputShape?: readonly number[]
  /** Makers of layers for operators that weftgrad lacks, by the operator's name. */
  readonly customLayers?: Readonly<Record<string, LayerMaker>>
  /** Selects the layers that an optimizer updates, as in `ModelOptions`: all by default. */
  readonly trainable?: NonNullable<ModelOptions['trainable']>
  /** Whether the input's first axis counts examples. True by default; false for a graph that takes a single example. */
  readonly batch?: boolean
}

/** A model, and where its weights are. */
export interface OnnxModel {
  readonly model: Model
  readonly read: ReadWeight
}

/** An extent that stands for an open number of examples: prime, and no extent of a network. */
const openBatch = 1_048_573

/**
 * Builds the model.
 * @throws WeftgradError 'mismatch' for graphs that are not expressible, 'argument' for unknown operators, 'format' for a
 * damaged graph.
 */
export function onnxModel(graph: OnnxGraph, source: string, options: OnnxModelOptions = {}): OnnxModel {
  const reader = new ModelReader(graph, source, options)
  return reader.model()
}

class ModelReader {
  readonly #graph: OnnxGraph
  readonly #source: string
  readonly #options: OnnxModelOptions
  readonly #producers: ReadonlyMap<string, OnnxNode>
  readonly #consumers = new Map<string, OnnxNode[]>()

  constructor(graph: OnnxGraph, source: string, options: OnnxModelOptions) {
    this.#graph = graph
    this.#source = source
    this.#options = options
    const outputs = graph.nodes.flatMap((node) =>
      node.outputs.flatMap((name) => (name === '' ? [] : [[name, node] as const])),
    )
    this.#producers = new Map(outputs)
    if (this.#producers.size !== outputs.length) throw this.#damaged('two nodes give outputs of the same name')
    for (const node of graph.nodes)
      for (const name of new Set(node.inputs)) {
        const held = this.#consumers.get(name)
        if (held === undefined) this.#consumers.set(name, [node])
        else held.push(node)
      }
  }

  #refused(problem: string): WeftgradError {
    return new WeftgradError('mismatch', `${this.#source} describes a model that weftgrad cannot build: ${problem}.`, {
      source: this.#source,
    })
  }

  #damaged(problem: string): WeftgradError {
    return new WeftgradError('format', `The graph in ${this.#source} is damaged: ${problem}.`, { source: this.#source })
  }

  model(): OnnxModel {
    const { inputs, outputs, opset, name } = this.#graph
    const [input] = inputs
    const [output] = outputs
    const names = (ports: readonly OnnxPort[]): string =>
      ports
        .slice(0, 20)
        .map((one) => `'${one.name}'`)
        .join(', ') || 'none'
    if (input === undefined || inputs.length > 1) throw this.#refused(`its inputs are ${names(inputs)}, not one`)
    if (output === undefined || outputs.length > 1) throw this.#refused(`its outputs are ${names(outputs)}, not one`)
    const needed = this.#inOrder(output.name)
    this.#refuseUnknown(needed)
    const { builder, value } = this.#start(input)
    const built = new Map<string, Operand>([[input.name, value]])
    for (const node of needed) this.#build(node, built, builder, opset ?? 1)
    const result = built.get(output.name)
    if (result?.kind !== 'value') throw this.#refused('its output does not depend on its input')
    finish(builder, result, output.name)
    const { trainable } = this.#options
    const model = new Model(name || 'model', builder.shapeAt(-1), builder.layers, {
      ...(trainable === undefined ? {} : { trainable }),
    })
    return {
      model,
      read: async (weight) => floats((builder.weights.get(weight.name) ?? ((): Float32Array => new Float32Array()))()),
    }
  }

  /** The nodes that lead to an output, each after those that it takes. Without recursion: networks can be very deep. */
  #inOrder(output: string): readonly OnnxNode[] {
    const order = new Set<OnnxNode>()
    const open = new Set<OnnxNode>()
    const given = new Set([...this.#graph.inputs.map(({ name }) => name), ...this.#graph.tensors.keys(), ''])
    const stack = [output]
    for (let name = stack.at(-1); name !== undefined; name = stack.at(-1)) {
      const node = this.#producers.get(name)
      if (given.has(name) || (node !== undefined && order.has(node))) {
        stack.pop()
        continue
      }
      if (node === undefined) throw this.#damaged(`nothing gives '${name}'`)
      if (open.has(node)) {
        order.add(node)
        open.delete(node)
        stack.pop()
        continue
      }
      open.add(node)
      for (const one of node.inputs) {
        const producer = this.#producers.get(one)
        if (producer !== undefined && open.has(producer)) throw this.#damaged(`'${one}' depends on itself`)
        if (producer === undefined || !order.has(producer)) stack.push(one)
      }
    }
    return [...order]
  }

  #refuseUnknown(nodes: readonly OnnxNode[]): void {
    const { customLayers = {} } = this.#options
    const unknown = nodes.filter(
      ({ operator }) =>
        !Object.hasOwn(operators, operator) && !isFoldable(operator) && !Object.hasOwn(customLayers, operator),
    )
    if (unknown.length === 0) return
    const kinds = new Map(unknown.map((node) => [node.operator, node]))
    const named = [...kinds].map(([operator, { attributes, name, outputs }]) => {
      const settings = Object.fromEntries([...attributes].map(([key, value]) => [key, shown(value)]))
      return `${operator} (${name || outputs[0]}): ${JSON.stringify(settings)}`
    })
    throw new WeftgradError(
      'argument',
      `${this.#source} has operators that weftgrad lacks; give makers of layers in customLayers. ${named.slice(0, 20).join('; ')}`,
      { source: this.#source, classes: [...kinds.keys()] },
    )
  }

  /** The model's input: images lie as weftgrad's do if layers of images take them. */
  #start(input: OnnxPort): { readonly builder: GraphBuilder; readonly value: Value } {
    const { inputShape, batch: hasBatch = true } = this.#options
    const { shape } = input
    if (shape === undefined) throw this.#refused(`it does not say the shape of its input '${input.name}'`)
    const [examples] = hasBatch ? shape : [1]
    const isFixed = typeof examples === 'number' && examples >= 1
    const batch = part(isFixed ? examples : openBatch)
    const rank = shape.length - (hasBatch ? 1 : 0)
    if (rank < 0) throw this.#refused(`its input '${input.name}' has no axis of examples`)
    const last = this.#takesImages(input.name) && rank >= 2
    const order = Array.from({ length: rank }, (_, i) => (last ? (i + 1) % rank : i))
    if (inputShape !== undefined && inputShape.length !== rank)
      throw this.#refused(`its input has ${rank} axes besides the examples, and inputShape has ${inputShape.length}`)
    const own = shape.slice(hasBatch ? 1 : 0)
    const extents = own.map((extent, i) => inputShape?.[order.indexOf(i)] ?? extent)
    const isKnown = (extent: unknown): extent is number => Number.isSafeInteger(extent) && Number(extent) >= 1
    if (!extents.every(isKnown))
      throw this.#refused(
        `its input '${input.name}' of [${shape.map((extent) => extent ?? '?').join(', ')}] leaves extents open or empty; give inputShape`,
      )
    const parts = extents.map(part)
    const stored = order.map((axis) => parts.slice(axis, axis + 1))
    const builder = new GraphBuilder(this.#source, stored.map(extentOf), batch)
    const axes = [...(hasBatch ? [[batch]] : []), ...parts.map((one) => [one])]
    return { builder, value: { kind: 'value', place: -1, stored, axes } }
  }

  /** Whether operators on images take the input, directly or after operators on each number. */
  #takesImages(input: string): boolean {
    const seen = new Set([input])
    const queue = [input]
    for (let name = queue.pop(); name !== undefined; name = queue.pop())
      for (const { operator, outputs, inputs } of this.#consumers.get(name) ?? []) {
        if (isSpatial(operator) && inputs[0] === name) return true
        if (!passesLayout(operator)) continue
        for (const output of outputs) {
          if (seen.has(output)) continue
          seen.add(output)
          queue.push(output)
        }
      }
    return false
  }

  #build(node: OnnxNode, built: Map<string, Operand>, builder: GraphBuilder, opset: number): void {
    // A node before it may have computed its output.
    if (node.outputs.every((name) => name === '' || built.has(name))) return
    const operandOf = (name: string): Operand | undefined => {
      const tensor = this.#graph.tensors.get(name)
      return built.get(name) ?? (tensor && constantOf(tensor, true))
    }
    const call = new Call(node, builder, node.inputs.map(operandOf), opset, {
      follower: (output) => {
        const [only, ...others] = this.#consumers.get(output) ?? []
        const isOutput = this.#graph.outputs.some(({ name }) => name === output)
        return others.length === 0 && !isOutput ? only : undefined
      },
      constant: (name) => {
        const found = operandOf(name)
        return found?.kind === 'constant' ? found : undefined
      },
    })
    const custom = this.#options.customLayers ?? {}
    const handler = Object.hasOwn(custom, node.operator) ? undefined : operators[node.operator]
    const results =
      folded(call) ??
      (handler === undefined ? customOutput(call, custom[node.operator]) : handlerOutputs(handler, call))
    for (const [i, name] of node.outputs.entries()) {
      const result = results[i]
      if (name !== '' && result !== undefined) built.set(name, result)
    }
    for (const [name, value] of call.taken) built.set(name, value)
    const missing = node.outputs.find((name, i) => name !== '' && results[i] === undefined && this.#consumers.has(name))
    if (missing !== undefined) throw call.refused(`does not give '${missing}'`)
  }
}

function handlerOutputs(handler: Handler, call: Call): readonly (Operand | undefined)[] {
  const made = handler(call)
  return 'kind' in made ? [made] : made
}

/** A layer of the caller's: its inputs lie as in the graph, without the examples; the node's constants are its weights. */
function customOutput(call: Call, make: LayerMaker | undefined): readonly Operand[] {
  const { node, builder, inputs } = call
  if (make === undefined) throw call.refused('has no constant operands, and weftgrad only computes it from constants')
  const values = inputs.filter((one): one is Value => one?.kind === 'value').map((one) => builder.plain(one, call.name))
  const constants = inputs.flatMap((one) => (one?.kind === 'constant' ? [one] : []))
  const layer: Layer = make(builder.freeName(call.name), Object.fromEntries(node.attributes))
  const place = builder.add(
    layer,
    values.map((one) => one.place),
    constants,
  )
  const parts = builder.partsAt(place)
  const stored = parts.map((one) => [one])
  return [{ kind: 'value', place, stored, axes: [[builder.batch], ...stored] }]
}

/** The output lies as in the graph, but images as weftgrad's. The last layer gives it. */
function finish(builder: GraphBuilder, result: Value, name: string): void {
  const [examples = [], channels = [], ...positions] = result.axes
  const isLast =
    positions.length > 0 &&
    sameParts(result.stored.flat(), [...positions, channels].flat()) &&
    !channels.includes(builder.batch)
  const groups =
    isLast && examples.includes(builder.batch)
      ? [...positions, channels]
      : result.axes.map((axis) => axis.filter((one) => one !== builder.batch))
  const visible = groups.filter(
    (_, i) => isLast || !(result.axes[i] ?? []).includes(builder.batch) || extentOf(groups[i] ?? []) !== 1,
  )
  const place = builder.arranged(result, visible, name)
  // A model's output is its last layer's.
  if (place < 0 || place !== builder.layers.length - 1)
    builder.add(activation(builder.freeName(name), 'linear'), [place])
}

function sameParts(a: readonly object[], b: readonly object[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i])
}

function shown(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'dtype' in value && 'shape' in value
    ? `${value.dtype} [${value.shape}]`
    : value
}
