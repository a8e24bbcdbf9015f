/**
 * A model as bytes: a safetensors file of its weights, with its architecture, its class names and a description in the
 * metadata. The file is all that is needed to use the model.
 *
 * Promises: the same model and description give the same bytes; decoding restores the weights bit for bit.
 */

import { WeftgradError } from '../errors.ts'
import { isRecord, isSizes, parsedJson } from '../format/json.ts'
import {
  readSafetensors,
  type SafeTensor,
  type Safetensors,
  toFloat32,
  writeSafetensors,
} from '../format/safetensors.ts'
import { aFlag, anArray, anObject, aString, checkOptions, checkValue, theBytes } from '../options.ts'
import type { LayerDescription, LayerMaker } from './layers/registry.ts'
import { describeLayer, layerOf } from './layers/registry.ts'
import type { Layer } from './layers.ts'
import { Model, type WiredLayer } from './model.ts'
import type { WeightNumbers } from './model-weights.ts'
import { checkNumbers } from './model-weights.ts'

const formatName = 'weftgrad-model'
/** The most classes of a data set. */
const mostClasses = 2 ** 24

/** What a model's file says besides the weights. */
export interface EncodeModelOptions {
  /** Class names, by class number. */
  readonly classNames?: readonly string[]
  /** Further metadata: the author, the preprocessing. The keys format, input, architecture and classes are taken. */
  readonly description?: Readonly<Record<string, string>>
  /**
   * Whether to describe the layers, so that `decodeModel` can build the model. True by default. False for layers that no file
   * can describe: `weights.loadWeights` reads the file into a model of the same layers.
   */
  readonly architecture?: boolean
}

/** A model from a file, and what the file says about it. */
export interface DecodedModel {
  /** The model with its weights. The caller must dispose it. */
  readonly model: Model
  /** Class names, by class number, if the file has them. */
  readonly classNames?: readonly string[]
  /** The further metadata. */
  readonly description: Readonly<Record<string, string>>
}

/** How to read a model's file. */
export interface DecodeModelOptions {
  /** Names the bytes in errors, for example the file's path. */
  readonly source?: string
  /** Makers of layers that are not weftgrad's, by class name. */
  readonly customLayers?: Readonly<Record<string, LayerMaker>>
}

/**
 * A network as JSON: its layers in order, each with the indices of its input layers; -1 is the model's input. A name that comes
 * again is the same layer.
 */
interface Architecture {
  readonly name: string
  readonly inputShape: readonly number[]
  readonly layers: readonly (LayerDescription & { readonly inputs: readonly number[]; readonly trainable?: boolean })[]
}

/**
 * Writes a model as a safetensors file. {@link decodeModel} restores it; `weights.open` and `weights.loadWeights` read its weights
 * into a model of the same layers.
 * @throws WeftgradError 'argument' for a layer that no file can describe, 'mismatch' for another number of class names than
 * outputs, 'disposed' after the model's `dispose`.
 */
export async function encodeModel(model: Model, options: EncodeModelOptions = {}): Promise<Uint8Array> {
  const { architecture = true } = checkOptions('encodeModel', options, {
    ...{ classNames: anArray, description: anObject, architecture: aFlag },
  })
  const metadata = modelMetadata('encodeModel', model, options)
  const tensors = new Map<string, SafeTensor>()
  for (const [name, { shape, data }] of await model.weightNumbers()) tensors.set(name, { dtype: 'F32', shape, data })
  return writeSafetensors(tensors, {
    ...metadata,
    ...{ format: formatName, input: model.inputShape.join(',') },
    ...(architecture ? { architecture: JSON.stringify(architectureOf(model)) } : {}),
  })
}

/**
 * What a file says besides layers and weights, as texts by name: the description, and the class names as JSON in `classes`.
 * @throws WeftgradError 'mismatch' for another number of class names than outputs.
 */
export function modelMetadata(
  what: string,
  model: Model,
  { classNames, description = {} }: Omit<EncodeModelOptions, 'architecture'>,
): Readonly<Record<string, string>> {
  if (classNames !== undefined && classNames.length !== model.outputShape.at(-1))
    throw new WeftgradError(
      'mismatch',
      `${what}: ${model.name} has ${model.outputShape.at(-1) ?? 1} outputs, and there are ${classNames.length} class names.`,
    )
  return { ...description, ...(classNames === undefined ? {} : { classes: JSON.stringify(classNames) }) }
}

function architectureOf({ name, inputShape, layers }: Model): Architecture {
  const described = layers.map(({ layer, inputs, trainable }) => ({
    ...{ ...describeLayer(layer), inputs },
    ...(trainable ? {} : { trainable }),
  }))
  return { name, inputShape, layers: described }
}

