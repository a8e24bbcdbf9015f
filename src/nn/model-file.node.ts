/** Models in files. */

import { fileURLToPath } from 'node:url'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { mostReadableBytes, readHostFile } from '../format/host-file.node.ts'
import { anObject, checkOptions } from '../options.ts'
import { type LoadModelOptions, loadModel as loadHeld, type ModelSource } from './load-model.ts'
import type { Model } from './model.ts'
import { type DecodedModel, decodeModel, type EncodeModelOptions, encodeModel } from './model-file.ts'

/**
 * Writes a model to a file, whole or not at all: its layers, weights, class names and description, as safetensors.
 * {@link loadModel} restores it.
 * @throws WeftgradError as `encodeModel`, before anything is written; 'file' if the file cannot be written.
 */
export async function saveModel(model: Model, path: string, options: EncodeModelOptions = {}): Promise<void> {
  await writeFileAtomic(path, await encodeModel(model, options))
}

/**
 * Restores the model of a file that {@link saveModel} wrote, or that a training left in its run's folder: by its path, or as
 * in a page from a `Blob`, bytes, or a `URL`. `dispose()` it.
 * @throws WeftgradError 'file' if the file cannot be read, 'fetch' if an address gives none; else as `decodeModel`.
 */
export async function loadModel(file: ModelSource, options: LoadModelOptions = {}): Promise<DecodedModel> {
  const path = file instanceof URL && file.protocol === 'file:' ? fileURLToPath(file) : file
  if (typeof path !== 'string') return await loadHeld(path, options)
  checkOptions('loadModel', options, { customLayers: anObject })
  return decodeModel(readHostFile(path, mostReadableBytes), { ...options, source: path })
}
