/**
 * TensorFlow.js models: a `model.json` that lists the weights, which are stored consecutively in files beside it ("shards"), as
 * floats or quantised to 16 or 8 bits. Layers models name weights by layer. Graph models store them as constants of
 * operations: the converter's reader validates the graph, and the constants' names and the order of the operations show the
 * layers.
 *
 * Promises: every length is checked against the shards before anything is read; TensorFlow.js decodes the numbers, one tensor
 * at a time. The two packages are imported on demand: that takes a quarter of a second.
 */
import type { DataId, io } from '@tensorflow/tfjs-core'
import { WeftgradError } from '../errors.ts'
import { isBeside, type OpenShard } from './beside.ts'
import { type ByteSource, joined, readBytes } from './byte-source.ts'
import { isRecord, isSizes, parsedJson, textsOf } from './json.ts'
import { type ConfiguredLayer, configuredLayers, inConfiguredOrder, layerCount, layerFinder } from './keras-config.ts'
import {
  type GraphNode,
  groupedByLayer,
  type HeldGroup,
  heldWeights,
  majorVersion,
  type TensorFlowGraph,
  type WeightEntry,
  type WeightFile,
} from './weight-file.ts'

/** The location of a tensor's numbers in the shards. */
interface Place {
  readonly spec: io.WeightsManifestEntry
  readonly shards: ByteSource
  readonly start: number
  readonly bytes: number
}

interface Held {
  readonly entry: WeightEntry
  readonly place: Place
}

const valueBytes: Readonly<Record<string, number>> = { float32: 4, int32: 4, bool: 1, complex64: 8 }
const quantisedBytes: Readonly<Record<string, number>> = { float16: 2, uint16: 2, uint8: 1 }
/** Every shard is an open file. The converter writes shards of 4 MB. */
const mostShards = 2048

/**
 * Opens a model. Closing it closes the shards.
 * @param modelJson the bytes of `model.json`.
 * @param source names the model in messages.
 * @throws WeftgradError 'format' for anything else, or lengths that do not match, and what `openShard` throws.
 */
export async function openTensorflowJs(
  modelJson: Uint8Array,
  openShard: OpenShard,
  source: string,
): Promise<WeightFile> {
  const refuse = (problem: string, cause?: unknown): never => {
    throw refusal(source, problem, cause)
  }
  const model = parsedJson(new TextDecoder().decode(modelJson))
  if (!isRecord(model) || !Array.isArray(model.weightsManifest)) {
    return refuse('its model.json has no weightsManifest. Save it again with TensorFlow.js')
  }
  const { modelTopology: topology, weightsManifest: manifest, signature, userDefinedMetadata } = model
  const opened: ByteSource[] = []
  const close = (): void => {
    for (const shard of opened) shard.close()
  }
  try {
    const groups = manifest.map((group: unknown) => readManifestGroup(group, source))
    if (groups.reduce((sum, { paths }) => sum + paths.length, 0) > mostShards) {
      refuse(`it has more than ${mostShards} weights files. Save it again with larger ones`)
    }
    const held: Held[] = []
    for (const { paths, specs } of groups) {
      const shards: ByteSource[] = []
      for (const path of paths) {
        const shard = await openShard(path)
        opened.push(shard)
        shards.push(shard)
      }
      // TensorFlow.js stores the optimizer's state among the weights.
      for (const one of placed(specs, joined(shards, source), source))
        if (one.place.spec.group !== 'optimizer') held.push(one)
    }
    const isGraph = isRecord(topology) && Array.isArray(topology.node)
    const described: unknown = isRecord(topology) && !isGraph ? (topology.model_config ?? topology) : undefined
    const layers = configuredLayers(described ?? [])
    const graph = isGraph ? await readGraph(topology, signature, held, source) : undefined
    const weights = graph === undefined ? layerGroups(held, layers) : graphGroups(graph, held, source)
    return heldWeights<Place>({
      format: isGraph ? 'tfjs-graph' : 'tfjs-layers',
      source,
      groups: weights,
      ...(layers.length === 0 ? {} : { architecture: described }),
      kerasVersion: majorVersion(isRecord(topology) ? topology.keras_version : undefined),
      ...(layers.length === 0 ? {} : { layerCount: layerCount(layers, weights) }),
      graph,
      metadata: textsOf(userDefinedMetadata),
      async read(place) {
        const numbers = await decoded(place, source)
        if (numbers instanceof Float32Array) return numbers
        throw refusal(
          source,
          `it stores '${place.spec.name}' as ${place.spec.dtype}, but weights are float32. Convert it`,
        )
      },
      close,
    })
  } catch (error) {
    close()
    throw error
  }
}

