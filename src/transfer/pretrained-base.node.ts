/**
 * A network as a base for features: a pretrained one by its name, or the model in a file. Finds and opens its weights, computes
 * their fingerprint, and puts the frozen network on a device when needed.
 */
import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import type { Device } from '../gpu/device.ts'
import { freeze } from '../nn/freeze.ts'
import type { Model } from '../nn/model.ts'
import type { ReadWeight } from '../nn/model-weights.ts'
import { type PretrainedName, pretrained } from '../nn/models/pretrained.ts'
import type { PreprocessingMode } from '../nn/preprocessing.ts'
import { findWeights } from '../weights/find.node.ts'
import { hashedGains, hashedReader } from '../weights/hashed.ts'
import { assignWeights } from '../weights/load.ts'
import { zoo, zooNameIn, zooNames } from '../weights/zoo.ts'
import { modelTitle, openModelFile } from './model-file.node.ts'

/** The word for made-up weights, in place of a file name. */
export const hashedWeights = 'hashed'

export interface OpenBaseOptions {
  /** Height and width of the images; null for a model in a file that has a size of its own. */
  readonly size: number | null
  /** A file, `hashed`, or null to find or download the published weights. The model in a file has its own. */
  readonly weights: string | null
  /** How to prepare images; by default as the pretrained network's were, and not at all for the model in a file. */
  readonly preprocessing?: PreprocessingMode | null | undefined
  /** Whether to include the classifier of ImageNet's 1000 classes; false by default. */
  readonly withTop?: boolean | undefined
  /** Whether to download missing weights; true unless `WEFTGRAD_NO_SETUP=1`. */
  readonly provision?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onNote?: ((line: string) => void) | undefined
  readonly onDownload?: ((bytes: number, totalBytes: number | undefined) => void) | undefined
}

export interface PretrainedBase {
  /** Its name in files. */
  readonly name: string
  /** Its name to show. */
  readonly title: string
  /** Its layers and shapes, as Keras has them. */
  readonly model: Model
  readonly preprocessing: PreprocessingMode
  /** The source of its weights, to show. */
  readonly weights: string
  /** A fingerprint of the weights, equal for equal numbers in any file; of a file's model, of its layers too. */
  readonly fingerprint: string
  /** True for made-up weights: results with them mean nothing. */
  readonly isMeaningless: boolean
  /** Reads one of `model`'s weights. */
  readonly read: ReadWeight
  /** Puts the network on a device for inference; `keep` names the layers whose outputs are needed. `dispose()` it. */
  frozen(device: Device, keep: readonly string[]): Promise<Model>
  close(): void
}

/**
 * The name of a pretrained network, or the absolute path of a model's file.
 * @throws WeftgradError 'argument' for a word that is neither.
 */
export function baseNamed(text: string): string {
  const name = zooNameIn(text)
  if (name !== undefined) return name
  if (/[./\\]/.test(text)) return resolve(text)
  throw new WeftgradError(
    'argument',
    `Unknown network '${text}'. Known are ${zooNames.join(', ')}; or name a model's file (.keras, .h5, model.json, .safetensors).`,
    { name: text },
  )
}

/**
 * Opens a base: a pretrained network by its name, or the model in the file at this path. Throws 'argument' for a size that the
 * network does not accept; an error with `areWeightsMissing` that says how to get missing weights; 'mismatch', 'format' and
 * 'data' for a file that is not this network's, or no model of images.
 */
export async function openBase(given: string, options: OpenBaseOptions): Promise<PretrainedBase> {
  const name = zooNameIn(given)
  return name === undefined ? await openModelBase(given, options) : await openPretrained(name, options)
}

async function openModelBase(path: string, { size, weights, preprocessing }: OpenBaseOptions): Promise<PretrainedBase> {
  if (weights !== null)
    throw new WeftgradError('argument', `--weights is for pretrained networks; ${path} has its own. Leave it out.`, {
      path,
      weights,
    })
  const opened = await openModelFile(path, size)
  try {
    const { model, description, read, close } = opened
    return {
      // Part of a folder's name.
      name: model.name.replace(/\W+/g, '_').slice(0, 40),
      title: modelTitle(path),
      ...{ model, preprocessing: preprocessing ?? 'none', weights: path, isMeaningless: false, read, close },
      fingerprint: await fingerprintOf(model, read, description),
      frozen: async (device, keep) => await freeze(model, { keep }).load(device, read),
    }
  } catch (error) {
    opened.close()
    throw error
  }
}

async function openPretrained(name: PretrainedName, options: OpenBaseOptions): Promise<PretrainedBase> {
  const { size, weights, withTop = false } = options
  const { build, ...usual } = pretrained[name]
  const preprocessing = options.preprocessing ?? usual.preprocessing
  const model = build({ size: size ?? usual.sizes.usual, includeTop: withTop })
  const { title } = zoo[name]
  const frozen =
    (read: ReadWeight) =>
    async (device: Device, keep: readonly string[]): Promise<Model> =>
      await freeze(model, { keep }).load(device, read)
  if (weights === hashedWeights) {
    const read = hashedReader(hashedGains[name])
    const facts = { name, title, model, preprocessing, weights, fingerprint: hashedWeights, isMeaningless: true, read }
    return { ...facts, frozen: frozen(read), close: () => undefined }
  }
  const path = await weightsPath(name, options)
  const file = await openWeightFile(path)
  try {
    const { read } = assignWeights(model, file)
    const fingerprint = await fingerprintOf(model, read)
    const facts = { name, title, model, preprocessing, weights: path, fingerprint, isMeaningless: false, read }
    return { ...facts, frozen: frozen(read), close: () => file.close() }
  } catch (error) {
    file.close()
    throw error
  }
}

/** Whether the error is about missing weights, which commands report as a usage error. */
export function areWeightsMissing(error: unknown): boolean {
  return error instanceof WeftgradError && error.details.weightsMissing === true
}

async function weightsPath(
  name: PretrainedName,
  { weights, withTop, provision, signal, onNote, onDownload }: OpenBaseOptions,
): Promise<string> {
  try {
    const found = await findWeights(name, {
      ...(weights === null ? {} : { weights }),
      ...(signal === undefined ? {} : { signal }),
      ...(onDownload === undefined ? {} : { onProgress: onDownload }),
      withTop,
      provision,
      log: onNote,
    })
    return found.path
  } catch (error) {
    if (!(error instanceof WeftgradError) || error.code === 'aborted') throw error
    throw new WeftgradError(
      error.code,
      `${error.message} --weights names a file; --weights ${hashedWeights} is a trial run with made-up weights.`,
      { ...error.details, weightsMissing: true },
      error,
    )
  }
}

async function fingerprintOf(model: Model, read: ReadWeight, description = ''): Promise<string> {
  const hash = createHash('sha256').update(description)
  for (const weight of model.weights) {
    const { buffer, byteOffset, byteLength } = await read(weight)
    hash.update(new Uint8Array(buffer, byteOffset, byteLength))
  }
  return `sha256:${hash.digest('hex')}`
}
