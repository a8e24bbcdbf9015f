/**
 * Reads the layers from a Keras model's configuration (JSON in `.h5` and `.keras` files, `model.json` of TensorFlow.js), as
 * far as weights files need them. Skips anything unexpected: weights do not depend on it.
 */
import { isRecord } from './json.ts'
import type { HeldGroup } from './weight-file.ts'

export interface ConfiguredLayer {
  /** The layer's name, prefixed by the names of the enclosing models: `base/conv`. */
  readonly name: string
  /** Keras' class name. */
  readonly className: string
  /** The group of the layer's weights in Keras 3: `layers/conv2d_1`. It numbers the layers of a class, whatever their names. */
  readonly path: string
  /** The layer as the file describes it. */
  readonly record: Readonly<Record<string, unknown>>
}

const deepestNesting = 32

/** The layers in the order in which the model runs them, each nested model before its layers. None for a subclassed model. */
export function configuredLayers(model: unknown, path = '', name = '', depth = 0): ConfiguredLayer[] {
  const config =
    isRecord(model) && isRecord(model.config) ? model.config.layers : isRecord(model) ? model.config : model
  if (!Array.isArray(config) || depth > deepestNesting) return []
  const counts = new Map<string, number>()
  return config.flatMap((layer: unknown) => {
    if (!isRecord(layer) || typeof layer.class_name !== 'string' || !isRecord(layer.config)) return []
    const className = layer.class_name
    const kind = snakeCase(className)
    const count = counts.get(kind) ?? 0
    counts.set(kind, count + 1)
    const own = `${path}layers/${kind}${count === 0 ? '' : `_${count}`}`
    if (typeof layer.config.name !== 'string') return configuredLayers(layer, `${own}/`, name, depth + 1)
    const called = `${name}${layer.config.name}`
    return [
      { name: called, className, path: own, record: layer },
      ...configuredLayers(layer, `${own}/`, `${called}/`, depth + 1),
    ]
  })
}

/**
 * Finds a layer by its name in a file, which may omit the names of enclosing models or add another prefix; undefined if it is
 * ambiguous.
 */
export function layerFinder(layers: readonly ConfiguredLayer[]): (name: string) => ConfiguredLayer | undefined {
  const byName = new Map(layers.map((layer) => [layer.name, layer]))
  const byEnd = new Map<string, ConfiguredLayer[]>()
  for (const layer of layers) {
    const end = layer.name.replace(/.*\//, '')
    const others = byEnd.get(end)
    if (others === undefined) byEnd.set(end, [layer])
    else others.push(layer)
  }
  return (name) => {
    const ends = byEnd.get(name.replace(/.*\//, '')) ?? []
    const within = ends.filter((layer) => layer.name.startsWith(`${name.replace(/\/.*/, '')}/`))
    const [one, ...more] = within.length > 0 ? within : ends
    return byName.get(name) ?? (more.length === 0 ? one : undefined)
  }
}

/**
 * Sorts groups in the order in which the model runs their layers. Groups without a layer come last.
 * @param asLayer returns the layer that a group is or belongs to; undefined if there is none.
 */
export function inConfiguredOrder<Place, Group extends HeldGroup<Place>>(
  groups: readonly Group[],
  layers: readonly ConfiguredLayer[],
  asLayer: (group: Group) => { readonly layer: ConfiguredLayer; readonly group: HeldGroup<Place> } | undefined,
): HeldGroup<Place>[] {
  const places = new Map(layers.map((layer, i) => [layer, i]))
  const placed = groups.map((group) => {
    const found = asLayer(group)
    const place = found === undefined ? undefined : places.get(found.layer)
    return { group: found?.group ?? { ...group, sequence: null }, place: place ?? layers.length }
  })
  return placed.sort((a, b) => a.place - b.place).map(({ group }) => group)
}

/** The number of layers up to the last one of the groups. */
export function layerCount(layers: readonly ConfiguredLayer[], groups: readonly HeldGroup<unknown>[]): number {
  const names = new Set(groups.map(({ name }) => name))
  return layers.findLastIndex(({ name }) => names.has(name)) + 1
}

/** Keras' snake case: `SeparableConv2D` is `separable_conv2d`. */
function snakeCase(className: string): string {
  return className
    .replace(/\W/g, '')
    .replace(/(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])/g, '_')
    .toLowerCase()
}
