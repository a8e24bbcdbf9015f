/**
 * Weights in Keras' HDF5 layouts. Up to Keras 2, a weights file lists its layers and each layer's weights in attributes (in
 * several parts if they exceed HDF5's limit on attributes); a whole model has the same under `/model_weights`. Keras 3 uses a
 * tree of groups, each with its weights numbered in a group `vars`.
 *
 * Promises: opening reads only names and shapes; `read` reads one tensor, in slices. See `hdf5.ts` about damaged files.
 */
import { WeftgradError } from '../errors.ts'
import type { ByteSource } from './byte-source.ts'
import { type Hdf5Dataset, type Hdf5File, type Hdf5Loader, openHdf5 } from './hdf5.ts'
import { parsedJson, textsOf } from './json.ts'
import { type ConfiguredLayer, configuredLayers, inConfiguredOrder, layerCount, layerFinder } from './keras-config.ts'
import { type HeldGroup, heldWeights, majorVersion, metadataName, type WeightFile } from './weight-file.ts'

/** The deepest nesting: a tree that refers to itself has no end. */
const mostGroups = 100_000
const deepestGroup = 64

/**
 * Opens a file in any of the layouts. Closing it closes the source.
 * @param load loads the HDF5 library; by default one instance is shared, as browsers need it.
 * @throws WeftgradError 'format' for a damaged file, or one that Keras did not write.
 */
