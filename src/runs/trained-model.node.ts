/** model.safetensors: a run's trained model with its description in the metadata. */
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import type { Model } from '../nn/model.ts'
import { type DecodedModel, decodeModel, type EncodeModelOptions, encodeModel } from '../nn/model-file.ts'
import { readCheckedFile, writeCheckedFile } from './checked-file.node.ts'
import { runFiles, shown } from './run-folder.node.ts'
import { weftgradVersion } from './versions.node.ts'

/** Writes a run's model file. Adds weftgrad's version to the description. */
export async function saveModel(folder: string, model: Model, options: EncodeModelOptions): Promise<void> {
  const description = { weftgrad: weftgradVersion(), ...options.description }
  await writeCheckedFile(join(folder, runFiles.model), await encodeModel(model, { ...options, description }))
}

export interface ModelBytes {
  readonly path: string
  readonly bytes: Uint8Array
}

/** Reads a run's model file. Throws WeftgradError 'file' if there is none, 'checksum' or 'format' if it is damaged. */
export async function readModelBytes(folder: string): Promise<ModelBytes> {
  const path = join(folder, runFiles.model)
  const bytes = await readCheckedFile(path)
  if (bytes !== undefined) return { path, bytes }
  throw new WeftgradError(
    'file',
    `${shown(folder)} holds no trained model (${runFiles.model}). Name the folder of a finished run, or finish one with --resume.`,
    { path },
  )
}

/**
 * The model that a training left in a run's folder, and its class names. `dispose()` the model.
 * @throws WeftgradError 'file' if there is none, 'checksum', 'format' or 'mismatch' if the file is damaged or describes no
 * model, 'data' if weights are not finite.
 */
export async function loadTrainedModel(folder: string): Promise<DecodedModel> {
  const { path, bytes } = await readModelBytes(folder)
  return decodeModel(bytes, { source: path })
}
