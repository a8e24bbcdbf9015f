/** Opens weights that a page or a program holds: a dropped `File`, any `Blob`, or bytes. */

import { blobSource } from '../format/blob-source.ts'
import { type ByteSource, memorySource } from '../format/byte-source.ts'
import type { Hdf5Loader } from '../format/hdf5.ts'
import { openWeights } from '../format/open-weights.ts'
import type { WeightFile } from '../format/weight-file.ts'
import { aFunction, aString, checkOptions, checkValue, objectWith } from '../options.ts'

/** What opening must be told that the bytes do not say. */
export interface OpenWeightsOptions {
  /** The file's name in messages; a `File` brings its own. */
  readonly name?: string
  /** Gives the files beside a TensorFlow.js `model.json`, by their path in there; without it, such a model is refused. */
  readonly openShard?: (path: string) => Promise<Blob | Uint8Array>
}

/**
 * Opens weights in any of the formats, which their first bytes tell apart: `.h5` and `.keras` of Keras, `.safetensors`,
 * `model.json` of TensorFlow.js. Only the table of contents is read; in a worker a `File` is read piece by piece, a page
 * takes it whole. Closing the result closes what was opened.
 * @throws WeftgradError 'format' for what is none of the formats, or damaged; 'file' where a blob cannot be read, or has
 * more than 256 MiB and is opened by a page, not by a worker.
 */
export async function open(file: Blob | Uint8Array, options: OpenWeightsOptions = {}): Promise<WeightFile> {
  return await openHeld(file, options)
}

/** `open` with an HDF5 library of the caller's. */
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

/** Throws 'argument' for options that there are not. */
export function checkOpening(options: OpenWeightsOptions): OpenWeightsOptions {
  return checkOptions('open', options, { name: aString, openShard: aFunction })
}

async function sourceOf(file: Blob | Uint8Array, name?: string): Promise<ByteSource> {
  return file instanceof Uint8Array ? memorySource(file, name ?? 'the file') : await blobSource(file, name)
}
