/** Builds the model that a file describes, with its weights. */

import { WeftgradError } from '../errors.ts'
import { anOpenFile, type WeightFile } from '../format/weight-file.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device } from '../gpu/device.ts'
import { isDevice } from '../gpu/webgpu-device.ts'
import { aSelection, type Model } from '../nn/model.ts'
import { describedIn } from '../nn/model-file.ts'
import type { LoadProgress } from '../nn/model-weights.ts'
import { aFunction, aList, anObject, checkOptions, checkValue } from '../options.ts'
import { graphModel } from './graph-model.ts'
import type { KerasModelOptions } from './keras-model.ts'
import { kerasModel } from './keras-model.ts'
import { assignWeights, type WeightAssignment } from './load.ts'
import { onnxModel } from './onnx/onnx-model.ts'

/** Options of {@link loadModel}. */
export interface LoadModelOptions extends KerasModelOptions {
  /** Where to put it. By default the device opened last. */
  readonly device?: Device
  /** Called while weights are read. */
  readonly onProgress?: (progress: LoadProgress) => void
}

/**
 * Builds the model that a file describes and loads its weights: `.keras` and whole-model `.h5` files of Keras 1, 2 and 3,
 * TensorFlow.js layers models, Sequential or Functional, TensorFlow.js graph models of known operations, ONNX files with one input,
 * whose first axis counts examples, and one output, and safetensors that `encodeModel` wrote; opened by {@link open}. ONNX's images become [height, width,
 * channels]. `dispose()` the model. It can be trained: frozen layers stay frozen, and regularizers add their penalties.
 * Constraints are not kept, and layers that only change the inputs of training, such as `RandomFlip`, do nothing: `fit` augments
 * the batches.
 * @throws WeftgradError 'mismatch' for a file without a description, and for models that weftgrad cannot build: subclassed ones,
 * several inputs or outputs; 'argument' for unknown layers or operations, all at once; 'format' for a damaged description; else
 * as `loadWeights`.
 */
export async function loadModel(file: WeightFile, options: LoadModelOptions = {}): Promise<Model> {
  checkValue('loadModel: the file', file, anOpenFile)
  const kinds = { device: ['a device', isDevice] as const, onProgress: aFunction }
  const building = { inputShape: aList, customLayers: anObject, trainable: aSelection }
  const given = checkOptions('loadModel', options, { ...kinds, ...building })
  const { device = currentDevice(), onProgress, ...settings } = given
  const { model, read } = await describedModel(file, settings)
  try {
    return await model.load(device, read, onProgress)
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** Whether a file describes a model, so that `loadModel` can try to build it. */
export const describesModel = ({ architecture, graph, onnx, metadata = {}, source }: WeightFile): boolean =>
  [architecture, graph, onnx, describedIn(metadata, source)].some((description) => description !== undefined)

/** A model without its weights: their tensors, if the file lists them as such, and what reads them. */
type DescribedModel = { readonly model: Model } & Pick<WeightAssignment, 'entries' | 'read'>

/** The model that a file describes, without its weights. Throws as `loadModel`. */
export async function describedModel(file: WeightFile, building: KerasModelOptions = {}): Promise<DescribedModel> {
  const { graph, onnx, source } = file
  if (graph !== undefined) return { ...(await graphModel(graph, source, building)), entries: new Map() }
  if (onnx !== undefined) return { ...onnxModel(onnx, source, building), entries: new Map() }
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
  const { metadata = {}, source, kerasVersion = 3 } = file
  const build = describedIn(metadata, source)
  return build?.(building.customLayers) ?? kerasModel(architectureOf(file), source, building, { version: kerasVersion })
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