export async function openKerasH5(source: ByteSource, load?: Hdf5Loader): Promise<WeightFile> {
  const file = await openHdf5(source, load)
  try {
    const attributes = file.attributes('/')
    const isModel = file.kind('/model_weights') === 'group'
    if (isModel || attributes.some((name) => /^layer_names0?$/.test(name))) {
      const config = attributes.includes('model_config') ? file.texts('/', 'model_config')[0] : undefined
      const architecture = parsedJson(config ?? '')
      const weights = listedLayers(file, source.name, isModel ? '/model_weights' : '', configuredLayers(architecture))
      const [version] = attributes.includes('keras_version') ? file.texts('/', 'keras_version') : []
      const kerasVersion = majorVersion(version)
      if (architecture === undefined) return weights
      const own = attributes.includes(metadataName) ? file.texts('/', metadataName)[0] : undefined
      const metadata = textsOf(parsedJson(own ?? ''))
      return { ...weights, architecture, metadata, ...(kerasVersion === undefined ? {} : { kerasVersion }) }
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

/** Groups that are not layers, at any depth: a nested model can be compiled too. */
const noLayers: ReadonlySet<string> = new Set(['optimizer', 'metrics', '_metrics', 'seed_generator'])
/** The groups of a model's layers, numbered by class. With Keras 2, only sequential and functional models have the second. */
const layerList = /(^|\/)(layers|_layer_checkpoint_dependencies)$/

/**
 * The weights of a Keras 3 file by path: layers of one class in their order, without optimizers, metrics and random states.
 * Layers are named as in the file, and by the attributes of subclassed models. `mayBeEmpty`: a model can have no weights.
 */
export function keras3Groups(file: Hdf5File, source: string, mayBeEmpty = false): readonly Keras3Group[] {
  const found: Keras3Group[] = []
  let visited = 0
  const visit = (path: string, depth: number, list: 'none' | 'in order' | 'in any order', around: string): void => {
    visited += 1
    if (visited > mostGroups || depth > deepestGroup) {
      throw refusal(source, 'its groups are nested without end. Write it again with Keras')
    }
    const children = file.children(path === '' ? '/' : path)
    const isInOrder = layerList.test(path) && hasRunOrder(file, path, children)
    // A group without `vars` is a list.
    const below = isInOrder ? 'in order' : children.includes('vars') ? 'none' : 'in any order'
    const kept = keptName(file, path).map((name) => `${around}${name}`)
    for (const name of children) {
      const child = `${path}/${name}`
      if (noLayers.has(name) || file.kind(child) !== 'group') continue
      if (name !== 'vars') visit(child, depth + 1, below, path === '' || kept.length === 0 ? around : `${kept[0]}/`)
      else {
        const weights = [...file.children(child)].sort(byNumber).map((weight) => {
          const dataset = file.dataset(`${child}/${weight}`)
          return { entry: { name: `vars/${weight}`, shape: dataset.shape, dtype: dataset.dtype }, place: dataset }
        })
        if (weights.length === 0) continue
        const last = path.split('/').at(-1) ?? ''
        const names = [...kept, ...(list === 'none' ? [path.slice(1)] : [])]
        const sequence = list === 'in order' ? path.replace(/_\d+$/, '') : null
        found.push({
          path: path.slice(1),
          name: kept[0] ?? last,
          names,
          className: classNameOf(last),
          sequence,
          weights,
        })
      }
    }
  }
  visit('', 0, 'none', '')
  if (found.length === 0 && !mayBeEmpty) {
    throw refusal(source, 'it has no Keras weights: neither the attribute layer_names nor groups with vars')
  }
  return found.sort((a, b) => byNumber(a.path, b.path))
}

/**
 * Whether a list of layers is in the order in which they run, as in sequential and functional models. Subclassed models list
 * them in the order of creation. An unnamed model is named after its class.
 */
function hasRunOrder(file: Hdf5File, list: string, layers: readonly string[]): boolean {
  if (list.endsWith('/_layer_checkpoint_dependencies') || layers.includes('input_layer')) return true
  const model = list.slice(0, list.lastIndexOf('/'))
  return [model, ...keptName(file, model)].some((name) => /(^|\/)(sequential|functional)(_\d+)?$/.test(name))
}

/** The name of the group's layer or model, if Keras stored it. */
function keptName(file: Hdf5File, path: string): readonly string[] {
  const vars = `${path}/vars`
  const isKept = file.kind(vars) === 'group' && file.attributes(vars).includes('name')
  return isKept ? file.texts(vars, 'name').slice(0, 1) : []
}

/** The open file over its groups. */
export function kerasFile(
  format: 'keras-h5' | 'keras-3-h5' | 'keras-archive',
  source: string,
  file: Hdf5File,
  groups: readonly HeldGroup<Hdf5Dataset>[],
  layerCount?: number,
): WeightFile {
  return heldWeights({
    ...{ format, source, groups },
    ...(layerCount === undefined ? {} : { layerCount }),
    read: async (dataset) => file.read(dataset),
    close: () => file.close(),
  })
}

function listedLayers(file: Hdf5File, source: string, root: string, layers: readonly ConfiguredLayer[]): WeightFile {
  const listed = listedNames(file, source, root, 'layer_names')
  const nested = nestedNames(layers)
  let count = 0
  const groups = listed.flatMap((name, i) => {
    const path = `${root}/${name}`
    if (file.kind(path) !== 'group') {
      throw refusal(source, `layer_names lists '${name}', but that group is missing. Download it again`)
    }
    const weights = listedNames(file, source, path, 'weight_names').map((weight) => {
      if (file.kind(`${path}/${weight}`) !== 'dataset') {
        throw refusal(
          source,
          `weight_names of '${name}' lists '${weight}', but that dataset is missing. Download it again`,
        )
      }
      const dataset = file.dataset(`${path}/${weight}`)
      return { entry: { name: weight, shape: dataset.shape, dtype: dataset.dtype }, place: dataset }
    })
    if (weights.length > 0) count = i + 1
    return layersWithin(name, weights, nested.get(name) ?? [])
  })
  refuseTurned(file, source, root, groups)
  if (layers.length === 0) return kerasFile('keras-h5', source, file, groups, count)
  const find = layerFinder(layers)
  const ordered = inConfiguredOrder(groups, layers, ({ names, ...group }) => {
    const layer = [...(names ?? []).toReversed(), group.name].map(find).find((one) => one !== undefined)
    return layer && { layer, group: { ...group, sequence: '', name: layer.name, className: layer.className } }
  })
  return kerasFile('keras-h5', source, file, ordered, layerCount(layers, ordered))
}

/**
 * The layers of a listed one: a nested model's, or itself. The names of the weights show the layer of each. A nested model
 * lists its weights in another order: trained ones first. Keras 1 names them `<layer>_W`, without the nested model.
 */
function layersWithin(
  listed: string,
  weights: HeldGroup<Hdf5Dataset>['weights'],
  nested: readonly string[],
): HeldGroup<Hdf5Dataset>[] {
  const folders = new Map<string, (typeof weights)[number][]>()
  let around = ''
  for (const weight of weights) {
    // `sequential/base/conv/kernel`
    const parts = weight.entry.name.split(/[/\\]/).slice(0, -1)
    const at = parts.lastIndexOf(listed)
    if (at > 0) around = parts[at - 1] ?? ''
    const old =
      parts.length > 0 ? undefined : longest(nested.filter((name) => weight.entry.name.startsWith(`${name}_`)))
    const folder = old ?? parts.slice(at + 1).join('/')
    const own = folders.get(folder)
    if (own === undefined) folders.set(folder, [weight])
    else own.push(weight)
  }
  // A subclassed model lists its layers in the order of creation, and their weights have its name as a prefix.
  const isInOrder = folders.size <= 1 && /^((sequential|functional|model)(_\d+)?)?$/.test(around)
  return [...folders].map(([folder, own]) => {
    const path = folder === '' ? listed : `${listed}/${folder}`
    return {
      name: folders.size > 1 ? path : listed,
      ...(folders.size > 1 || folder === '' ? {} : { names: [listed, path] }),
      ...(isInOrder ? {} : { sequence: null }),
      weights: own,
    }
  })
}

/** The names of each model's layers, all levels below it. */
function nestedNames(layers: readonly ConfiguredLayer[]): ReadonlyMap<string, readonly string[]> {
  const nested = new Map<string, string[]>()
  for (const { name } of layers)
    for (let at = name.indexOf('/'); at > 0; at = name.indexOf('/', at + 1)) {
      const model = name.slice(0, at)
      const own = nested.get(model) ?? []
      nested.set(model, own)
      own.push(name.slice(at + 1))
    }
  return nested
}

const longest = (names: readonly string[]): string | undefined =>
  names.reduce<string | undefined>((best, name) => (name.length > (best?.length ?? 0) ? name : best), undefined)

/** Keras with Theano stored convolution kernels rotated by 180 degrees, and rotated them when loading for other backends. */
function refuseTurned(file: Hdf5File, source: string, root: string, groups: readonly HeldGroup<Hdf5Dataset>[]): void {
  const at = root === '' ? '/' : root
  if (!file.attributes(at).includes('backend') || file.texts(at, 'backend')[0] !== 'theano') return
  const turned = groups.find(({ weights }) => weights.some(({ entry }) => entry.shape.length > 2))
  if (turned === undefined) return
  throw refusal(
    source,
    `it was written by Keras with Theano, which rotates convolution kernels such as '${turned.name}' by 180 degrees. ` +
      'Load it with Keras 2 and TensorFlow, and save it again',
  )
}

/** The texts of an attribute, or of its parts. */
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

/** Sorts by Keras 3's numbers: `conv2d`, `conv2d_1`, ..., `conv2d_10`; `0`, `1`, ..., `10`. */
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
  // `conv2d` has no number; `0` is only a number.
  return parts === null ? [name, 0] : [parts[1] ?? '', Number(parts[2])]
}

/** Restores a class name, as far as possible: `separable_conv2d_1` is a `SeparableConv2D`. Works for all layers with kernels. */
function classNameOf(group: string): string {
  return group
    .replace(/_\d+$/, '')
    .replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
    .replace(/(?<=\d)d/, 'D')
}

function refusal(source: string, problem: string): WeftgradError {
  return new WeftgradError('format', `${source} is not a readable weights file: ${problem}.`, { source })
}
