/** Builds the model that a file describes, with its weights. */

import { WeftgradError } from '../errors.ts'
import { anOpenFile, type WeightFile } from '../format/weight-file.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device } from '../gpu/device.ts'
import { isDevice } from '../gpu/webgpu-device.ts'
import type { Model } from '../nn/model.ts'
import type { LoadProgress } from '../nn/model-weights.ts'
import { aFunction, aList, anObject, checkOptions, checkValue } from '../options.ts'
import type { KerasModelOptions } from './keras-model.ts'
import { kerasModel } from './keras-model.ts'
import { loadWeights } from './load.ts'

/** Options of {@link loadModel}. */
export interface LoadModelOptions extends KerasModelOptions {
  /** Where to put it. By default the device opened last. */
  readonly device?: Device
  /** Called while weights are read. */
  readonly onProgress?: (progress: LoadProgress) => void
}

/**
 * Builds the model that a file describes and loads its weights: `.keras` and whole-model `.h5` files of Keras 2 and 3, and
 * TensorFlow.js layers models, Sequential or Functional, opened by {@link open}. `dispose()` the model.
 * @throws WeftgradError 'mismatch' for a file without a description, and for models that weftgrad cannot build: subclassed
 * ones, shared layers, several inputs or outputs; 'argument' for unknown layers, all at once; 'format' for a damaged
 * description; else as `loadWeights`.
 */
export async function loadModel(file: WeightFile, options: LoadModelOptions = {}): Promise<Model> {
  checkValue('loadModel: the file', file, anOpenFile)
  const kinds = { device: ['a device', isDevice] as const, onProgress: aFunction }
  const given = checkOptions('loadModel', options, { ...kinds, inputShape: aList, customLayers: anObject })
  const { device = currentDevice(), onProgress, ...building } = given
  const model = kerasModel(architectureOf(file), file.source, building)
  try {
    // The model is what the file describes.
    await loadWeights(model, device, file, {
      ...{ ignoreDescription: true },
      ...(onProgress === undefined ? {} : { onProgress }),
    })
    return model
  } catch (error) {
    model.dispose()
    throw error
  }
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