function readManifestGroup(group: unknown, source: string): { paths: string[]; specs: io.WeightsManifestEntry[] } {
  if (!isRecord(group) || !Array.isArray(group.paths) || !Array.isArray(group.weights)) {
    throw refusal(source, 'its weightsManifest is not a list of paths and weights. Save it again with TensorFlow.js')
  }
  const paths = group.paths.map((path: unknown) => {
    if (typeof path === 'string' && isBeside(path)) return path
    throw refusal(source, `it stores weights in ${JSON.stringify(path)}, which is not beside its model.json`)
  })
  return { paths, specs: group.weights.map((spec: unknown) => readSpec(spec, source)) }
}

/** The location of each tensor: consecutive, up to the last byte of the shards. */
function placed(specs: readonly io.WeightsManifestEntry[], shards: ByteSource, source: string): Held[] {
  let start = 0
  const held = specs.map((spec) => {
    const { name, shape, dtype, quantization } = spec
    const width = quantization === undefined ? valueBytes[dtype] : quantisedBytes[quantization.dtype]
    const bytes = (shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, 1)) * (width ?? 0)
    const place = { spec, shards, start, bytes }
    start += bytes
    if (!(start <= shards.size)) {
      throw refusal(source, `its weights files end within '${name}', after ${shards.size} bytes. Download them again`)
    }
    return { entry: { name, shape, dtype: quantization?.dtype ?? dtype }, place }
  })
  if (start !== shards.size) {
    throw refusal(
      source,
      `its weights files have ${shards.size} bytes, but model.json lists ${start}. Download them again`,
    )
  }
  return held
}

function readSpec(spec: unknown, source: string): io.WeightsManifestEntry {
  const { name, shape, dtype, quantization, group: part } = isRecord(spec) ? spec : {}
  const group = part === 'optimizer' ? ({ group: part } as const) : {}
  if (typeof name !== 'string' || !isSizes(shape)) {
    throw refusal(source, 'its model.json lists a weight without a name or shape. Save it again with TensorFlow.js')
  }
  const label = `'${name.slice(0, 80)}'`
  if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool' && dtype !== 'complex64') {
    throw refusal(source, `it stores ${label} as ${JSON.stringify(dtype)}, which is not supported`)
  }
  if (quantization === undefined) return { name, shape, dtype, ...group }
  const { dtype: stored, min, scale } = isRecord(quantization) ? quantization : {}
  if (stored === 'float16') return { name, shape, dtype, quantization: { dtype: stored }, ...group }
  if ((stored !== 'uint8' && stored !== 'uint16') || !isFiniteNumber(min) || !isFiniteNumber(scale)) {
    throw refusal(source, `it stores ${label} with an unknown quantisation. Convert it again`)
  }
  return { name, shape, dtype, quantization: { dtype: stored, min, scale }, ...group }
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