/**
 * Restores the model of a file that {@link encodeModel} wrote.
 * @throws WeftgradError 'format' if the bytes are damaged, 'mismatch' if they are not such a file or describe no model,
 * 'argument' for a layer class that is unknown, 'data' if weights are not finite.
 */
export function decodeModel(bytes: Uint8Array, options: DecodeModelOptions = {}): DecodedModel {
  const { source = 'The model file', customLayers } = checkOptions('decodeModel', options, {
    ...{ source: aString, customLayers: anObject },
  })
  checkValue('decodeModel: the bytes', bytes, theBytes)
  const { tensors, metadata } = readSafetensors(bytes, source)
  const build = describedIn(metadata, source)
  if (build === undefined)
    throw new WeftgradError(
      'mismatch',
      `${source} describes no model: encodeModel did not write it, or wrote weights only. Build the model and read its weights with weights.loadWeights.`,
      { source },
    )
  const model = build(customLayers)
  const { classNames, description } = readMetadata(metadata)
  try {
    if (metadata.classes !== undefined && classNames?.length !== model.outputShape.at(-1)) refuseDescription(source)
    fillFromFile(model, tensors, source)
  } catch (error) {
    model.dispose()
    throw error
  }
  return { model, ...(classNames === undefined ? {} : { classNames }), description }
}

/**
 * Builds the model that `encodeModel` described in a file's metadata, without its weights; undefined if it did not.
 * @throws WeftgradError, when called, 'format' for a description that cannot be read, 'argument' for an unknown layer class.
 */
export function describedIn(
  { format, architecture }: Readonly<Record<string, string>>,
  source: string,
): ((customLayers?: DecodeModelOptions['customLayers']) => Model) | undefined {
  if (format !== formatName || architecture === undefined) return undefined
  return (customLayers) => modelOf(parsedArchitecture(architecture), source, customLayers)
}

/** The class names of a file's metadata, if it has any that can be read, and its description. */
export function readMetadata(metadata: Readonly<Record<string, string>>): Omit<DecodedModel, 'model'> {
  const { format: _, input: __, architecture: ___, classes, ...description } = metadata
  const classNames = classes === undefined ? undefined : parsedNames(classes)
  return { ...(classNames === undefined ? {} : { classNames }), description }
}

function modelOf(
  described: Architecture | undefined,
  source: string,
  customLayers: DecodeModelOptions['customLayers'],
): Model {
  if (described === undefined) return refuseDescription(source)
  const known = new Map<string, { readonly layer: Layer; readonly text: string }>()
  const layers = described.layers.map(({ inputs, name, className, config }): WiredLayer => {
    const text = JSON.stringify([className, config])
    const same = known.get(name) ?? { layer: layerOf({ name, className, config }, customLayers), text }
    if (same.text !== text) return refuseDescription(source)
    known.set(name, same)
    return { layer: same.layer, inputs }
  })
  const fixed = new Set(described.layers.flatMap(({ name, trainable }) => (trainable === false ? name : [])))
  return new Model(described.name, described.inputShape, layers, { trainable: ({ name }) => !fixed.has(name) })
}

function refuseDescription(source: string): never {
  throw new WeftgradError(
    'format',
    `${source} has a description of its model that cannot be read. Copy the file again, or train again.`,
    { source },
  )
}

function parsedArchitecture(text: string): Architecture | undefined {
  const value = parsedJson(text)
  if (!isRecord(value)) return undefined
  const { name, inputShape, layers } = value
  const isWhole =
    typeof name === 'string' && isSizes(inputShape) && inputShape.every((extent) => extent > 0) && Array.isArray(layers)
  return isWhole && layers.every(isLayer) ? { name, inputShape, layers } : undefined
}

function isLayer(value: unknown): value is Architecture['layers'][number] {
  return (
    isRecord(value) &&
    typeof value.className === 'string' &&
    typeof value.name === 'string' &&
    isRecord(value.config) &&
    Array.isArray(value.inputs) &&
    value.inputs.every(Number.isInteger)
  )
}

function parsedNames(text: string): readonly string[] | undefined {
  const names = parsedJson(text)
  const isRight = Array.isArray(names) && names.length > 0 && names.length <= mostClasses
  return isRight && names.every((name) => typeof name === 'string') ? names : undefined
}

/**
 * Replaces all weights of the model with those that `encodeModel` wrote.
 * @throws WeftgradError 'mismatch' for another model's weights, 'data' if one is NaN or infinite.
 */
export function fillFromFile(model: Model, tensors: Safetensors['tensors'], source: string): void {
  const numbers: WeightNumbers = new Map(
    [...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: toFloat32(tensor) }]),
  )
  model.checkWeights(numbers)
  for (const weight of model.weights) checkNumbers(source, weight, numbers.get(weight.name)?.data ?? new Float32Array())
  model.setWeights(numbers)
}
