/**
 * Loads a weights file into a network. If the file has all the model's layer names, layers are matched by name, in every
 * format. Otherwise user-given names are matched as far as they agree, and the other layers by shapes; layers of equal shapes
 * by order, if the file keeps the order in which layers run and they run one after the other.
 *
 * Promises: ambiguous files are refused, and so are those that describe layers with other settings than the model's; every
 * layer and shape is checked before anything is allocated or changed.
 */

import { WeftgradError } from '../errors.ts'
import { anOpenFile, isReadable, type WeightEntry, type WeightFile, type WeightGroup } from '../format/weight-file.ts'
import type { Device } from '../gpu/device.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import type { Model, PlacedLayer } from '../nn/model.ts'
import type { LoadProgress, ModelWeight, ReadWeight } from '../nn/model-weights.ts'
import { aFlag, aFunction, checkOptions, checkValue } from '../options.ts'
import { descriptionDifferences, type LayerPair } from './compare-description.ts'
import { groupsByName, isMadeUp, roleInName, withoutCounters } from './names.ts'
import { guessAt, isDense } from './recognize.ts'
import { isChain, kerasOrder } from './run-order.ts'

/** The assignment of a file's tensors to a model. */
export interface WeightAssignment {
  /** The file's tensor for each of the model's weights. */
  readonly entries: ReadonlyMap<ModelWeight, WeightEntry>
  /** The file's layers that the model lacks: the top, for a model without one. */
  readonly ignored: readonly string[]
  /** Reads a weight's numbers from the file. */
  readonly read: ReadWeight
}

/** Whether to compare a file's description with the model. */
export interface AssignOptions {
  /**
   * Whether to load a file that describes layers with other settings than the model's, such as another padding or activation.
   * False by default.
   */
  readonly ignoreDescription?: boolean
}

/** Options of {@link loadWeights}. */
export interface LoadWeightsOptions extends AssignOptions {
  /** Called while weights are read. */
  readonly onProgress?: (progress: LoadProgress) => void
}

/**
 * Assigns the file's tensors to the model's weights. A model without dense layers skips those at the end of a file.
 * @param model a model's `source`, whose names and order files have.
 * @throws WeftgradError 'mismatch', with the first layer that does not fit, both shapes, and a guess at the file's network; the
 * layers that the file does not distinguish; or the settings that it describes and the model has not.
 */
export function assignWeights(
  model: Pick<Model, 'name' | 'layers'>,
  file: WeightFile,
  { ignoreDescription = false }: AssignOptions = {},
): WeightAssignment {
  const layers = model.layers.filter(({ weights }) => weights.length > 0)
  refuseFolded(model.name, layers, file)
  const groups = file.groups.map(withoutCounters).filter(({ weights }) => weights.length > 0)
  const paired = pairedGroups(model, layers, groups, file)
  const entries = new Map<ModelWeight, WeightEntry>()
  for (const [i, placed] of layers.entries()) {
    const group = paired[i]
    const matched = group === undefined ? undefined : matchedEntries(placed, group, file)
    // Refuses a layer without a match, with the layer found in its place.
    if (matched === undefined) throw misfit(model.name, placed, group ?? otherThan(placed, groups[i]), file)
    for (const [j, weight] of placed.weights.entries()) {
      const entry = matched[j]
      if (entry !== undefined) entries.set(weight, entry)
    }
  }
  const used = new Set(paired)
  const ignored = groups.filter((group) => !used.has(group))
  // Groups that no network here can have are not layers.
  const [first] = ignored.filter(({ weights }) => weights.some(isReadable))
  const hasDense = layers.some(({ layer }) => layer.className === 'Dense')
  if (first !== undefined && (hasDense || !ignored.every(isDense))) {
    throw mismatch(
      `${file.source} does not fit ${model.name}: it has ${groups.length} layers with weights, ${model.name} has ${layers.length}, ` +
        `and none for '${first.name}', ${shapesText(first.weights)}.`,
      file,
      { layer: undefined, group: first.name, found: shapesOf(first.weights) },
    )
  }
  if (!ignoreDescription) {
    const pairs = layers.flatMap((placed, i): LayerPair[] => {
      const group = paired[i]
      return group === undefined ? [] : [[placed, group]]
    })
    refuseOtherSettings(model, file, pairs)
  }
  const read = async (weight: ModelWeight): Promise<Float32Array> => {
    const entry = entries.get(weight)
    if (entry === undefined) throw new RangeError(`${weight.name} is not a weight of ${model.name}`)
    return await file.read(entry)
  }
  return { entries, ignored: ignored.map(({ name }) => name), read }
}

