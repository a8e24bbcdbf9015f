/**
 * A weights file as every reader returns it, whatever its format: its layers, in its order, and their numbers, one tensor at
 * a time. Opening only reads the table of contents and checks every length; numbers are read on demand, so a large file never
 * has to fit into memory.
 */

import { WeftgradError } from '../errors.ts'
import { type Kind, objectWith } from '../options.ts'
import type { OnnxGraph } from './onnx-graph.ts'

/** The supported formats. `keras-h5` is Keras' HDF5 up to Keras 2, weights only or a whole model; `keras-3-h5` is Keras 3's `.weights.h5`. */
export type WeightFormat =
  | 'keras-h5'
  | 'keras-3-h5'
  | 'keras-archive'
  | 'tfjs-layers'
  | 'tfjs-graph'
  | 'safetensors'
  | 'onnx'

/** A tensor in a weights file. */
export interface WeightEntry {
  /** Its name in the file: `block1_conv1/kernel:0`, `block1_conv1_W_1`, `vars/0` ... */
  readonly name: string
  /** Extents, in Keras' layout. */
  readonly shape: readonly number[]
  /** The stored type: `float32`, `float16`, or the integers of quantised numbers. */
  readonly dtype: string
}

/** The weights of one layer, in the file's order. Layers without weights are omitted. */
export interface WeightGroup {
  /** The layer's name in the file. */
  readonly name: string
  /** Keras' class name (`Conv2D`), if the file has it. */
  readonly className?: string
  /** All names that identify it; only `name` by default. None if `name` only numbers the layers of a class. */
  readonly names?: readonly string[]
  /**
   * Layers of the same sequence are in the order in which the network runs them; null means an unknown order. By default the
   * format decides: see `assignWeights`.
   */
  readonly sequence?: string | null
  /** Its tensors, in the file's order. */
  readonly weights: readonly WeightEntry[]
}

/** An operation of a TensorFlow graph. */
export interface GraphNode {
  /** Its name. */
  readonly name: string
  /** TensorFlow's name of the operation: `Conv2D`. */
  readonly op: string
  /** The names of all nodes that come before it. */
  readonly inputs: readonly string[]
  /** The nodes whose results it takes, and which of their results. */
  readonly operands: readonly {
    /** The node. */
    readonly name: string
    /** The number of its result. */
    readonly output: number
  }[]
  /** Its attributes, parsed JSON of unknown content. */
  readonly attributes: Readonly<Record<string, unknown>>
}

/** A TensorFlow graph: `loadModel` builds a model from it. */
export interface TensorFlowGraph {
  /** The nodes that the outputs need, each after its inputs. */
  readonly nodes: readonly GraphNode[]
  /** The names of its outputs. */
  readonly outputs: readonly string[]
  /** The numbers of constants, by their nodes' names. */
  readonly constants: ReadonlyMap<string, GraphConstant>
}

/** A constant of a graph. */
export interface GraphConstant {
  /** The name of its node. */
  readonly name: string
  /** Extents. */
  readonly shape: readonly number[]
  /** The numbers, row-major. Throws 'format' if they are neither floats nor 32-bit integers. */
  read(): Promise<Float32Array | Int32Array>
}

/** An open weights file: its layers, in its order, and their numbers, one tensor at a time. */
export interface WeightFile {
  /** Its format. */
  readonly format: WeightFormat
  /** Its name in messages. */
  readonly source: string
  /** Its layers, in the file's order. */
  readonly groups: readonly WeightGroup[]
  /** The number of layers up to the last one with weights, including those without weights, if the file lists them. */
  readonly layerCount?: number
  /** Keras' description of the model, parsed JSON of unknown content, if the file has one: `loadModel` builds the model from it. */
  readonly architecture?: unknown
  /** The first number of the version of Keras that described the model, 2 for TensorFlow.js, if the file has one. */
  readonly kerasVersion?: number
  /** The graph, of a TensorFlow.js graph model. */
  readonly graph?: TensorFlowGraph
  /**
   * The graph of an ONNX file: `loadModel` builds the model from it.
   * @internal
   */
  readonly onnx?: OnnxGraph
  /** What it says besides layers and weights, as texts by name: class names, as JSON, are `classes`. */
  readonly metadata?: Readonly<Record<string, string>>
  /**
   * The numbers of one of `groups`' entries, row-major, as float32.
   * @throws WeftgradError 'data' if the file's bytes do not hold them, 'format' for numbers that are not floats, 'argument' for
   * an entry of another file.
   */
  read(entry: WeightEntry): Promise<Float32Array>
  /** Closes the file and everything that was opened to read it. */
  close(): void
}

