/**
 * Finds Fashion-MNIST on this computer or downloads it; needs no root.
 *
 * Looks, in this order, in: the folder the user names; `WEFTGRAD_DATA_DIR`; the Debian package's folder; Keras' cache;
 * weftgrad's cache. Then it downloads the published files; then, on Debian and Ubuntu, it unpacks the package
 * `dataset-fashion-mnist` from the system's mirror. Downloads are kept in weftgrad's cache, in compressed form.
 *
 * Promises: outside the user's folders only the published bytes are accepted, by SHA-256; inside, other well-formed data of
 * 28x28 is accepted too, and logged. A failure leaves no partial file and lists what was tried.
 */

import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { downloadWhole } from '../format/download.ts'
import { gunzip, isGzip } from '../format/gzip.ts'
import { readHostFile } from '../format/host-file.node.ts'
import { proxiedFetch } from '../format/proxy.node.ts'
import type { Device } from '../gpu/device.ts'
import { openPrivateApt, type PrivateApt } from '../gpu/node/apt.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { requireTrusted } from '../gpu/node/trust.ts'
import { aFlag, aFunction, anObject, aSignal, aString, checkOptions, oneOf } from '../options.ts'
import type { ImageDataset } from './dataset.ts'
import { residentImages } from './dataset.ts'
import {
  type FashionMnistBytes,
  type FashionMnistPart,
  fashionMnistAddresses,
  fashionMnistFiles,
  fashionMnistParts,
  isPublishedFashionMnist,
  type LabelledImages,
  parseFashionMnist,
  parseFashionMnistCsv,
} from './fashion-mnist.ts'

/** Where to look for the data, and whether to download it. */
export interface LoadFashionMnistOptions {
  /** The only folder to look in (`--data-dir`): nothing else is searched or downloaded. */
  readonly dataDir?: string | undefined
  /** How to treat CSV rows with missing cells; see `parseLabelledCsv`. */
  readonly missing?: 'refuse' | 'drop' | undefined
  /** Receives a line when something is downloaded, skipped, or not the published data. */
  readonly log?: ((line: string) => void) | undefined
  /** Whether to download missing data; true unless `WEFTGRAD_NO_SETUP=1`. */
  readonly provision?: boolean | undefined
  /** Stops the search and the download with 'aborted'. */
  readonly signal?: AbortSignal | undefined
  /**
   * Where to look and how to download; tests use their own.
   * @internal
   */
  readonly surroundings?: Partial<FashionMnistSurroundings> | undefined
}

export interface FashionMnistSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Undefined if the user has none, as in some containers. */
  readonly home: string | undefined
  /** The folder of the Debian package's files. */
  readonly systemFolder: string
  /** weftgrad's own cache. */
  readonly cache: string
  readonly addresses: readonly string[]
  /** Undefined for the usual one, which uses the proxy in the environment, if any. */
  readonly fetch: typeof globalThis.fetch | undefined
  readonly openApt: (folder: string) => Promise<Pick<PrivateApt, 'candidate' | 'unpack'>>
}

/** Fashion-MNIST, and its origin. */
export interface LoadedFashionMnist extends FashionMnistBytes {
  /** The folder that the data was read from. */
  readonly folder: string
  /** Whether this is exactly the published data; always false for a CSV. */
  readonly published: boolean
}

const packageName = 'dataset-fashion-mnist'
const systemFolder = '/usr/share/datasets/fashion-mnist'
const stagingPrefix = '.fashion-mnist-'
const csvNames = { train: 'fashion-mnist_train.csv', test: 'fashion-mnist_test.csv' } as const

/** The largest of the four files has 26 MB compressed, the Kaggle CSV 133 MB; a larger file is something else. */
const largestFileBytes = 2 ** 30
const largestDownloadBytes = 64 * 2 ** 20

/**
 * Fashion-MNIST on a device: `loadFashionMnist`, then `residentImages` of both halves. The caller owns them.
 * @throws WeftgradError as {@link loadFashionMnist} and `residentImages`.
 */
export async function fashionMnist(
  device: Device,
  options: LoadFashionMnistOptions = {},
): Promise<{
  /** 60,000 images. */
  readonly train: ImageDataset
  /** 10,000 images. */
  readonly test: ImageDataset
}> {
  const { train, test } = await loadFashionMnist(options)
  return { train: residentImages(device, train), test: residentImages(device, test) }
}

/**
 * Fashion-MNIST as bytes in memory.
 * @throws WeftgradError 'fetch' if it is not found and cannot be downloaded; 'file' if `dataDir` does not hold it; 'format',
 * 'data' or 'checksum' if the data in a user's folder is damaged; 'aborted' if the signal fired.
 */
