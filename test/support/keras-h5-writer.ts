/**
 * Writes HDF5 as Keras does for published weights: a group per layer, and attributes that list layers and weights in
 * order.
 */
import { File, Group, ready } from 'h5wasm/node'

export interface KerasLayer {
  readonly name: string
  readonly weights: readonly KerasWeight[]
}

export interface KerasWeight {
  /** May contain slashes: `conv1/kernel:0` goes into a group. */
  readonly name: string
  readonly shape: readonly number[]
  /** A function is called when the weight is written, so that the network need not be in memory. */
  readonly data: Float32Array | Float64Array | (() => Float32Array | Float64Array)
  /** Compresses in chunks of this shape. Keras does not do so; other programs may. */
  readonly chunks?: readonly number[]
}

/** Keras' limit for an attribute; HDF5's own is 64 KB for a group's whole header. */
const longestAttributeBytes = 64_512

/** Replaces `path`. Like Keras, writes attributes that would be too long in pieces: `layer_names0`, ... */
export async function writeKerasH5(path: string, layers: readonly KerasLayer[]): Promise<void> {
  await ready
  const file = new File(path, 'w')
  try {
    writeNames(
      file,
      'layer_names',
      layers.map(({ name }) => name),
    )
    file.create_attribute('backend', 'tensorflow')
    file.create_attribute('keras_version', '2.1.4')
    for (const { name, weights } of layers) {
      const group = folder(file, name)
      writeNames(
        group,
        'weight_names',
        weights.map((weight) => weight.name),
      )
      for (const { name: weight, shape, data, chunks } of weights) {
        const parts = weight.split('/')
        const last = parts.pop() ?? ''
        const within = parts.reduce(folder, group)
        within.create_dataset({
          name: last,
          data: typeof data === 'function' ? data() : data,
          shape: [...shape],
          ...(chunks === undefined ? {} : { chunks: [...chunks], compression: 'gzip', compression_opts: 1 }),
        })
      }
    }
  } finally {
    file.close()
  }
}

function folder(group: Group, name: string): Group {
  const made = group.get(name) ?? group.create_group(name)
  if (made instanceof Group) return made
  throw new Error(`${name} is a dataset already`)
}

/** Uses as many pieces of nearly equal length as needed. */
function writeNames(group: Group, attribute: string, names: readonly string[]): void {
  if (names.length === 0) {
    group.create_attribute(attribute, new Float64Array(0), [0])
    return
  }
  // Fixed-length texts, each with its terminating zero.
  const width = 1 + Math.max(...names.map((name) => new TextEncoder().encode(name).length))
  if (width > longestAttributeBytes) throw new RangeError(`a name of ${width - 1} bytes does not fit into an attribute`)
  const perPiece = Math.floor(longestAttributeBytes / width)
  const pieces = Math.ceil(names.length / perPiece)
  for (let piece = 0; piece < pieces; piece++) {
    const [from, to] = [piece, piece + 1].map((i) => Math.round((i * names.length) / pieces))
    const part = names.slice(from, to)
    group.create_attribute(pieces === 1 ? attribute : `${attribute}${piece}`, [...part], [part.length], `A${width}`)
  }
}
