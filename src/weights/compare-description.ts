/**
 * Compares a file's description of its model with the model that its weights are loaded into. Weights of equal shapes fit a
 * layer with another padding, epsilon or activation, and then give other numbers.
 *
 * Promises: only what both sides say is compared, of layers of the same class, or of classes that Keras has. A setting that
 * the model leaves out has its default. An activation may be a layer of its own on either side, and softmax at the end is left
 * to losses and `predict` on either. A damaged description does not throw: what it does not say is not compared.
 */

import { isRecord } from '../format/json.ts'
import { type ConfiguredLayer, configuredLayers, layerFinder } from '../format/keras-config.ts'
import type { WeightGroup } from '../format/weight-file.ts'
import { camelCase } from '../nn/layers/registry.ts'
import type { Model, PlacedLayer } from '../nn/model.ts'
import { activationName } from './keras-settings.ts'

/** A layer of the model, and the layer of the file whose weights it takes. */
export type LayerPair = readonly [placed: PlacedLayer, group: WeightGroup]

type Json = Readonly<Record<string, unknown>>

const deepestNesting = 32

/** Functions are compared by the names of the newest Keras. */
const dialect = { version: 3 }

/** Settings by Keras' names, with the defaults of Keras and weftgrad. */
const defaults: Readonly<Record<string, unknown>> = {
  ...{ kernel_size: undefined, strides: 1, padding: 'valid', dilation_rate: 1, groups: 1, depth_multiplier: 1 },
  ...{ data_format: 'channels_last', axis: -1, epsilon: 1e-3, center: true, scale: true, use_bias: true },
  activation: 'linear',
}

const kerasClasses: ReadonlySet<string> = new Set([
  ...[
    'Dense',
    'Conv1D',
    'Conv2D',
    'Conv2DTranspose',
    'DepthwiseConv2D',
    'SeparableConv2D',
    'MultiHeadAttention',
    'PReLU',
  ],
  ...['BatchNormalization', 'LayerNormalization', 'GroupNormalization', 'Normalization'],
])

/**
 * The differences, a phrase each: `layer 'conv1': padding is 'same' in net.keras and 'valid' in the model`.
 * @param architecture parsed JSON of unknown content.
 */
export function descriptionDifferences(
  architecture: unknown,
  source: string,
  { layers }: Pick<Model, 'layers'>,
  pairs: readonly LayerPair[],
): readonly string[] {
  const described = configuredLayers(architecture)
  const find = layerFinder(described)
  return pairs.flatMap(([placed, { name }]) => {
    const theirs = find(name)
    const { layer, outputShape } = placed
    if (theirs === undefined || layer.config === undefined) return []
    const own = layer.name === name ? `layer '${name}'` : `layer '${layer.name}' ('${name}' in the file)`
    const told = (what: string, found: unknown, wanted: unknown): string =>
      `${own}: ${what} is ${shown(found)} in ${source} and ${shown(wanted)} in the model`
    if (theirs.className !== layer.className)
      return kerasClasses.has(theirs.className) && kerasClasses.has(layer.className)
        ? [told('the class', theirs.className, layer.className)]
        : []
    return Object.entries(defaults).flatMap(([setting, usual]) => {
      const [found, wanted] =
        setting === 'activation'
          ? [fileActivation(theirs, described), modelActivation(placed, layers)]
          : [
              configOf(theirs)[setting],
              layer.config?.[camelCase(setting)] ?? defaultOf(setting, layer.className, usual),
            ]
      const [a, b] = [found, wanted].map((value) => comparable(setting, value, outputShape.length))
      const isSame = a === undefined || b === undefined || a === b
      return isSame || isEnd(placed, found, wanted, layers) ? [] : [told(setting, plain(found), plain(wanted))]
    })
  })
}