export async function loadFashionMnist(options: LoadFashionMnistOptions = {}): Promise<LoadedFashionMnist> {
  checkOptions('fashionMnist', options, {
    ...{ dataDir: aString, missing: oneOf('refuse', 'drop'), log: aFunction, provision: aFlag, signal: aSignal },
    surroundings: anObject,
  })
  const here = surroundingsOf(options)
  const log = options.log ?? (() => {})
  const missing = options.missing ?? 'refuse'

  if (options.dataDir !== undefined) {
    const place: Place = { folder: resolve(options.dataDir), title: 'the data folder', own: true }
    const found = await readPlace(place, missing, log)
    if (typeof found !== 'string') return found
    throw new WeftgradError('file', `No Fashion-MNIST in ${place.folder}: ${found}. ${whatToProvide}`, {
      folder: place.folder,
    })
  }

  const tried: string[] = []
  for (const place of usualPlaces(here)) {
    if (options.signal?.aborted) {
      throw new WeftgradError('aborted', 'Loading Fashion-MNIST was aborted.', {}, options.signal.reason)
    }
    try {
      const found = await readPlace(place, missing, log)
      if (typeof found !== 'string') return found
      tried.push(`${place.folder} (${found})`)
      if (place.own) log(`No Fashion-MNIST in ${place.title}: ${found}. Trying other places.`)
    } catch (error) {
      // Data in a folder that the user named is never silently replaced; a damaged cache is.
      if (place.own || !(error instanceof WeftgradError)) throw error
      tried.push(`${place.folder} (damaged)`)
      log(`Skipping ${place.title}: ${error.message}`)
    }
  }

  if (options.provision ?? here.env.WEFTGRAD_NO_SETUP !== '1') return await fetchFashionMnist(here, tried, options)
  throw nowhere(tried, ['downloads are switched off (WEFTGRAD_NO_SETUP=1, or provision: false)'])
}

// Looking

interface Place {
  readonly folder: string
  readonly title: string
  /** Named by the user: data other than the published is accepted, and damage is an error. */
  readonly own: boolean
}

function usualPlaces({ env, home, systemFolder, cache }: FashionMnistSurroundings): Place[] {
  const named = env.WEFTGRAD_DATA_DIR
  const keras = env.KERAS_HOME || (home ? join(home, '.keras') : undefined)
  return [
    ...(named ? [{ folder: resolve(named), title: `WEFTGRAD_DATA_DIR (${resolve(named)})`, own: true }] : []),
    { folder: systemFolder, title: systemFolder, own: false },
    ...(keras ? [{ folder: join(keras, 'datasets', 'fashion-mnist'), title: "Keras' cache", own: false }] : []),
    { folder: join(cache, 'fashion-mnist'), title: "weftgrad's cache", own: false },
  ]
}

/** The data of a place, or why there is none. Throws WeftgradError for damaged data. */
async function readPlace(
  place: Place,
  missing: 'refuse' | 'drop',
  log: (line: string) => void,
): Promise<LoadedFashionMnist | string> {
  // In a user's folder, also the subfolders of torchvision and of an unpacked archive.
  const below = place.own ? ['', 'fashion-mnist', join('FashionMNIST', 'raw')] : ['']
  let reason = 'no such folder'
  for (const folder of below.map((path) => join(place.folder, path))) {
    const names = await namesIn(folder)
    if (names === undefined) continue
    const idx = fashionMnistParts.map((part) => idxNames(part).find((name) => names.has(name)))
    const [trainImages, trainLabels, testImages, testLabels] = idx
    if (trainImages && trainLabels && testImages && testLabels) {
      return await readIdxFiles(place, folder, { trainImages, trainLabels, testImages, testLabels }, log)
    }
    const csv = [csvNames.train, csvNames.test].map((name) => [name, `${name}.gz`].find((n) => names.has(n)))
    const [train, test] = csv
    if (place.own && train && test) return await readCsvFiles(folder, train, test, missing, log)

    const absentParts = fashionMnistParts.filter((_, i) => idx[i] === undefined)
    if (absentParts.length < 4) reason = `${absentParts.map((p) => fashionMnistFiles[p].name).join(', ')} missing`
    else if (train || test) reason = `${train ? csvNames.test : csvNames.train} missing`
    else if (reason === 'no such folder') reason = 'none of its files found'
  }
  return reason
}