/**
 * Loads a file's weights into a model, on the device. Layers are matched by name if the file has all the model's names, else by
 * the names that agree, shapes, and the file's order, if it keeps one; an ambiguous file is refused. The whole file is checked
 * first, then its tensors stream one at a time, so a large file never has to fit into memory. A model without dense layers skips
 * those at the end of a file. If the file describes its model, as `.keras` files, whole-model `.h5` files and TensorFlow.js layers
 * models do, the layers that get weights must have the settings that it describes: padding, strides, epsilon, activation ...
 * @throws WeftgradError 'argument' for a file that is not opened; 'mismatch', with the first layer that does not fit, both
 * shapes, and a guess at the file's network, or with the settings that differ; what `Model.load` throws. The model is unchanged
 * then.
 */
export async function loadWeights(
  model: Model,
  device: Device,
  file: WeightFile,
  options: LoadWeightsOptions = {},
): Promise<WeightAssignment> {
  checkValue('loadWeights: the file', file, anOpenFile)
  const { onProgress, ...assigning } = checkOptions('loadWeights', options, {
    ...{ onProgress: aFunction, ignoreDescription: aFlag },
  })
  const assignment = assignWeights(model.source, file, assigning)
  await model.load(device, assignment.read, onProgress)
  return assignment
}

/** The file's layer for each of the model's; undefined if it has none. Refuses an ambiguous file. */
function pairedGroups(
  model: Pick<Model, 'name' | 'layers'>,
  layers: readonly PlacedLayer[],
  groups: readonly WeightGroup[],
  file: WeightFile,
): readonly (WeightGroup | undefined)[] {
  const named = groupsByName(
    layers.map(({ layer }) => layer.name),
    groups,
  )
  if (!named.includes(undefined)) return named
  const pairs = new Map(givenNames(layers, named, groups))
  const used = new Set(pairs.values())
  const alike = new Map<string, { readonly layers: PlacedLayer[]; readonly groups: WeightGroup[] }>()
  for (const layer of layers) {
    if (pairs.has(layer)) continue
    const key = shapesKey(layer.weights)
    const same = alike.get(key)
    if (same === undefined) alike.set(key, { layers: [layer], groups: [] })
    else same.layers.push(layer)
  }
  for (const group of groups) {
    if (!used.has(group) && group.weights.some(isReadable)) alike.get(shapesKey(group.weights))?.groups.push(group)
  }
  for (const same of alike.values()) {
    for (const { layers: own, groups: theirs } of byClass(same.layers, same.groups)) {
      const ordered = own.length === theirs.length ? inFileOrder(model, own, theirs, file) : own
      for (const [i, layer] of ordered.entries()) {
        const group = theirs[i]
        if (group !== undefined) pairs.set(layer, group)
      }
    }
  }
  return layers.map((layer) => pairs.get(layer))
}

/**
 * The layers with user-given names in the file. Names generated by Keras mean nothing if some are missing, and given ones mean
 * nothing if other given names could be meant: `d1`, `d2`, `d3` for `d0`, `d1`, `d2`.
 */
function givenNames(
  layers: readonly PlacedLayer[],
  named: readonly (WeightGroup | undefined)[],
  groups: readonly WeightGroup[],
): readonly (readonly [PlacedLayer, WeightGroup])[] {
  const given = layers.flatMap((placed, i) => {
    const group = named[i]
    return group === undefined || isMadeUp(placed.layer.name) ? [] : [[placed, group] as const]
  })
  const taken = new Set<unknown>(given.flat())
  const shapes = new Set(given.map(([{ weights }]) => shapesKey(weights)))
  const left = layers.filter((placed) => !taken.has(placed))
  const isSure =
    left.every(({ layer, weights }) => isMadeUp(layer.name) || !shapes.has(shapesKey(weights))) ||
    groups.every((group) => taken.has(group) || (group.names ?? [group.name]).every(isMadeUp))
  return isSure ? given : []
}