/** The kind of a file opened by `weights.open`. */
export const anOpenFile: Kind = ['a file opened by `weights.open`', (value) => objectWith(value, 'read')]

/** The name under which files that have names of their own for their makers' texts keep weftgrad's: a record, or its JSON. */
export const metadataName = 'weftgrad_metadata'

/** Whether an entry is a count or a random state that Keras stores among the weights, such as `iterations`. */
export function isCounter({ dtype, shape }: WeightEntry): boolean {
  return /^u?int(32|64)$/.test(dtype) && shape.length <= 1
}

/** Whether an entry's dtype is supported; quantised tensors of TensorFlow.js are `uint8` and `uint16`. */
export function isReadable({ dtype }: WeightEntry): boolean {
  return /^(b?float(16|32|64)|uint(8|16))$/.test(dtype)
}

/** The first number of a version, `3.15.1`; TensorFlow.js, `tfjs-layers 4.22.0`, follows Keras 2. */
export function majorVersion(text: unknown): number | undefined {
  if (typeof text !== 'string') return undefined
  const [number] = /^\d{1,3}(?=\.|$)/.exec(text) ?? []
  return number === undefined ? 2 : Number(number)
}

/** A group, and what its reader needs to find each tensor. */
export interface HeldGroup<Place> extends Omit<WeightGroup, 'weights'> {
  readonly weights: readonly { readonly entry: WeightEntry; readonly place: Place }[]
}

/** A weights file over the groups that a reader found. */
export function heldWeights<Place>({
  format,
  source,
  groups,
  layerCount,
  architecture,
  kerasVersion,
  graph,
  onnx,
  metadata,
  read,
  close,
}: {
  readonly format: WeightFormat
  readonly source: string
  readonly groups: readonly HeldGroup<Place>[]
  readonly layerCount?: number
  readonly architecture?: unknown
  readonly kerasVersion?: number | undefined
  readonly graph?: TensorFlowGraph | undefined
  readonly onnx?: OnnxGraph
  readonly metadata?: Readonly<Record<string, string>>
  readonly read: (place: Place, entry: WeightEntry) => Promise<Float32Array>
  readonly close: () => void
}): WeightFile {
  const places = new Map(groups.flatMap(({ weights }) => weights.map(({ entry, place }) => [entry, place])))
  return {
    format,
    source,
    groups: groups.map((group) => ({ ...group, weights: group.weights.map(({ entry }) => entry) })),
    ...(layerCount === undefined ? {} : { layerCount }),
    ...(architecture === undefined ? {} : { architecture }),
    ...(kerasVersion === undefined ? {} : { kerasVersion }),
    ...(graph === undefined ? {} : { graph }),
    ...(onnx === undefined ? {} : { onnx }),
    ...(metadata === undefined ? {} : { metadata }),
    async read(entry) {
      const place = places.get(entry)
      if (place === undefined) {
        throw new WeftgradError('argument', `'${entry.name}' is not one of the tensors that ${source} lists.`, {
          source,
          name: entry.name,
        })
      }
      return read(place, entry)
    },
    close,
  }
}

/** Tensors named `<layer>/<weight>`, `<layer>.<weight>` or `<layer>\\<weight>`, by layer, in the order of their first tensors. */
export function groupedByLayer<Place>(
  weights: readonly { readonly entry: WeightEntry; readonly place: Place }[],
): HeldGroup<Place>[] {
  const layers = new Map<string, { readonly entry: WeightEntry; readonly place: Place }[]>()
  for (const weight of weights) {
    const { name } = weight.entry
    const layer = name.replace(/[/.\\][^/.\\]*$/, '')
    const held = layers.get(layer)
    if (held === undefined) layers.set(layer, [weight])
    else held.push(weight)
  }
  return [...layers].map(([name, held]) => ({ name, weights: held }))
}