async function readIdxFiles(
  place: Place,
  folder: string,
  names: Readonly<Record<FashionMnistPart, string>>,
  log: (line: string) => void,
): Promise<LoadedFashionMnist> {
  const read = async (part: FashionMnistPart): Promise<Uint8Array> => {
    const path = join(folder, names[part])
    const bytes = readHostFile(path, largestFileBytes)
    return isGzip(bytes)
      ? await gunzip(bytes, { source: path, ...(place.own ? {} : { maxBytes: sizeOf(part) }) })
      : bytes
  }
  const [trainImages, trainLabels, testImages, testLabels] = await Promise.all([
    read('trainImages'),
    read('trainLabels'),
    read('testImages'),
    read('testLabels'),
  ])
  const files = { trainImages, trainLabels, testImages, testLabels }
  const checks = await Promise.all(fashionMnistParts.map((part) => isPublishedFashionMnist(part, files[part])))
  const others = fashionMnistParts.filter((_, i) => !checks[i]).map((part) => names[part])
  if (others.length > 0 && !place.own) throw notPublished(join(folder, others[0] ?? ''))

  const sources = Object.fromEntries(fashionMnistParts.map((part) => [part, join(folder, names[part])]))
  const parsed = parseFashionMnist(files, { anyCount: place.own, sources })
  if (others.length > 0) {
    log(
      `${folder} does not hold the published Fashion-MNIST (${others.join(', ')} differ${others.length === 1 ? 's' : ''}): ` +
        `using its ${parsed.train.count} training and ${parsed.test.count} test images unchanged.`,
    )
  }
  return { ...parsed, folder, published: others.length === 0 }
}

async function readCsvFiles(
  folder: string,
  trainName: string,
  testName: string,
  missing: 'refuse' | 'drop',
  log: (line: string) => void,
): Promise<LoadedFashionMnist> {
  const read = (name: string): Promise<LabelledImages> => readFashionMnistCsv(join(folder, name), { missing, log })
  return { train: await read(trainName), test: await read(testName), folder, published: false }
}

/**
 * Labelled images of Kaggle's CSV, plain or .gz; see `parseLabelledCsv` for `missing`.
 * @throws WeftgradError 'file' if it cannot be read, 'format' naming the lines that are wrong.
 */
export async function readFashionMnistCsv(
  path: string,
  { missing, log }: Pick<LoadFashionMnistOptions, 'missing' | 'log'> = {},
): Promise<LabelledImages & { readonly droppedLines: readonly number[] }> {
  const bytes = readHostFile(path, largestFileBytes)
  const csv = isGzip(bytes) ? await gunzip(bytes, { source: path }) : bytes
  const read = parseFashionMnistCsv(csv, { missing: missing ?? 'refuse', source: path })
  const { droppedLines } = read
  if (droppedLines.length > 0) {
    const lines = droppedLines.slice(0, 5).join(', ') + (droppedLines.length > 5 ? ', ...' : '')
    log?.(`${path}: dropped ${droppedLines.length} rows with missing cells (lines ${lines}).`)
  }
  return read
}

/** The file names of a part, the published one first. */
function idxNames(part: FashionMnistPart): string[] {
  const { name } = fashionMnistFiles[part]
  const stem = name.replace(/-idx\d-ubyte$/, '')
  const dotted = name.replace('-idx', '.idx')
  const plain = [name, dotted, `${name}.idx`, `${stem}.idx`, name.replace(/-ubyte$/, '')]
  return plain.flatMap((variant) => [variant, `${variant}.gz`])
}

/** The length of a part's decompressed file: header and values. */
function sizeOf(part: FashionMnistPart): number {
  const { shape } = fashionMnistFiles[part]
  return shape.reduce((product, extent) => product * extent, 1) + 4 + 4 * shape.length
}

async function namesIn(folder: string): Promise<Set<string> | undefined> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return new Set(entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name))
  } catch {
    return undefined
  }
}

// Fetching

async function fetchFashionMnist(
  here: FashionMnistSurroundings,
  tried: readonly string[],
  options: LoadFashionMnistOptions,
): Promise<LoadedFashionMnist> {
  const log = options.log ?? (() => {})
  const folder = join(here.cache, 'fashion-mnist')
  const ways = [
    ...here.addresses.map((address) => ({
      title: `downloading from ${address}`,
      run: () => downloadFrom(address, here, options.signal),
    })),
    { title: `unpacking the Debian package ${packageName}`, run: () => fetchPackage(here) },
  ]
  const failures: string[] = []
  for (const { title, run } of ways) {
    const why = failures.length === 0 ? 'Fashion-MNIST is not on this computer yet' : `That failed (${failures.at(-1)})`
    log(`${why}: ${title} (31 MB) into ${folder}.`)
    let compressed: PartBytes
    let files: PartBytes
    try {
      compressed = await run()
      files = await verified(compressed)
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'aborted') throw error
      failures.push(withoutStop(error))
      continue
    }
    // Parsed before it is stored. If the cache is not writable, only the next run has to download again.
    const parsed = parseFashionMnist(files)
    try {
      for (const part of fashionMnistParts) {
        await writeFileAtomic(join(folder, `${fashionMnistFiles[part].name}.gz`), compressed[part])
      }
    } catch (error) {
      log(`Fashion-MNIST was downloaded but cannot be stored: ${withoutStop(error)}.`)
    }
    return { ...parsed, folder, published: true }
  }
  throw nowhere(tried, failures)
}

