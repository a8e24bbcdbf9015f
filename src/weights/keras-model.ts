/** Builds a model from Keras' description of it, which `keras-description.ts` reads. */

import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { LayerMaker } from '../nn/layers/registry.ts'
import { isLayerClass, layerOf } from '../nn/layers/registry.ts'
import type { Layer } from '../nn/layers.ts'
import type { ModelOptions, WiredLayer } from '../nn/model.ts'
import { Model } from '../nn/model.ts'
import { DescriptionReader, modelInput, type Step } from './keras-description.ts'
import { jsonStart, type KerasDialect } from './keras-settings.ts'

/** How to build a model from a description. */
export interface KerasModelOptions {
  /** The shape of an input without the batch, for a model that leaves extents open. */
  readonly inputShape?: readonly number[]
  /** Makers of layers that are not weftgrad's, by class name. */
  readonly customLayers?: Readonly<Record<string, LayerMaker>>
  /** Selects the layers that an optimizer updates, as in `ModelOptions`. By default those that the file does not freeze. */
  readonly trainable?: NonNullable<ModelOptions['trainable']>
}

/**
 * Builds the model.
 * @param described parsed JSON: `{ class_name, config }`.
 * @throws WeftgradError 'mismatch' for models of other kinds, such as subclassed ones or those with several inputs, 'format'
 * for a damaged description, 'argument' for unknown layers and settings, 'shape' for layers that do not fit.
 */
export function kerasModel(
  described: unknown,
  source: string,
  options: KerasModelOptions = {},
  dialect: KerasDialect = { version: 3 },
): Model {
  const { customLayers = {}, trainable } = options
  const reader = new DescriptionReader(source, dialect, (className) => Object.hasOwn(customLayers, className))
  const record = reader.root(described)
  const output = reader.model(record, '', [modelInput])
  const { steps } = reader
  if (steps.length === 0 || output !== steps.length - 1) throw reader.refused('its output is not the output of a layer')
  refuseUnknown(steps, source, customLayers)
  const made = new Map<string, { readonly layer: Layer; readonly origin: object }>()
  const layers = steps.map(({ className, name, config, inputs, origin }): WiredLayer => {
    const same = made.get(name) ?? { layer: layerOf({ className, name, config }, customLayers), origin }
    if (same.origin !== origin) throw reader.damaged(`two layers are called '${name}'`)
    made.set(name, same)
    return { layer: same.layer, inputs }
  })
  const fixed = new Set(steps.flatMap(({ name, trainable }) => (trainable ? [] : name)))
  const config = isRecord(record.config) ? record.config : {}
  const name = typeof config.name === 'string' ? config.name : 'model'
  const model = new Model(name, reader.inputShape(record, options.inputShape), layers, {
    trainable: trainable ?? (({ name }) => !fixed.has(name)),
  })
  for (const [i, { outputShape }] of model.layers.entries()) {
    const { axis = -1, name: own = '' } = steps[i] ?? {}
    // weftgrad's layers work along the last axis; the batch is not part of the shape.
    if (axis !== -1 && axis !== outputShape.length) throw reader.refused(`its layer '${own}' has axis ${axis}`)
  }
  return model
}

/**
 * The shape of the input that a description states, the batch first; null for open extents, undefined if it states none.
 * @throws WeftgradError 'format' for a damaged description.
 */
export function statedInputShape(
  described: unknown,
  source: string,
  dialect: KerasDialect = { version: 3 },
): readonly (number | null)[] | undefined {
  const reader = new DescriptionReader(source, dialect, () => false)
  return reader.statedShape(reader.root(described))
}

function refuseUnknown(
  steps: readonly Step[],
  source: string,
  customLayers: Readonly<Record<string, LayerMaker>>,
): void {
  const unknown = steps.filter(({ className }) => !isLayerClass(className, customLayers))
  if (unknown.length === 0) return
  const named = unknown
    .slice(0, 20)
    .map(({ className, name, config }) => `${className} (${name}): ${jsonStart(config)}`)
  const more = unknown.length > named.length ? `; and ${unknown.length - named.length} more` : ''
  throw new WeftgradError(
    'argument',
    `${source} has ${unknown.length === 1 ? 'a layer' : 'layers'} that weftgrad lacks; give makers in customLayers. ${named.join('; ')}${more}`,
    { source, classes: [...new Set(unknown.map(({ className }) => className))] },
  )
}
