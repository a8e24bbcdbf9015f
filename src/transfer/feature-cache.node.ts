/**
 * Caches frozen features on disk. Each set of features has a folder, named by a hash of all that it depends on
 * (network, weights, data, size, layers, pooling, preprocessing, the version of this code). It holds shards of some
 * thousand rows, each a safetensors file with the range of its rows and their checksum.
 *
 * Promises: shards are written atomically, so after an interruption the next run continues with the next shard; a shard
 * that is damaged, short or from another version is detected and computed again. Two runs that need the same features
 * take turns by a lock file; if locking fails (a network disk, a lock that looks abandoned), both compute the same
 * shards, and each replaces the other's atomically.
 */

import { stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { ifThere, readHostFile } from '../format/host-file.node.ts'
import { readSafetensors, writeSafetensors } from '../format/safetensors.ts'
import { sha256 } from '../format/sha256.node.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { FolderLock, type LockOptions } from '../runs/folder-lock.node.ts'

/** The version of features; raise it when the same inputs give other features, or the shard format changes. */
export const featuresVersion = 1

/** All that features depend on. Equal fields mean equal features. */
export interface FeatureIdentity {
  readonly model: string
  /** A hash of the weights, or how they are made up. */
  readonly weights: string
  /** `published`, or a hash of all images and labels. */
  readonly data: string
  /** Height and width of the images, in pixels. */
  readonly size: number
  readonly taps: readonly { readonly layer: string; readonly pooling: string }[]
  readonly preprocessing: string
}

/** The part of the data set; each part numbers its own images. */
export type FeaturePart = 'train' | 'test'

export interface FeatureShape {
  readonly part: FeaturePart
  /** Number of rows: features of this many images, from the part's first on. */
  readonly count: number
  /** Numbers per row. */
  readonly width: number
}

export interface FillOptions {
  /** Computes rows that are not in a shard. The shard stores the time it took. */
  readonly extract: (first: number, count: number) => Promise<Float32Array>
  /** Called before anything is computed, with the rows that are missing. */
  readonly onMissing?:
    | ((ranges: readonly { readonly first: number; readonly count: number }[]) => Promise<void>)
    | undefined
  /** Receives each shard's rows, in any order; the rows are not retained. */
  readonly use: (first: number, rows: Float32Array) => void
  readonly signal?: AbortSignal | undefined
  readonly onNote?: ((line: string) => void) | undefined
  readonly lock?: LockOptions | undefined
}

export interface Filled {
  /** Number of rows that were computed. */
  readonly computed: number
  /** Seconds to compute all rows, in whichever run; null if a shard lacks its time. */
  readonly computeSeconds: number | null
}

/** The most rows per shard: an interruption loses at most this many. */
const mostShardRows = 2048
const mostShardBytes = 64 * 2 ** 20

const formatName = 'weftgrad-features'

export class FeatureCache {
  readonly folder: string
  readonly #key: string

  constructor(identity: FeatureIdentity, root: string = join(cacheFolder(), 'features')) {
    const text = JSON.stringify([featuresVersion, ...identityFields(identity)])
    this.#key = sha256(text)
    this.folder = join(root, `${identity.model}-${identity.size}-${this.#key.slice(0, 16)}`)
  }

  /**
   * Passes all rows to `use`: reads valid shards, computes and stores the others. Throws 'file' on disk errors,
   * 'aborted', and what `extract` throws; finished shards remain.
   */
  async fill(shape: FeatureShape, options: FillOptions): Promise<Filled> {
    const missing: Shard[] = []
    let computeSeconds = 0
    for (const shard of shardsOf(shape)) {
      refuseAborted(options.signal)
      const seconds = await this.#useShard(shard, shape, options)
      if (seconds === undefined) missing.push(shard)
      else computeSeconds += seconds
    }
    const filled = (computed: number): Filled => ({
      computed,
      computeSeconds: Number.isNaN(computeSeconds) ? null : computeSeconds,
    })
    if (missing.length === 0) return filled(0)
    await this.#requireSpace(missing.reduce((sum, { count }) => sum + count * shape.width * 4, 0))
    const lock = await FolderLock.acquire(join(this.folder, 'lock'), {
      ...options.lock,
      signal: options.signal,
      onWait: (holder) => options.onNote?.(`Another run (${holder}) is computing these features; waiting for it.`),
    })
    let computed = 0
    try {
      await options.onMissing?.(missing)
      for (const shard of missing) {
        // Another run may have written it while this one waited.
        const theirs = await this.#useShard(shard, shape, { ...options, onNote: undefined })
        if (theirs !== undefined) {
          computeSeconds += theirs
          continue
        }
        const began = performance.now()
        const rows = await options.extract(shard.first, shard.count)
        const seconds = (performance.now() - began) / 1000
        await writeFileAtomic(this.#pathOf(shape.part, shard), this.#encode(shape, shard, rows, seconds))
        computed += shard.count
        computeSeconds += seconds
        options.use(shard.first, rows)
      }
    } finally {
      await lock.release()
    }
    return filled(computed)
  }

  /**
   * Passes on the shard's rows if it is valid. Returns the seconds they took to compute, NaN if unknown; undefined if
   * there is no such shard.
   */
  async #useShard(shard: Shard, shape: FeatureShape, { use, onNote }: FillOptions): Promise<number | undefined> {
    const path = this.#pathOf(shape.part, shard)
    const bytes = ifThere(() => readHostFile(path, 2 * mostShardBytes))
    if (bytes === undefined) return undefined
    const decoded = this.#decode(bytes, shape, shard)
    if (typeof decoded === 'string') onNote?.(`${path} ${decoded}: its features are computed again.`)
    if (decoded === undefined || typeof decoded === 'string') return undefined
    use(shard.first, decoded.rows)
    return decoded.seconds
  }

  #pathOf(part: FeaturePart, { index }: Shard): string {
    return join(this.folder, `${part}-${String(index).padStart(5, '0')}.safetensors`)
  }

  #encode({ part, width }: FeatureShape, { first, count }: Shard, rows: Float32Array, seconds: number): Uint8Array {
    const features = { dtype: 'F32', shape: [count, width], data: rows } as const
    return writeSafetensors(new Map([['features', features]]), {
      format: formatName,
      version: String(featuresVersion),
      key: this.#key,
      part,
      first: String(first),
      seconds: String(seconds),
      sha256: checksumOf(rows),
    })
  }

  /**
   * Decodes the shard: its rows and their share of its seconds; undefined if it has too few rows, as after an
   * extraction with a limit; a problem as text if it is invalid.
   */
  #decode(
    bytes: Uint8Array,
    { part, width }: FeatureShape,
    { first, count }: Shard,
  ): { readonly rows: Float32Array; readonly seconds: number } | string | undefined {
    let file: ReturnType<typeof readSafetensors>
    try {
      file = readSafetensors(bytes)
    } catch (error) {
      if (error instanceof WeftgradError) return 'is damaged'
      throw error
    }
    const { metadata, tensors } = file
    if (metadata.format !== formatName || metadata.version !== String(featuresVersion))
      return 'was written by another version of weftgrad'
    const features = tensors.get('features')
    const isOurs = metadata.key === this.#key && metadata.part === part && metadata.first === String(first)
    if (!isOurs || features?.dtype !== 'F32' || features.shape.length !== 2 || features.shape[1] !== width)
      return 'holds other features'
    if (checksumOf(features.data) !== metadata.sha256) return 'is damaged'
    const [rows = 0] = features.shape
    if (rows < count) return undefined
    const seconds = (Number(metadata.seconds) * count) / rows
    return { rows: features.data.subarray(0, count * width), seconds }
  }

  async #requireSpace(bytes: number): Promise<void> {
    const folder = await nearestFolder(this.folder)
    const { bavail, bsize, blocks } = await statfs(folder)
    // File systems that do not report free space are trusted.
    if (blocks === 0 || bavail * bsize >= bytes + spareBytes) return
    const megabytes = (value: number): string => `${Math.ceil(value / 1e6)} MB`
    throw new WeftgradError(
      'file',
      `The features take ${megabytes(bytes)}, but the disk of ${folder} has ${megabytes(bavail * bsize)} free. Free some space, or set WEFTGRAD_CACHE_DIR to another folder.`,
      { folder, bytes },
    )
  }
}

