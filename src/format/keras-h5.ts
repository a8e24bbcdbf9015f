/**
 * Weights in Keras' HDF5 layouts. Up to Keras 2, a file of weights lists its layers and each layer's weights in
 * attributes (in pieces, where HDF5's bound on an attribute would be passed); a whole model has the same under
 * `/model_weights`. Keras 3 keeps a tree of groups, each with its weights numbered in a group `vars`.
 *
 * Promises: opening reads names and shapes only; `read` reads one tensor, in slices. See `hdf5.ts` about damaged files.
 */
import { WeftgradError } from '../errors.ts'
import type { ByteSource } from './byte-source.ts'
import { type Hdf5Dataset, type Hdf5File, type Hdf5Loader, openHdf5 } from './hdf5.ts'
import { parsedJson } from './json.ts'
import { classesOf, configuredLayers } from './keras-config.ts'
import { type HeldGroup, heldWeights, type WeightFile } from './weight-file.ts'

/** Of a tree that refers to itself there is no end. */
const mostGroups = 100_000
const deepestGroup = 64

/**
 * Opens a file in any of the layouts; closing it closes the source.
 * @param load the HDF5 library; without it, one instance is shared, as browsers need it.
 * @throws WeftgradError 'format' for what is damaged, or no file of Keras.
 */
export async function openKerasH5(source: ByteSource, load?: Hdf5Loader): Promise<WeightFile> {
  const file = await openHdf5(source, load)
  try {
    const attributes = file.attributes('/')
    const isModel = file.kind('/model_weights') === 'group'
    if (isModel || attributes.some((name) => /^layer_names0?$/.test(name))) {
      const config = attributes.includes('model_config') ? file.texts('/', 'model_config')[0] : undefined
      const groups = listedGroups(file, source.name, isModel ? '/model_weights' : '', parsedJson(config ?? ''))
      return kerasFile('keras-h5', source.name, file, groups)
    }
    return kerasFile('keras-3-h5', source.name, file, keras3Groups(file, source.name))
  } catch (error) {
    file.close()
    throw error
  }
}

/** A layer of a Keras 3 file, with the path of its group. */
export interface Keras3Group extends HeldGroup<Hdf5Dataset> {
  /** `layers/conv2d_1` */
  readonly path: string
}

/** What a file of Keras 3 holds, by path: layers of one class in their order. The optimizer is left out. */
export function keras3Groups(file: Hdf5File, source: string): readonly Keras3Group[] {
  const found: Keras3Group[] = []
  let visited = 0
  const visit = (path: string, depth: number): void => {
    visited += 1
    if (visited > mostGroups || depth > deepestGroup) {
      throw refusal(source, 'its groups are nested without end. Write it again with Keras')
    }
    for (const name of file.children(path === '' ? '/' : path)) {
      const child = `${path}/${name}`
      if (child === '/optimizer' || name === 'seed_generator' || file.kind(child) !== 'group') continue
      if (name !== 'vars') visit(child, depth + 1)
      else {
        const weights = [...file.children(child)].sort(byNumber).map((weight) => {
          const dataset = file.dataset(`${child}/${weight}`)
          return { entry: { name: `vars/${weight}`, shape: dataset.shape, dtype: dataset.dtype }, place: dataset }
        })
        const kept = file.attributes(child).includes('name') ? file.texts(child, 'name')[0] : undefined
        const last = path.split('/').at(-1) ?? ''
        if (weights.length === 0) continue
        found.push({ path: path.slice(1), name: kept ?? last, className: classNameOf(last), weights })
      }
    }
  }
  visit('', 0)
  if (found.length === 0) {
    throw refusal(source, 'it holds no weights of Keras: neither the attribute layer_names nor groups with vars')
  }
  return found.sort((a, b) => byNumber(a.path, b.path))
}

/** The file as it is handed out, over its groups. */
export function kerasFile(
  format: 'keras-h5' | 'keras-3-h5' | 'keras-archive',
  source: string,
  file: Hdf5File,
  groups: readonly HeldGroup<Hdf5Dataset>[],
): WeightFile {
  return heldWeights({ format, source, groups, read: async (dataset) => file.read(dataset), close: () => file.close() })
}

function listedGroups(file: Hdf5File, source: string, root: string, config: unknown): HeldGroup<Hdf5Dataset>[] {
  const classes = classesOf(configuredLayers(config))
  return listedNames(file, source, root, 'layer_names').flatMap((name) => {
    const path = `${root}/${name}`
    if (file.kind(path) !== 'group') {
      throw refusal(source, `layer_names lists '${name}', but there is no such group. Fetch it again`)
    }
    const weights = listedNames(file, source, path, 'weight_names').map((weight) => {
      if (file.kind(`${path}/${weight}`) !== 'dataset') {
        throw refusal(
          source,
          `weight_names of '${name}' lists '${weight}', but there is no such dataset. Fetch it again`,
        )
      }
      const dataset = file.dataset(`${path}/${weight}`)
      return { entry: { name: weight, shape: dataset.shape, dtype: dataset.dtype }, place: dataset }
    })
    const className = classes.get(name)
    return weights.length === 0 ? [] : [{ name, ...(className === undefined ? {} : { className }), weights }]
  })
}

/** The texts of an attribute, or of its pieces. */
function listedNames(file: Hdf5File, source: string, path: string, attribute: string): readonly string[] {
  const at = path === '' ? '/' : path
  const there = new Set(file.attributes(at))
  if (there.has(attribute)) return file.texts(at, attribute)
  const names: string[] = []
  let piece = 0
  for (; there.has(`${attribute}${piece}`); piece++)
    for (const name of file.texts(at, `${attribute}${piece}`)) names.push(name)
  if (piece === 0) throw refusal(source, `${at} has no attribute ${attribute}. Write it again with Keras`)
  return names
}

/** Keras 3 counts: `conv2d`, `conv2d_1`, ..., `conv2d_10`; `0`, `1`, ..., `10`. */
function byNumber(a: string, b: string): number {
  const [others, own] = [b.split('/'), a.split('/')]
  for (const [i, part] of own.entries()) {
    const other = others[i]
    if (other === undefined) return 1
    if (part === other) continue
    const [stem, count] = counted(part)
    const [otherStem, otherCount] = counted(other)
    return stem === otherStem ? count - otherCount : stem < otherStem ? -1 : 1
  }
  return own.length - others.length
}

function counted(name: string): readonly [string, number] {
  const parts = /^(.*?)_?(\d+)$/.exec(name)
  // `conv2d` has no number of its own; `0` has nothing else.
  return parts === null ? [name, 0] : [parts[1] ?? '', Number(parts[2])]
}

/** `separable_conv2d_1` is a `SeparableConv2D`: undone as far as it can be, which is for all layers with kernels. */
function classNameOf(group: string): string {
  return group
    .replace(/_\d+$/, '')
    .replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
    .replace(/(?<=\d)d/, 'D')
}

function refusal(source: string, problem: string): WeftgradError {
  return new WeftgradError('format', `${source} is not a readable file of weights: ${problem}.`, { source })
}
