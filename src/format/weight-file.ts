/**
 * A file of weights as every reader here hands it out, whatever its format: which layers it names, in its order, and
 * their numbers one tensor at a time. Opening reads the table of contents only, with every length checked; numbers are
 * read when asked for, so that a large file never has to fit into memory.
 */

import { WeftgradError } from '../errors.ts'

/** The formats that are read. `keras-h5` is Keras' HDF5 up to Keras 2, weights alone or a whole model; `keras-3-h5` is Keras 3's `.weights.h5`. */
export type WeightFormat = 'keras-h5' | 'keras-3-h5' | 'keras-archive' | 'tfjs-layers' | 'tfjs-graph' | 'safetensors'

/** A tensor in a file of weights. */
export interface WeightEntry {
  /** As the file has it: `block1_conv1/kernel:0`, `block1_conv1_W_1`, `vars/0` ... */
  readonly name: string
  /** Extents, as Keras has them. */
  readonly shape: readonly number[]
  /** As stored: `float32`, `float16`, or the integers that quantised numbers are kept in. */
  readonly dtype: string
}

/** The weights of one layer, in the file's order. Layers without weights are left out. */
export interface WeightGroup {
  /** The layer's name in the file. */
  readonly name: string
  /** Keras' class (`Conv2D`), where the file tells it. */
  readonly className?: string
  /** All names that identify it; `name` alone by default. None where `name` only counts the layers of a class. */
  readonly names?: readonly string[]
  /**
   * Layers of one sequence stand in the order in which the network runs them; null says that nothing is known of the order.
   * By default the format decides: see `assignWeights`.
   */
  readonly sequence?: string | null
  /** In the file's order. */
  readonly weights: readonly WeightEntry[]
}

/** An open file of weights: which layers it names, in its order, and their numbers one tensor at a time. */
export interface WeightFile {
  /** Which format it has. */
  readonly format: WeightFormat
  /** Where it came from, for messages. */
  readonly source: string
  /** Its layers, in its order. */
  readonly groups: readonly WeightGroup[]
  /** How many layers the file lists to the last one with weights, inputs and others without weights included, where it does. */
  readonly layerCount?: number
  /**
   * The numbers of one of `groups`' entries, row-major, as float32.
   * @throws WeftgradError 'data' where the file's bytes do not hold them, 'format' for numbers that are no floats, 'argument'
   * for an entry of another file.
   */
  read(entry: WeightEntry): Promise<Float32Array>
  /** Gives up the file and what was opened to read it. */
  close(): void
}

/** Whether an entry is no weight but a count or a random state that Keras keeps beside them, such as `iterations`. */
export function isCounter({ dtype, shape }: WeightEntry): boolean {
  return /^u?int(32|64)$/.test(dtype) && shape.length <= 1
}

/** Whether an entry has a dtype that numbers can be read from; quantised ones of TensorFlow.js are `uint8` and `uint16`. */
export function isReadable({ dtype }: WeightEntry): boolean {
  return /^(b?float(16|32|64)|uint(8|16))$/.test(dtype)
}

/** A group with what its reader needs to find each tensor. */
export interface HeldGroup<Place> extends Omit<WeightGroup, 'weights'> {
  readonly weights: readonly { readonly entry: WeightEntry; readonly place: Place }[]
}

/** A file of weights over the groups that a reader found. */
export function heldWeights<Place>({
  format,
  source,
  groups,
  layerCount,
  read,
  close,
}: {
  readonly format: WeightFormat
  readonly source: string
  readonly groups: readonly HeldGroup<Place>[]
  readonly layerCount?: number
  readonly read: (place: Place, entry: WeightEntry) => Promise<Float32Array>
  readonly close: () => void
}): WeightFile {
  const places = new Map(groups.flatMap(({ weights }) => weights.map(({ entry, place }) => [entry, place])))
  return {
    format,
    source,
    groups: groups.map((group) => ({ ...group, weights: group.weights.map(({ entry }) => entry) })),
    ...(layerCount === undefined ? {} : { layerCount }),
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

/** Tensors named `<layer>/<weight>`, `<layer>.<weight>` or `<layer>\\<weight>`, by layer in the order in which layers first come. */
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