async function decoded({ spec, shards, start, bytes }: Place, source: string): Promise<Float32Array | Int32Array> {
  const { name, dtype } = spec
  if (dtype !== 'float32' && dtype !== 'int32') {
    throw refusal(source, `it stores '${name}' as ${dtype}, but weights are float32. Convert it`)
  }
  const { buffer } = readBytes(shards, start, bytes)
  return withBackend((tf) => {
    const tensor = tf.io.decodeWeights(buffer, [{ ...spec, name: 'weight' }]).weight
    try {
      const numbers = tensor?.dataSync()
      if (numbers instanceof Float32Array || numbers instanceof Int32Array) return numbers
    } catch (cause) {
      throw refusal(source, `'${name}' cannot be decoded. Convert it again`, cause)
    } finally {
      tensor?.dispose()
    }
    throw refusal(source, `'${name}' cannot be decoded. Convert it again`)
  })
}

let core: Promise<typeof import('@tensorflow/tfjs-core')> | undefined

/**
 * TensorFlow.js decodes to tensors, which need a backend. If the application has none, a minimal one that only holds numbers is
 * registered for the moment.
 */
async function withBackend<T>(use: (tf: typeof import('@tensorflow/tfjs-core')) => T): Promise<T> {
  // Imported once, not per tensor: a module loader can take half a millisecond each time.
  core ??= import('@tensorflow/tfjs-core')
  const tf = await core
  if (tf.engine().backendNames().length > 0) {
    await tf.ready()
    return use(tf)
  }
  class HoldingBackend extends tf.KernelBackend {
    readonly #held = new Map<DataId, unknown>()
    override write(values: unknown): DataId {
      const id = {}
      this.#held.set(id, values)
      return id
    }
    override readSync(id: DataId): Float32Array | Int32Array {
      const values = this.#held.get(id)
      return values instanceof Float32Array || values instanceof Int32Array ? values : new Float32Array()
    }
    override disposeData(id: DataId): boolean {
      return this.#held.delete(id)
    }
    override floatPrecision(): 32 {
      return 32
    }
    override dispose(): void {
      this.#held.clear()
    }
  }
  const name = 'weftgrad-weights'
  tf.registerBackend(name, () => new HoldingBackend())
  try {
    return use(tf)
  } finally {
    tf.removeBackend(name)
  }
}

/** A layers model's weights by layer, in the topology's order: the list may have those that are not trained last. */
function layerGroups(held: readonly Held[], layers: readonly ConfiguredLayer[]): HeldGroup<Place>[] {
  const find = layerFinder(layers)
  return inConfiguredOrder(groupedByLayer(held), layers, (group) => {
    const layer = find(group.name)
    return layer && { layer, group: { ...group, name: layer.name, className: layer.className } }
  })
}

/** The graph as far as its outputs need it. */
async function readGraph(
  topology: Record<string, unknown>,
  signature: unknown,
  held: readonly Held[],
  source: string,
): Promise<TensorFlowGraph> {
  const outputs = await graphOutputs(topology, signature, source)
  const constants = held.map(({ entry: { name, shape }, place }) => {
    return [name, { name, shape, read: () => decoded(place, source) }] as const
  })
  return { nodes: orderedNodes(readNodes(topology.node, source), outputs), outputs, constants: new Map(constants) }
}

/**
 * A graph's float constants by layer, in the order in which operations use them, without those that no output needs, scalars
 * and integers, which are attributes of operations.
 */
function graphGroups({ nodes }: TensorFlowGraph, held: readonly Held[], source: string): HeldGroup<Place>[] {
  const weights = new Map(
    held
      .filter(({ entry, place }) => entry.shape.length > 0 && place.spec.dtype === 'float32')
      .map((one) => [one.entry.name, one]),
  )
  const layers = new Map<string, Held[]>()
  for (const { inputs } of nodes) {
    for (const input of inputs) {
      const weight = weights.get(input)
      if (weight === undefined) continue
      weights.delete(input)
      const layer = layerOfConstant(input)
      const own = layers.get(layer)
      if (own === undefined) layers.set(layer, [weight])
      else own.push(weight)
    }
  }
  if (layers.size === 0) throw refusal(source, 'its graph uses no weights')
  const common = commonFolder([...layers.keys()])
  return [...layers].map(([layer, own]) => ({ name: layer.slice(common.length), weights: own }))
}