/** Layers and groups of the same shapes, separated by class if the file has the class of each. */
function byClass(
  layers: readonly PlacedLayer[],
  groups: readonly WeightGroup[],
): readonly { readonly layers: readonly PlacedLayer[]; readonly groups: readonly WeightGroup[] }[] {
  const classes = [...new Set(layers.map(({ layer }) => classKey(layer.className)))]
  const isTold = groups.every(({ className = '' }) => classes.includes(classKey(className)))
  if (!isTold) return [{ layers, groups }]
  return classes.map((key) => ({
    layers: layers.filter(({ layer }) => classKey(layer.className) === key),
    groups: groups.filter(({ className = '' }) => classKey(className) === key),
  }))
}

/** Compares `SeparableConv2D` and `separable_conv2d` as equal. */
function classKey(className: string): string {
  return className.toLowerCase().replaceAll('_', '')
}

/**
 * Layers that only differ by order, in the file's order.
 * @throws WeftgradError 'mismatch' if the file may not have kept the order.
 */
function inFileOrder(
  { name, layers }: Pick<Model, 'name' | 'layers'>,
  alike: readonly PlacedLayer[],
  groups: readonly WeightGroup[],
  file: WeightFile,
): readonly PlacedLayer[] {
  if (alike.length === 1) return alike
  const keepsOrder = file.format !== 'safetensors' && file.format !== 'keras-3-h5'
  const sequences = new Set(
    groups.map(({ sequence }) => (sequence === undefined && keepsOrder ? '' : (sequence ?? null))),
  )
  const isKept = sequences.size === 1 && !sequences.has(null)
  if (isKept && isChain(layers, alike)) return alike
  // The same number of layers, including the model's input: the same graph.
  const ordered = kerasOrder(layers)
  const count = ordered.findLastIndex(({ weights }) => weights.length > 0) + 1
  if (isKept && file.layerCount === count + 1) return ordered.filter((one) => alike.includes(one))
  const quoted = (names: readonly string[]): string =>
    `${names.slice(0, 4).join(', ')}${names.length > 4 ? ` and ${names.length - 4} more` : ''}`
  const own = alike.map(({ layer }) => layer.name)
  const theirs = groups.map((group) => group.name)
  throw mismatch(
    `${file.source} does not show which of its layers ${quoted(theirs)} are ${quoted(own)} of ${name}: all have ` +
      `${shapesText(alike[0]?.weights ?? [])}, names differ, and ${isKept ? 'parallel layers have no order' : 'the file does not keep their order'}. ` +
      `Give the layers of ${name} the file's names, or write the file with its names.`,
    file,
    { layer: own[0], layers: own, groups: theirs },
  )
}

/** The group's entries in the order of the layer's weights; undefined if they do not fit or are ambiguous. */
export function matchedEntries(
  { layer, weights }: PlacedLayer,
  group: WeightGroup,
  { format }: WeightFile,
): readonly WeightEntry[] | undefined {
  if (group.weights.length !== weights.length) return undefined
  const own = weights.map(({ name }) => name.slice(layer.name.length + 1))
  const roles = group.weights.map(({ name }) => ownRole(own, roleInName(name)))
  const isComplete = own.every((role) => roles.includes(role))
  const shapes = group.weights.map(({ shape }) => String(shape))
  // Writers of safetensors sort names.
  const isInOrder = format !== 'safetensors'
  if (!isComplete && !isInOrder && new Set(shapes).size < shapes.length) return undefined
  const places = weights.map(({ shape }, i) => {
    if (isComplete) return roles.indexOf(own[i])
    return isInOrder ? i : shapes.indexOf(String(shape))
  })
  const entries = places.flatMap((place) => group.weights[place] ?? [])
  const fits = weights.every(({ shape }, i) => {
    const role = roles[places[i] ?? -1]
    return sameShape(shape, entries[i]?.shape ?? []) && (role === undefined || role === own[i])
  })
  return fits && entries.length === weights.length ? entries : undefined
}

