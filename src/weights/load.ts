/**
 * From a file of weights to a network. Layers are matched by name where the file has all the model's names, else in
 * order; Keras' HDF5 files always in order, because what unnamed layers were called has changed with Keras' versions.
 *
 * Promises: every layer and shape is checked before anything is allocated or changed.
 */

import { WeftgradError } from '../errors.ts'
import type { WeightEntry, WeightFile, WeightGroup } from '../format/weight-file.ts'
import type { Device } from '../gpu/device.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import type { LoadProgress, Model, ModelWeight, PlacedLayer, ReadWeight } from '../nn/model.ts'
import { weightRoles } from './names.ts'
import { guessAt, isDense } from './recognize.ts'

/** Which of a file's tensors went where. */
export interface WeightAssignment {
  /** The file's tensor for each of the model's weights. */
  readonly entries: ReadonlyMap<ModelWeight, WeightEntry>
  /** The file's layers that the model has no place for: a network's top, where the model has none. */
  readonly ignored: readonly string[]
  /** Gives a weight's numbers, out of the file. */
  readonly read: ReadWeight
}

/**
 * Which of the file's tensors goes where. A model without dense layers may leave out those at the end of a file.
 * @param model as files have it: a model's `source`.
 * @throws WeftgradError 'mismatch', naming the first layer that does not fit, both shapes, and what the file looks like.
 */
export function assignWeights(model: Pick<Model, 'name' | 'layers'>, file: WeightFile): WeightAssignment {
  const layers = model.layers.filter(({ weights }) => weights.length > 0)
  refuseFolded(model.name, layers, file)
  const groups = pairedGroups(layers, file)
  const entries = new Map<ModelWeight, WeightEntry>()
  for (const [i, placed] of layers.entries()) {
    const group = groups[i]
    const matched = group === undefined ? undefined : matchedEntries(placed, group, file)
    if (matched === undefined) throw misfit(model.name, placed, group, file)
    for (const [j, weight] of placed.weights.entries()) {
      const entry = matched[j]
      if (entry !== undefined) entries.set(weight, entry)
    }
  }
  const used = new Set(groups)
  const ignored = file.groups.filter((group) => !used.has(group))
  const [first] = ignored
  const hasDense = layers.some(({ layer }) => layer.className === 'Dense')
  if (first !== undefined && (hasDense || !ignored.every(isDense))) {
    throw mismatch(
      `${file.source} does not fit ${model.name}: it has ${file.groups.length} layers with weights, ${model.name} has ${layers.length}, ` +
        `and no place for '${first.name}', ${shapesText(first.weights)}.`,
      file,
      { layer: undefined, group: first.name, found: shapesOf(first.weights) },
    )
  }
  const read = async (weight: ModelWeight): Promise<Float32Array> => {
    const entry = entries.get(weight)
    if (entry === undefined) throw new RangeError(`${weight.name} is no weight of ${model.name}`)
    return await file.read(entry)
  }
  return { entries, ignored: ignored.map(({ name }) => name), read }
}

/**
 * A file's numbers into a model, on the device. Layers are matched by name where the file has all the model's names, else in
 * order. The whole file is checked first, then its tensors stream one at a time: a large file never has to fit into memory.
 * A model without dense layers may leave out those at the end of a file.
 * @throws WeftgradError 'mismatch', naming the first layer that does not fit, both shapes, and what the file looks like; what
 * `Model.load` throws. The model then stays as it was.
 */
export async function loadWeights(
  model: Model,
  device: Device,
  file: WeightFile,
  onProgress?: (progress: LoadProgress) => void,
): Promise<WeightAssignment> {
  const assignment = assignWeights(model.source, file)
  await model.load(device, assignment.read, onProgress)
  return assignment
}

/** The file's layer for each of the model's; undefined where it has none. */
function pairedGroups(layers: readonly PlacedLayer[], file: WeightFile): readonly (WeightGroup | undefined)[] {
  const { groups, format } = file
  if (format === 'keras-h5') return layers.map((_, i) => groups[i])
  const byName = new Map(groups.map((group) => [group.name, group]))
  if (layers.every(({ layer }) => byName.has(layer.name))) return layers.map(({ layer }) => byName.get(layer.name))
  // Keras 3 counts layers within their class, and has no order across classes.
  if (format !== 'keras-3-h5') return layers.map((_, i) => groups[i])
  const rest = new Map<string, WeightGroup[]>()
  for (const group of groups) {
    const key = classKey(group.className ?? group.name.replace(/_\d+$/, ''))
    rest.set(key, [...(rest.get(key) ?? []), group])
  }
  return layers.map(({ layer }) => rest.get(classKey(layer.className))?.shift())
}

/** `SeparableConv2D` and `separable_conv2d` alike. */
function classKey(className: string): string {
  return className.toLowerCase().replaceAll('_', '')
}

/** The group's entries in the order of the layer's weights; undefined if they do not fit. */
function matchedEntries(
  { layer, weights }: PlacedLayer,
  group: WeightGroup,
  { format }: WeightFile,
): readonly WeightEntry[] | undefined {
  if (group.weights.length !== weights.length) return undefined
  const own = weights.map(({ name }) => name.slice(layer.name.length + 1))
  const roles = weightRoles(group)
  const places = own.map((role) => roles.indexOf(role))
  const isNamed = format !== 'keras-h5' && !places.includes(-1)
  const entries = weights.map((_, i) => group.weights[isNamed ? (places[i] ?? i) : i])
  const fits = weights.every(({ shape }, i) => sameShape(shape, entries[i]?.shape ?? []))
  return fits ? entries.flatMap((entry) => entry ?? []) : undefined
}

function refuseFolded(name: string, layers: readonly PlacedLayer[], file: WeightFile): void {
  const normalization = layers.find(({ layer }) => layer.className === 'BatchNormalization')
  if (file.format !== 'tfjs-graph' || normalization === undefined) return
  throw mismatch(
    `${file.source} does not fit ${name}: in graph models batch normalisation is folded into the convolutions, and ${name} ` +
      `needs its weights, first those of ${normalization.layer.name}. Use the Keras file, or a TensorFlow.js layers model made of it.`,
    file,
    { layer: normalization.layer.name },
  )
}

function misfit(
  name: string,
  { layer, weights }: PlacedLayer,
  group: WeightGroup | undefined,
  file: WeightFile,
): WeftgradError {
  const wanted = `${layer.name} (${layer.className}) takes ${shapesText(weights)}`
  const found =
    group === undefined ? 'the file has no layer left for it' : `'${group.name}' has ${shapesText(group.weights)}`
  return mismatch(`${file.source} does not fit ${name}: ${wanted}; ${found}.`, file, {
    layer: layer.name,
    expected: shapesOf(weights),
    group: group?.name,
    found: shapesOf(group?.weights ?? []),
  })
}

function mismatch(problem: string, file: WeightFile, details: Readonly<Record<string, unknown>>): WeftgradError {
  const guess = guessAt(file.groups)
  return new WeftgradError('mismatch', `${problem} ${guess}`, { source: file.source, guess, ...details })
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
