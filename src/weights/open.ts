/** Opens weights in a page or in memory: a dropped `File`, any `Blob`, or bytes. */

import { blobSource } from '../format/blob-source.ts'
import { type ByteSource, memorySource } from '../format/byte-source.ts'
import type { Hdf5Loader } from '../format/hdf5.ts'
import { openWeights } from '../format/open-weights.ts'
import type { WeightFile } from '../format/weight-file.ts'
import { aFunction, aString, checkOptions, checkValue, objectWith } from '../options.ts'

/** Options of {@link open}. */
export interface OpenWeightsOptions {
  /** The file's name in messages; by default a `File`'s own. */
  readonly name?: string
  /** Opens the files beside a TensorFlow.js `model.json` or an ONNX file, by their path there; without it, such a model is refused. */
  readonly openShard?: (path: string) => Promise<Blob | Uint8Array>
}

/**
 * Opens weights in any of the formats, recognised by their first bytes: `.h5` and `.keras` of Keras, `.safetensors`,
 * `model.json` of TensorFlow.js, `.onnx`. Reads only the table of contents; a worker reads a `File` in pieces, a page as a whole. Closing
 * the result closes everything that was opened.
 * @throws WeftgradError 'format' for other formats, or a damaged file; 'file' if a blob cannot be read, or has more than 256 MiB
 * and is opened by a page, not by a worker.
 */
export async function open(file: Blob | Uint8Array, options: OpenWeightsOptions = {}): Promise<WeightFile> {
  return await openHeld(file, options)
}

/** `open` with the caller's HDF5 library. */
export async function openHeld(
  file: Blob | Uint8Array,
  options: OpenWeightsOptions,
  hdf5?: Hdf5Loader,
): Promise<WeightFile> {
  const { name, openShard } = checkOpening(options)
  checkValue('open: the file', file, ['a Blob or a Uint8Array', (held) => isBlob(held) || held instanceof Uint8Array])
  return await openWeights(await sourceOf(file, name), {
    ...(hdf5 === undefined ? {} : { hdf5 }),
    ...(openShard === undefined ? {} : { openShard: async (path) => await sourceOf(await openShard(path), path) }),
  })
}

const isBlob = (value: unknown): boolean => objectWith(value, 'arrayBuffer')

/** Throws 'argument' for unknown options. */
export function checkOpening(options: OpenWeightsOptions): OpenWeightsOptions {
  return checkOptions('open', options, { name: aString, openShard: aFunction })
}

async function sourceOf(file: Blob | Uint8Array, name?: string): Promise<ByteSource> {
  return file instanceof Uint8Array ? memorySource(file, name ?? 'the file') : await blobSource(file, name)
}
