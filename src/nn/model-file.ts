/**
 * A model as bytes: a safetensors file of its weights, with a description of the model in its metadata. For a LeNet-5
 * the file is all that is needed to use it.
 *
 * Promises: the same weights and description give the same bytes; decoding restores the weights bit for bit.
 */

import { WeftgradError } from '../errors.ts'
import { boundedJson } from '../format/json.ts'
import {
  readSafetensors,
  type SafeTensor,
  type Safetensors,
  toFloat32,
  writeSafetensors,
} from '../format/safetensors.ts'
import { aFlag, anArray, anObject, checkOptions, checkValue, countFrom1, required, theBytes } from '../options.ts'
import type { Model } from './model.ts'
import type { WeightNumbers } from './model-weights.ts'
import { checkNumbers } from './model-weights.ts'
import { lenet5 } from './models/lenet5.ts'

const formatName = 'weftgrad-model'
/** The most classes of a data set. */
const mostClasses = 2 ** 24

/**
 * Writes the model's weights as a safetensors file, with `description` in its metadata. `weights.open` and
 * `weights.loadWeights` read it back into a model of the same layers.
 * @throws WeftgradError 'disposed' after the model's `dispose`.
 */
export async function encodeModel(model: Model, description: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const tensors = new Map<string, SafeTensor>()
  for (const [name, { shape, data }] of await model.weightNumbers()) tensors.set(name, { dtype: 'F32', shape, data })
  return writeSafetensors(tensors, { ...description, format: formatName, input: model.inputShape.join(',') })
}

/** A LeNet-5 and the description in its file. */
export interface DescribedLenet5 {
  /** The model with its weights. */
  readonly model: Model
  /** Units of its two hidden dense layers. */
  readonly units: readonly [number, number]
  /** Class names, by class number. */
  readonly classNames: readonly string[]
  /** Whether to average its probabilities over an image and its mirror image. */
  readonly flipAverage?: boolean
}

/**
 * Writes a LeNet-5 as a self-contained safetensors file; {@link decodeLenet5} restores the model.
 * @param description further metadata, such as the author.
 * @throws WeftgradError 'mismatch' if the model is no LeNet-5 of these units and classes, 'disposed' after the model's `dispose`.
 */
export async function encodeLenet5(
  described: DescribedLenet5,
  description: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const {
    model,
    units,
    classNames,
    flipAverage = false,
  } = checkOptions('encodeLenet5', described, {
    ...{ model: required(anObject), units: required(anArray), classNames: required(anArray), flipAverage: aFlag },
  })
  const weightsOf = (one: Model): string => one.weights.map(({ name, shape }) => `${name} ${shape}`).join()
  if (weightsOf(lenet5({ units, classes: classNames.length })) !== weightsOf(model)) {
    throw new WeftgradError(
      'mismatch',
      `encodeLenet5: ${model.name} is not a LeNet-5 of ${units.join(' and ')} units and ${classNames.length} classes. Give the model's own.`,
      { model: model.name, units, classes: classNames.length },
    )
  }
  return await encodeModel(model, {
    ...description,
    ...{ model: 'lenet5', units: units.join(','), classes: JSON.stringify(classNames) },
    ...(flipAverage ? { flips: 'averaged' } : {}),
  })
}

/**
 * Restores the model of a file that `encodeLenet5` wrote. The caller must dispose it.
 * @param source names the bytes in errors, for example the file's path.
 * @throws WeftgradError 'format' or 'mismatch' if the bytes are damaged or hold another model, 'data' if weights are
 * not finite.
 */
export function decodeLenet5(bytes: Uint8Array, source = 'The model file'): DescribedLenet5 {
  checkValue('decodeLenet5: the bytes', bytes, theBytes)
  const { tensors, metadata } = readSafetensors(bytes, source)
  if (metadata.model !== 'lenet5') {
    throw new WeftgradError(
      'mismatch',
      `${source} is not a LeNet-5 file written by weftgrad. Read other weights files with weights.open.`,
      {
        source,
        model: metadata.model,
      },
    )
  }
  const [first = Number.NaN, second = Number.NaN, ...more] = (metadata.units ?? '').split(',').map(Number)
  const classNames = parsedNames(metadata.classes ?? '')
  // The file holds at least the bias of each unit, 4 bytes.
  const isPossible = (count: number): boolean => countFrom1[1](count) && count <= bytes.length / 4
  if (more.length > 0 || ![first, second].every(isPossible) || classNames === undefined) {
    throw new WeftgradError(
      'format',
      `${source} lacks the description of its LeNet-5. Copy the file again, or train again.`,
      { source },
    )
  }
  const units = [first, second] as const
  const model = lenet5({ units, classes: classNames.length })
  try {
    fillFromFile(model, tensors, source)
  } catch (error) {
    model.dispose()
    throw error
  }
  return { model, units, classNames, flipAverage: metadata.flips === 'averaged' }
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

function parsedNames(text: string): readonly string[] | undefined {
  try {
    const names: unknown = boundedJson(text)
    const right = Array.isArray(names) && names.length > 0 && names.length <= mostClasses
    return right && names.every((name) => typeof name === 'string') ? names : undefined
  } catch {
    return undefined
  }
}
