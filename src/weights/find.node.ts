/**
 * Finds a network's weights on this computer or downloads them. Looks, in this order, at: the file the user names;
 * `WEFTGRAD_WEIGHTS_DIR`; Keras' cache; weftgrad's cache. What is downloaded is kept in weftgrad's cache.
 *
 * Promises: only downloads are checked against the published checksum; an existing file is found by its name, and
 * `loadWeights` checks whether it fits.
 */

import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { aFlag, aFunction, aNumber, anObject, aSignal, aString, checkOptions, checkValue } from '../options.ts'
import { type DownloadFileOptions, downloadFile } from './download.node.ts'
import { publishedOf } from './published.ts'
import { classIndexFile, type PublishedFile } from './zoo.ts'

/** The place where a file was found. */
export type WeightsPlace = 'named' | 'WEFTGRAD_WEIGHTS_DIR' | "Keras' cache" | "weftgrad's cache" | 'downloaded'

/** A file on this computer. */
export interface FoundFile {
  /** Absolute path. */
  readonly path: string
  /** The place where it was found. */
  readonly place: WeightsPlace
}

export interface WeightsSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Undefined if the user has none, as in some containers. */
  readonly home: string | undefined
  /** weftgrad's own cache. */
  readonly cache: string
}

export interface LookUpOptions {
  /** Whether to include the top, the 1000 classes of ImageNet; false by default. */
  readonly withTop?: boolean | undefined
  /**
   * Where to look; tests use their own.
   * @internal
   */
  readonly surroundings?: Partial<WeightsSurroundings> | undefined
}

/** Where to look for weights, and whether to download them. */
export interface FindWeightsOptions extends LookUpOptions, DownloadFileOptions {
  /** The file to use (`--weights`): nothing else is searched or downloaded. */
  readonly weights?: string | undefined
  /** Whether to download missing files; true unless `WEFTGRAD_NO_SETUP=1`. */
  readonly provision?: boolean | undefined
  /** Receives a line when something is downloaded. */
  readonly log?: ((line: string) => void) | undefined
}

const lookUpKinds = {
  ...{ provision: aFlag, log: aFunction, surroundings: anObject, fetch: aFunction, signal: aSignal },
  ...{ answerMs: aNumber, stallMs: aNumber, onProgress: aFunction },
}

/**
 * Finds a network's weights, and downloads them if needed.
 * @param network one of the zoo, or another whose weights Keras publishes, such as `efficientnetb0`.
 * @throws WeftgradError 'argument' for another name; 'file' if the named file does not exist; 'fetch', with how to get them, if
 * the weights are not found and cannot or may not be downloaded; else as `downloadFile`.
 */
export async function findWeights(network: string, options: FindWeightsOptions = {}): Promise<FoundFile> {
  checkOptions('find', options, { ...lookUpKinds, weights: aString, withTop: aFlag })
  checkValue('find: the network', network, aString)
  const { name, title, files } = publishedOf(network)
  const { weights, withTop = false } = options
  if (weights !== undefined) {
    const path = resolve(weights)
    if (await exists(path)) return { path, place: 'named' }
    throw new WeftgradError('file', `${path} does not exist. Check the path of the weights file.`, { path })
  }
  const file = withTop ? files.withTop : files.base
  const command = `weftgrad weights get ${name}${withTop ? ' --top' : ''}`
  return await find(file, `the weights of ${title}`, command, options)
}

/**
 * Finds the file of ImageNet's class names, for `nn.decodePredictions`, and downloads it if needed.
 * @throws WeftgradError as `find`.
 */
export async function findClassIndex(
  options: Omit<FindWeightsOptions, 'weights' | 'withTop'> = {},
): Promise<FoundFile> {
  checkOptions('findClassIndex', options, lookUpKinds)
  return await find(classIndexFile, "the names of ImageNet's classes", undefined, options)
}

/** Finds a network's weights; undefined if they are not on this computer. */
export async function lookUpWeights(
  network: string,
  { withTop = false, surroundings }: LookUpOptions = {},
): Promise<FoundFile | undefined> {
  return await lookUp(publishedOf(network).files[withTop ? 'withTop' : 'base'], surroundingsOf(surroundings))
}

async function lookUp({ name }: PublishedFile, here: WeightsSurroundings): Promise<FoundFile | undefined> {
  for (const { folder, place } of placesOf(here)) {
    const path = join(folder, name)
    if (await exists(path)) return { path, place }
  }
  return undefined
}

async function find(
  file: PublishedFile,
  what: string,
  command: string | undefined,
  { surroundings, provision, log = () => {}, ...options }: FindWeightsOptions,
): Promise<FoundFile> {
  const here = surroundingsOf(surroundings)
  const found = await lookUp(file, here)
  if (found !== undefined) return found
  if (!(provision ?? here.env.WEFTGRAD_NO_SETUP !== '1')) {
    const looked = placesOf(here).map(({ folder }) => folder)
    const how = command === undefined ? '' : `Download them with \`${command}\`. `
    throw new WeftgradError('fetch', `${capital(what)} are not in ${looked.join(', ')}. ${how}${byHand(file)}`, {
      looked,
      url: file.url,
    })
  }
  const folder = cachedIn(here)
  const size = file.bytes === undefined ? '' : ` (${(file.bytes / 1e6).toFixed(1)} MB)`
  log(`${capital(what)} are not on this computer yet: downloading ${file.url}${size} into ${folder}.`)
  try {
    return { path: await downloadFile(file, folder, options), place: 'downloaded' }
  } catch (error) {
    if (!(error instanceof WeftgradError) || error.code !== 'fetch') throw error
    throw new WeftgradError('fetch', `${error.message} ${byHand(file)}`, error.details, error)
  }
}

function byHand({ name, url }: PublishedFile): string {
  return `By hand: put ${name} from ${url} into a folder and set WEFTGRAD_WEIGHTS_DIR to that folder.`
}

function placesOf(here: WeightsSurroundings): readonly { readonly folder: string; readonly place: WeightsPlace }[] {
  const { env, home } = here
  const named = env.WEFTGRAD_WEIGHTS_DIR
  const keras = env.KERAS_HOME || (home ? join(home, '.keras') : undefined)
  return [
    ...(named ? [{ folder: resolve(named), place: 'WEFTGRAD_WEIGHTS_DIR' as const }] : []),
    ...(keras ? [{ folder: join(resolve(keras), 'models'), place: "Keras' cache" as const }] : []),
    { folder: cachedIn(here), place: "weftgrad's cache" },
  ]
}

const cachedIn = ({ cache }: WeightsSurroundings): string => join(cache, 'weights')

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}

function surroundingsOf(given: Partial<WeightsSurroundings> = {}): WeightsSurroundings {
  return {
    env: given.env ?? process.env,
    home: 'home' in given ? given.home : homeOrUndefined(),
    cache: given.cache ?? cacheFolder(),
  }
}

/** `homedir()` throws for a user id without a passwd entry. */
function homeOrUndefined(): string | undefined {
  try {
    return homedir() || undefined
  } catch {
    return undefined
  }
}