/** The names of the graph's outputs. Refuses a graph that the converter's reader cannot load. */
async function graphOutputs(topology: Record<string, unknown>, signature: unknown, source: string): Promise<string[]> {
  const { loadGraphModelSync } = await import('@tensorflow/tfjs-converter')
  try {
    const model = loadGraphModelSync({
      modelTopology: topology,
      weightSpecs: [],
      weightData: new ArrayBuffer(0),
      ...(isRecord(signature) ? { signature } : {}),
    })
    return model.outputs.map(({ name }) => name)
  } catch (cause) {
    throw refusal(source, 'TensorFlow.js cannot load its graph. Convert it again', cause)
  }
}

function readNodes(list: unknown, source: string): ReadonlyMap<string, GraphNode> {
  const nodes = new Map<string, GraphNode>()
  for (const node of Array.isArray(list) ? list : []) {
    const { name, op, input = [], attr } = isRecord(node) ? node : {}
    const isList = Array.isArray(input) && input.every((one) => typeof one === 'string')
    if (typeof name !== 'string' || typeof op !== 'string' || !isList) {
      throw refusal(source, 'its graph has a node without a name, operation or inputs. Convert it again')
    }
    // `^name` only orders, `name:1` is a second result.
    const inputs = (input as string[]).map((one) => one.replace(/^\^/, '').replace(/:.*$/, ''))
    const operands = (input as string[]).flatMap((one) => {
      const [, operand = '', output = '0'] = /^([^:]*)(?::(\d{1,9}))?$/.exec(one) ?? []
      return one.startsWith('^') ? [] : { name: operand, output: Number(output) }
    })
    nodes.set(name, { name, op, inputs, operands, attributes: isRecord(attr) ? attr : {} })
  }
  return nodes
}

/** The nodes that the outputs need, each after its inputs, otherwise in the file's order. Cuts loops. */
function orderedNodes(nodes: ReadonlyMap<string, GraphNode>, outputs: readonly string[]): readonly GraphNode[] {
  const needed = new Set(outputs)
  for (const name of needed) for (const input of nodes.get(name)?.inputs ?? []) needed.add(input)
  const begun = new Set<string>()
  const ordered: GraphNode[] = []
  for (const start of nodes.keys()) {
    const open = needed.has(start) && !begun.has(start) ? [{ name: start, next: 0 }] : []
    begun.add(start)
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const node = nodes.get(top.name)
      const input = node?.inputs[top.next++]
      if (input === undefined) {
        if (node !== undefined) ordered.push(node)
        open.pop()
      } else if (!begun.has(input)) {
        begun.add(input)
        open.push({ name: input, next: 0 })
      }
    }
  }
  return ordered
}

/** `model/conv1/Conv2D/ReadVariableOp` and `model/conv1/Conv2D_weights` both belong to `model/conv1`. */
function layerOfConstant(name: string): string {
  const operation = name.replace(/\/ReadVariableOp(_\d+)?$/, '')
  const end = operation.lastIndexOf('/')
  return end < 0 ? operation : operation.slice(0, end)
}

/** The common prefix of all names: `StatefulPartitionedCall/model/`. */
function commonFolder(names: readonly string[]): string {
  const folders = names.map((name) => name.split('/').slice(0, -1))
  const [first = []] = folders
  const differing = first.findIndex((part, i) => folders.some((folder) => folder[i] !== part))
  const common = differing < 0 ? first : first.slice(0, differing)
  return common.map((part) => `${part}/`).join('')
}

function refusal(source: string, problem: string, cause?: unknown): WeftgradError {
  return new WeftgradError('format', `${source} is not a readable TensorFlow.js model: ${problem}.`, { source }, cause)
}