/** Bytes to leave free for others. */
const spareBytes = 100e6

interface Shard {
  readonly index: number
  readonly first: number
  readonly count: number
}

/**
 * Splits the rows into shards. Their boundaries do not depend on the count, so a run without a limit continues where
 * one with a limit ended.
 */
function shardsOf({ count, width }: FeatureShape): readonly Shard[] {
  const rows = Math.max(1, Math.min(mostShardRows, 2 ** Math.floor(Math.log2(mostShardBytes / (width * 4)))))
  return Array.from({ length: Math.ceil(count / rows) }, (_, index) => ({
    index,
    first: index * rows,
    count: Math.min(rows, count - index * rows),
  }))
}

function identityFields({ model, weights, data, size, taps, preprocessing }: FeatureIdentity): readonly unknown[] {
  return [model, weights, data, size, taps.map(({ layer, pooling }) => [layer, pooling]), preprocessing]
}

function checksumOf({ buffer, byteOffset, byteLength }: Float32Array): string {
  return sha256(new Uint8Array(buffer, byteOffset, byteLength))
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new WeftgradError('aborted', 'Reading the features was stopped.')
}

/** The folder itself, or its nearest existing parent. */
async function nearestFolder(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  )
  const above = join(folder, '..')
  return isThere || above === folder ? folder : await nearestFolder(above)
}
