/**
 * A model as the writers of other tools' files take it: its layers by Keras' names, the calls that connect them, and their
 * numbers. What a file cannot hold is refused here, before anything is written: all layers at once, by name.
 */

import { WeftgradError } from '../errors.ts'
import type { Shape } from '../graph/node.ts'
import { describeLayer, isLayerClass, type LayerConfig } from '../nn/layers/registry.ts'
import type { Layer } from '../nn/layers.ts'
import type { Model, PlacedLayer } from '../nn/model.ts'
import { type EncodeModelOptions, modelMetadata } from '../nn/model-file.ts'

/** What a model's file says besides the layers and their weights. */
export type ExportOptions = Pick<EncodeModelOptions, 'classNames' | 'description'>

/** A weight of a layer. */
export interface ExportedWeight {
  /** Its name within the layer: `kernel`, `query/bias`. */
  readonly role: string
  readonly shape: Shape
  readonly data: Float32Array
}

/** A layer, once, however often it is called. */
export interface ExportedLayer {
  /** Its name in the file: letters, digits and `_.-`, unique in the model and in that without its input. */
  readonly name: string
  /** Keras' class name. */
  readonly className: string
  /** Its settings by Keras' names. Initializers and regularizers are names, or `{ className, config }`. */
  readonly config: LayerConfig
  /** False if it has weights that no optimizer updates. Keras' layers without weights need not have the setting. */
  readonly trainable: boolean
  readonly weights: readonly ExportedWeight[]
}

/** A layer's use in the model. */
export interface ExportedCall {
  readonly layer: ExportedLayer
  /** Which of the layer's calls this is, from 0. */
  readonly turn: number
  /** The calls whose outputs it takes, in the layer's order; undefined is the model's input. */
  readonly inputs: readonly (ExportedCall | undefined)[]
  /** Shapes without the batch. */
  readonly inputShapes: readonly Shape[]
  readonly outputShape: Shape
}

export interface ExportedModel {
  readonly name: string
  /** The name of the model's input, which no layer has. */
  readonly inputName: string
  readonly inputShape: Shape
  /** In the order in which they run; the last one's output is the model's. */
  readonly calls: readonly ExportedCall[]
  /** Texts by name: the description, and the class names as JSON in `classes`. */
  readonly metadata: Readonly<Record<string, string>>
}

/** What a format lacks that this call of a layer needs, as the end of a sentence; undefined if it has all. */
export type Lacks = (call: ExportedCall) => string | undefined

/**
 * Reads the model's weights back.
 * @param format the format's name in errors: 'A .keras file'.
 * @throws WeftgradError 'argument' for layers that the format lacks or that no file can describe, all at once, for a frozen
 * model, and for layers that do not lead to the output; as `encodeModel` for class names and disposed models.
 */
export async function exportedModel(
  format: string,
  model: Model,
  options: ExportOptions,
  lacks: Lacks,
): Promise<ExportedModel> {
  const metadata = modelMetadata(format, model, options)
  if (model.source !== model)
    throw new WeftgradError('argument', `${model.name} is frozen; save the model that it was frozen from.`)
  const numbers = await model.weightNumbers()
  const refused: string[] = []
  // A name that comes again is the same layer.
  const layers = new Map<string, ExportedLayer>()
  const turns = new Map<string, number>()
  const names = new Set<string>()
  const calls: ExportedCall[] = []
  for (const placed of model.layers) {
    const { layer } = placed
    const shapes = placed.inputs.map((i) => (i < 0 ? model.inputShape : (model.layers[i]?.outputShape ?? [])))
    const own =
      layers.get(layer.name) ?? exportedLayer(placed, nameFor(layer.name, names), (name) => numbers.get(name)?.data)
    layers.set(layer.name, own)
    const turn = turns.get(layer.name) ?? 0
    turns.set(layer.name, turn + 1)
    const inputs = placed.inputs.map((i) => calls[i])
    const call = { layer: own, turn, inputs, inputShapes: shapes, outputShape: placed.outputShape }
    calls.push(call)
    const reason = undescribed(layer) ?? lacks(call)
    if (reason !== undefined && turn === 0) refused.push(`${layer.name} (${layer.className}): ${reason}`)
  }
  refuseLooseEnds(model)
  if (refused.length > 0)
    throw new WeftgradError(
      'argument',
      `${format} cannot hold ${refused.length === 1 ? 'a layer' : `${refused.length} layers`} of ${model.name}. ${refused.join('; ')}. Replace them, or save the model as safetensors.`,
      { layers: refused },
    )
  const inputName = nameFor('input_layer', names)
  return { name: nameFor(model.name, new Set()), inputName, inputShape: model.inputShape, calls, metadata }
}

function exportedLayer(
  { layer, weights, trainable }: PlacedLayer,
  name: string,
  numbers: (name: string) => Float32Array | undefined,
): ExportedLayer {
  return {
    ...{ name, className: layer.className, trainable: trainable || weights.length === 0 },
    config: undescribed(layer) === undefined ? describeLayer(layer).config : {},
    weights: weights.map((weight) => ({
      role: weight.name.slice(layer.name.length + 1),
      shape: weight.shape,
      data: numbers(weight.name) ?? new Float32Array(),
    })),
  }
}

/** Why no file of another tool can describe the layer. */
function undescribed(layer: Layer): string | undefined {
  if (!isLayerClass(layer.className)) return 'it is a layer of your own'
  if (layer.config === undefined) return 'it has no config'
  try {
    describeLayer(layer)
    return undefined
  } catch (error) {
    if (error instanceof WeftgradError && error.code === 'argument')
      return 'one of its settings is a function of your own'
    throw error
  }
}

/** Keras and TensorFlow take no slashes, which the layers of nested models have, and no spaces. */
function nameFor(given: string, taken: Set<string>): string {
  const plain = given.replace(/[^\w.-]+/g, '_')
  let name = plain
  for (let i = 1; taken.has(name); i++) name = `${plain}_${i}`
  taken.add(name)
  return name
}

/** The heads of a network with several: files hold the layers that lead to one output. */
function refuseLooseEnds({ name, layers }: Model): void {
  const used = new Set([layers.length - 1])
  for (const at of used) for (const input of layers[at]?.inputs ?? []) if (input >= 0) used.add(input)
  const loose = layers.flatMap(({ layer }, i) => (used.has(i) ? [] : layer.name))
  if (loose.length > 0)
    throw new WeftgradError(
      'argument',
      `${name} has layers that do not lead to its output: ${loose.join(', ')}. Save a model of each output.`,
      { layers: loose },
    )
}