/** Keras 3 uses `kernel` for `depthwise_kernel` in Keras 2 and weftgrad. */
function ownRole(own: readonly string[], role: string | undefined): string | undefined {
  return role === 'kernel' && own[0] === 'depthwise_kernel' && !own.includes('pointwise_kernel') ? own[0] : role
}

function refuseFolded(name: string, layers: readonly PlacedLayer[], file: WeightFile): void {
  const normalization = layers.find(({ layer }) => layer.className === 'BatchNormalization')
  if (file.format !== 'tfjs-graph' || normalization === undefined) return
  throw mismatch(
    `${file.source} does not fit ${name}: graph models fold batch normalisation into convolutions, but ${name} ` +
      `needs its weights, first those of ${normalization.layer.name}. Use the Keras file, or a TensorFlow.js layers model converted from it.`,
    file,
    { layer: normalization.layer.name },
  )
}

const differencesListed = 5

function refuseOtherSettings(
  model: Pick<Model, 'name' | 'layers'>,
  { architecture, source }: WeightFile,
  pairs: readonly LayerPair[],
): void {
  const differences = descriptionDifferences(architecture, source, model, pairs)
  if (differences.length === 0) return
  const more = differences.length - differencesListed
  throw new WeftgradError(
    'mismatch',
    `${source} does not describe ${model.name}: ${differences.slice(0, differencesListed).join('; ')}${more > 0 ? `; and ${more} more` : ''}. ` +
      'Give the layers the settings of the file, or load it with ignoreDescription: true.',
    { source, differences },
  )
}

/** A group of other shapes: one of the same shapes belongs to another layer. */
function otherThan({ weights }: PlacedLayer, group: WeightGroup | undefined): WeightGroup | undefined {
  return group === undefined || shapesKey(group.weights) === shapesKey(weights) ? undefined : group
}

function misfit(
  name: string,
  { layer, weights }: PlacedLayer,
  group: WeightGroup | undefined,
  file: WeightFile,
): WeftgradError {
  const wanted = `${layer.name} (${layer.className}) takes ${shapesText(weights)}`
  const found =
    group === undefined ? 'the file has no other layer for it' : `'${group.name}' has ${foundText(group, weights)}`
  return mismatch(`${file.source} does not fit ${name}: ${wanted}; ${found}.`, file, {
    layer: layer.name,
    expected: shapesOf(weights),
    group: group?.name,
    found: shapesOf(group?.weights ?? []),
  })
}

function foundText(group: WeightGroup, weights: readonly ModelWeight[]): string {
  const shapes = shapesText(group.weights)
  if (shapesKey(group.weights) !== shapesKey(weights)) return shapes
  const names = group.weights.map(({ name }) => name)
  if (names.some((name) => roleInName(name) === 'weight')) {
    return `${shapes}, with PyTorch's names, whose axes have another order. Convert the file to Keras' layout`
  }
  return `${shapes}, and its names (${names.slice(0, 4).join(', ')}) do not identify them`
}

function mismatch(problem: string, file: WeightFile, details: Readonly<Record<string, unknown>>): WeftgradError {
  const guess = guessAt(file.groups)
  return new WeftgradError('mismatch', `${problem} ${guess}`, { source: file.source, guess, ...details })
}

/** Equal for weights of equal shapes, in any order. */
function shapesKey(weights: readonly { readonly shape: readonly number[] }[]): string {
  return weights
    .map(({ shape }) => String(shape))
    .sort()
    .join(';')
}

function shapesOf(weights: readonly { readonly shape: readonly number[] }[]): readonly (readonly number[])[] {
  return weights.map(({ shape }) => shape)
}

function shapesText(weights: readonly { readonly shape: readonly number[] }[]): string {
  const most = 6
  const rest = weights.length > most ? `, and ${weights.length - most} more` : ''
  return (
    weights
      .slice(0, most)
      .map(({ shape }) => shapeText(shape))
      .join(', ') + rest
  )
}
