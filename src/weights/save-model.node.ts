/** Writes models to disk in other tools' formats, chosen by the name of the file. */

import { rm, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { freshHdf5 } from '../format/hdf5-instance.node.ts'
import { readHostFile } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import type { Model } from '../nn/model.ts'
import { encodeModel } from '../nn/model-file.ts'
import { checkOptions } from '../options.ts'
import { exportKinds, kerasArchive, kerasH5 } from './encode-keras.ts'
import { encodeOnnx } from './encode-onnx.ts'
import { encodeTensorflowJs, isOwnShard } from './encode-tensorflowjs.ts'
import type { ExportOptions } from './exported-model.ts'

/** The formats of written models. */
export type ModelFormat = 'keras' | 'h5' | 'tfjs' | 'onnx' | 'safetensors'

const formats: Readonly<Record<string, ModelFormat>> = {
  ...{ '.keras': 'keras', '.h5': 'h5', '.hdf5': 'h5', '.onnx': 'onnx', '.safetensors': 'safetensors' },
  ...{ '.json': 'tfjs', '': 'tfjs' },
}

/**
 * The format that a path stands for: by its extension; without one, a folder for TensorFlow.js.
 * @throws WeftgradError 'argument' for another extension.
 */
export async function formatOf(path: string): Promise<ModelFormat> {
  const isFolder = path.endsWith('/') || (await isFolderAt(path))
  const format = isFolder ? 'tfjs' : formats[extname(path).toLowerCase()]
  if (format !== undefined) return format
  throw new WeftgradError(
    'argument',
    `${path} is in no known format. Name it .keras, .h5, .onnx or .safetensors, or give a folder (or its model.json) for TensorFlow.js.`,
    { path },
  )
}

/**
 * Writes a model to a file, whole or not at all, in the format of the path's extension: `.keras` and `.h5` for Keras, `.onnx` for
 * inference elsewhere, `.safetensors` for weftgrad; a folder, or its `model.json`, for TensorFlow.js. Class names and the
 * description are kept in all of them.
 * @throws WeftgradError 'argument' for another extension, and for layers that the format lacks, all at once, before anything is
 * written; 'mismatch' for another number of class names than outputs; 'file' if the disk refuses, 'disposed' after `dispose`.
 */
export async function saveModel(model: Model, path: string, options: ExportOptions = {}): Promise<void> {
  checkOptions('saveModel', options, exportKinds)
  const format = await formatOf(path)
  if (format === 'tfjs') await writeFolder(path, await encodeTensorflowJs(model, options))
  else await writeFileAtomic(path, await encoders[format](model, options))
}

const encoders: Readonly<
  Record<Exclude<ModelFormat, 'tfjs'>, (model: Model, options: ExportOptions) => Promise<Uint8Array>>
> = {
  keras: (model, options) => kerasArchive(model, options, freshHdf5),
  h5: (model, options) => kerasH5(model, options, freshHdf5),
  onnx: encodeOnnx,
  safetensors: encodeModel,
}

/** The `model.json` of a folder, or the path itself if it is one. */
export const modelJsonOf = (path: string): string => (extname(path) === '.json' ? path : join(path, 'model.json'))

/** Writes the weights, whose names are new unless they are the same, then `model.json`, then removes the old model's weights. */
async function writeFolder(path: string, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
  const modelJson = modelJsonOf(path)
  const beside = (name: string): string => join(modelJson, '..', name)
  const { 'model.json': described = new Uint8Array(), ...shards } = files
  const old = (await exists(modelJson)) ? shardsOf(modelJson) : []
  const fresh = Object.keys(shards).filter((name) => !old.includes(name))
  try {
    for (const name of fresh) await writeFileAtomic(beside(name), shards[name] ?? new Uint8Array())
    await writeFileAtomic(modelJson, described)
  } catch (error) {
    for (const name of fresh) await rm(beside(name), { force: true }).catch(() => {})
    throw error
  }
  for (const name of old) if (!Object.hasOwn(shards, name)) await rm(beside(name), { force: true }).catch(() => {})
}

/** The weights of a model that was written like this before. Those of other tools stay. */
function shardsOf(modelJson: string): readonly string[] {
  const model = parsedJson(new TextDecoder().decode(readHostFile(modelJson, longestModelJson)))
  const manifest = isRecord(model) && Array.isArray(model.weightsManifest) ? model.weightsManifest : []
  return manifest
    .flatMap((group) => (isRecord(group) && Array.isArray(group.paths) ? group.paths : []))
    .filter((name) => isOwnShard(name))
}

const longestModelJson = 64 * 2 ** 20

async function isFolderAt(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
