/** Models from where a web page has its files: a file that its user chose, bytes, or an address. */

import { blobSource } from '../format/blob-source.ts'
import { readBytes } from '../format/byte-source.ts'
import { downloadWhole } from '../format/download.ts'
import { anObject, checkOptions, checkValue, type Kind, objectWith } from '../options.ts'
import { type DecodedModel, type DecodeModelOptions, decodeModel } from './model-file.ts'

/** Where a model's file is: a `File` or other `Blob`, its bytes, or its address. */
export type ModelSource = Blob | Uint8Array | URL | string

/** Options of {@link loadModel}. */
export type LoadModelOptions = Omit<DecodeModelOptions, 'source'>

/** Half a gigabyte of parameters would not fit into a tab twice. */
const mostDownloadBytes = 2 ** 28

const isBlob = (value: unknown): value is Blob => objectWith(value, 'arrayBuffer')

const aModelSource: Kind = [
  'a File or Blob, bytes, or an address',
  (value) => typeof value === 'string' || value instanceof URL || value instanceof Uint8Array || isBlob(value),
]

/**
 * Restores the model of a file that `encodeModel` or `saveModel` wrote, or that a training left in its run's folder, from a file
 * that a user chose, bytes, or an address. `dispose()` it.
 *
 * ```ts
 * const { model, classNames } = await nn.loadModel('model.safetensors') // beside the page
 * ```
 * A string is an address in a page, and a path in Node.js.
 * @throws WeftgradError 'file' if a file cannot be read, 'fetch' if an address gives none, or one of more than 256 MiB; else as
 * `decodeModel`.
 */
export async function loadModel(file: ModelSource, options: LoadModelOptions = {}): Promise<DecodedModel> {
  checkOptions('loadModel', options, { customLayers: anObject })
  checkValue('loadModel: the file', file, aModelSource)
  if (file instanceof Uint8Array) return decodeModel(file, options)
  if (isBlob(file)) {
    const source = await blobSource(file)
    return decodeModel(readBytes(source, 0, source.size), { ...options, source: source.name })
  }
  const address = String(file)
  return decodeModel(await downloadWhole(address, { maxBytes: mostDownloadBytes }), { ...options, source: address })
}