/** The layer's activation, or that of an activation layer that alone takes its output; undefined if it has none. */
function fileActivation(layer: ConfiguredLayer, described: readonly ConfiguredLayer[]): unknown {
  const own = activationName(configOf(layer).activation, dialect)
  if (own !== 'linear') return own
  const model = enclosing(layer)
  const beside = described.filter((one) => enclosing(one) === model)
  const isGraph = beside.some(({ record }) => 'inbound_nodes' in record)
  const name = layer.name.slice(model.length)
  const takers = isGraph
    ? beside.filter(({ record }) => references(record.inbound_nodes, 0).includes(name))
    : beside.slice(beside.indexOf(layer) + 1).slice(0, 1)
  const [next, ...others] = takers
  const isAlone = next !== undefined && others.length === 0
  return (isAlone ? activationOf(next.className, configOf(next)) : undefined) ?? own
}

/** The name of the model that a layer is in, with a slash; empty for the whole one. */
function enclosing({ name }: ConfiguredLayer): string {
  return name.slice(0, name.lastIndexOf('/') + 1)
}

/** The layers that a call takes: Keras 2 and 3 both refer to them as `['conv', 0, 0]`, at different depths. */
function references(value: unknown, depth: number): string[] {
  if (typeof value !== 'object' || value === null || depth > deepestNesting) return []
  if (!Array.isArray(value)) return Object.values(value).flatMap((one) => references(one, depth + 1))
  const [name, node, tensor]: unknown[] = value
  const further = value.flatMap((one) => references(one, depth + 1))
  return typeof name === 'string' && Number.isInteger(node) && Number.isInteger(tensor) ? [name, ...further] : further
}

function modelActivation(placed: PlacedLayer, layers: readonly PlacedLayer[]): unknown {
  const own = placed.layer.config?.activation ?? 'linear'
  if (own !== 'linear') return own
  const position = layers.indexOf(placed)
  const [next, ...others] = layers.filter(({ inputs }) => inputs.includes(position))
  const isAlone = next !== undefined && others.length === 0
  return (isAlone ? activationOf(next.layer.className, next.layer.config ?? {}) : undefined) ?? own
}

/** Whether the last layer leaves softmax out on one side: what takes the model's output knows both. */
function isEnd(placed: PlacedLayer, found: unknown, wanted: unknown, layers: readonly PlacedLayer[]): boolean {
  const functions = [found, wanted]
  return placed === layers.at(-1) && functions.includes('softmax') && functions.includes('linear')
}

/** The function of an activation layer; undefined for other layers. */
function activationOf(className: string, config: Json): unknown {
  if (className === 'Activation') return activationName(config.activation, dialect)
  if (className === 'Softmax') return 'softmax'
  const isPlain = ['max_value', 'negative_slope', 'threshold'].every(
    (name) => !config[name] && !config[camelCase(name)],
  )
  return className === 'ReLU' && isPlain ? 'relu' : undefined
}

/** Text that is equal for settings of the same meaning; undefined for what the other side cannot say. */
function comparable(setting: string, value: unknown, rank: number): string | undefined {
  const one = plain(value)
  if (one === undefined || one === null || typeof one === 'function') return undefined
  // weftgrad's padding by pixels is a layer of its own in Keras.
  if (setting === 'padding' && typeof one !== 'string') return undefined
  // The last axis, counted from either end; the batch is not part of the shape.
  if (setting === 'axis' && one === rank) return '-1'
  return JSON.stringify(setting === 'activation' ? activationName(one, dialect) : one)
}

/** One number for equal ones of all axes: `3` for `[3, 3]`. */
function plain(value: unknown): unknown {
  if (!Array.isArray(value)) return value
  const [first]: unknown[] = value
  return typeof first === 'number' && value.every((one) => one === first) ? first : value
}

function configOf({ record }: ConfiguredLayer): Json {
  return isRecord(record.config) ? record.config : {}
}

function defaultOf(setting: string, className: string, usual: unknown): unknown {
  return setting === 'groups' && className === 'GroupNormalization' ? 32 : usual
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : JSON.stringify(value)
}
