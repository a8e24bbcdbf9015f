/** Builds the model that a file describes, with its weights. */

import { WeftgradError } from '../errors.ts'
import { anOpenFile, type WeightFile } from '../format/weight-file.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device } from '../gpu/device.ts'
import { isDevice } from '../gpu/webgpu-device.ts'
import type { Model } from '../nn/model.ts'
import { describedIn } from '../nn/model-file.ts'
import type { LoadProgress } from '../nn/model-weights.ts'
import { aFunction, aList, anObject, checkOptions, checkValue } from '../options.ts'
import type { KerasModelOptions } from './keras-model.ts'
import { kerasModel } from './keras-model.ts'
import { assignWeights, type WeightAssignment } from './load.ts'

/** Options of {@link loadModel}. */
export interface LoadModelOptions extends KerasModelOptions {
  /** Where to put it. By default the device opened last. */
  readonly device?: Device
  /** Called while weights are read. */
  readonly onProgress?: (progress: LoadProgress) => void
}

/**
 * Builds the model that a file describes and loads its weights: `.keras` and whole-model `.h5` files of Keras 2 and 3, and
 * TensorFlow.js layers models, Sequential or Functional, and safetensors that `encodeModel` wrote, opened by {@link open}.
 * `dispose()` the model.
 * @throws WeftgradError 'mismatch' for a file without a description, and for models that weftgrad cannot build: subclassed
 * ones, shared layers, several inputs or outputs; 'argument' for unknown layers, all at once; 'format' for a damaged
 * description; else as `loadWeights`.
 */
export async function loadModel(file: WeightFile, options: LoadModelOptions = {}): Promise<Model> {
  checkValue('loadModel: the file', file, anOpenFile)
  const kinds = { device: ['a device', isDevice] as const, onProgress: aFunction }
  const given = checkOptions('loadModel', options, { ...kinds, inputShape: aList, customLayers: anObject })
  const { device = currentDevice(), onProgress, ...building } = given
  const { model, read } = await describedModel(file, building)
  try {
    return await model.load(device, read, onProgress)
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** Whether a file describes a model, so that `loadModel` can try to build it. */
export const describesModel = (file: WeightFile): boolean =>
  file.architecture !== undefined || describedIn(file.metadata ?? {}, file.source) !== undefined

/** The model that a file describes, without its weights; their tensors, and what reads them. Throws as `loadModel`. */
export async function describedModel(
  file: WeightFile,
  building: KerasModelOptions = {},
): Promise<{ readonly model: Model } & Pick<WeightAssignment, 'entries' | 'read'>> {
  const model = builtModel(file, building)
  try {
    // The model is what the file describes.
    const { entries, read } = assignWeights(model, file, { ignoreDescription: true })
    return { model, entries, read }
  } catch (error) {
    model.dispose()
    throw error
  }
}

function builtModel(file: WeightFile, building: KerasModelOptions): Model {
  const build = describedIn(file.metadata ?? {}, file.source)
  return build?.(building.customLayers) ?? kerasModel(architectureOf(file), file.source, building)
}

/** The description of the model. Throws 'mismatch' for a file without one. */
export function architectureOf({ architecture, source }: WeightFile): unknown {
  if (architecture !== undefined) return architecture
  throw new WeftgradError(
    'mismatch',
    `${source} has weights, but no description of a model. Save the whole model, or build it and use loadWeights.`,
    { source },
  )
}