type PartBytes = Readonly<Record<FashionMnistPart, Uint8Array>>

async function partsFrom(read: (part: FashionMnistPart) => Promise<Uint8Array>): Promise<PartBytes> {
  // One after the other, the largest first: an unreachable server fails once, not four times.
  return {
    trainImages: await read('trainImages'),
    trainLabels: await read('trainLabels'),
    testImages: await read('testImages'),
    testLabels: await read('testLabels'),
  }
}

async function verified(compressed: PartBytes): Promise<PartBytes> {
  return await partsFrom(async (part) => {
    const source = `${fashionMnistFiles[part].name}.gz`
    const bytes = await gunzip(compressed[part], { source, maxBytes: sizeOf(part) })
    if (!(await isPublishedFashionMnist(part, bytes))) throw notPublished(source)
    return bytes
  })
}

async function downloadFrom(
  address: string,
  { fetch }: FashionMnistSurroundings,
  signal: AbortSignal | undefined,
): Promise<PartBytes> {
  return await partsFrom(async (part) => {
    const url = `${address}${fashionMnistFiles[part].name}.gz`
    const options = { maxBytes: largestDownloadBytes, signal, fetch: fetch ?? (await proxiedFetch()) }
    return await downloadWhole(url, options)
  })
}

/** The package's files, through a private apt in a temporary folder. Throws CommandFailed or WeftgradError. */
async function fetchPackage({ cache, openApt }: FashionMnistSurroundings): Promise<PartBytes> {
  await mkdir(cache, { recursive: true, mode: 0o700 })
  // apt's configuration is written there.
  requireTrusted(cache)
  await removeAbandoned(cache)
  const staging = await mkdtemp(join(cache, stagingPrefix))
  try {
    const apt = await openApt(join(staging, 'apt'))
    const version = await apt.candidate(packageName)
    if (version === undefined) throw new WeftgradError('fetch', `no mirror offers ${packageName}`)
    const tree = join(staging, 'tree')
    await apt.unpack([{ name: packageName, version }], tree)
    return await partsFrom(async (part) =>
      readHostFile(join(tree, systemFolder, `${fashionMnistFiles[part].name}.gz`), largestFileBytes),
    )
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** Removes staging folders of killed runs; one in use is younger than an hour. */
async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith(stagingPrefix)) continue
    const path = join(cache, name)
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > 3_600_000) await rm(path, { recursive: true, force: true })
  }
}

// Saying what went wrong

const whatToProvide =
  `Put ${fashionMnistParts.map((part) => fashionMnistFiles[part].name).join(', ')} (plain or .gz), or Kaggle's ` +
  `${csvNames.train} and ${csvNames.test}, into a folder, and give it with --data-dir or WEFTGRAD_DATA_DIR.`

function nowhere(tried: readonly string[], failures: readonly string[]): WeftgradError {
  return new WeftgradError(
    'fetch',
    `Fashion-MNIST was not found and could not be downloaded. Looked in ${tried.join(', ')}; ${failures.join('; ')}. ${whatToProvide}`,
    { tried, failures },
  )
}

function notPublished(path: string): WeftgradError {
  return new WeftgradError(
    'checksum',
    `${path} does not hold the published bytes (its SHA-256 differs). Delete it, or give its folder with --data-dir to use this data.`,
    { path },
  )
}

/** A message as part of a longer sentence. */
function withoutStop(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/\.$/, '')
}

function surroundingsOf({ surroundings = {} }: LoadFashionMnistOptions): FashionMnistSurroundings {
  return {
    env: surroundings.env ?? process.env,
    home: 'home' in surroundings ? surroundings.home : homeOrUndefined(),
    systemFolder: surroundings.systemFolder ?? systemFolder,
    cache: surroundings.cache ?? cacheFolder(),
    addresses: surroundings.addresses ?? fashionMnistAddresses,
    fetch: surroundings.fetch,
    openApt: surroundings.openApt ?? openPrivateApt,
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
