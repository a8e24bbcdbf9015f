/**
 * Frozen features on disk. A folder a set of features, named by a hash of all that they depend on (network, weights,
 * data, size, layers, pooling, preprocessing, the version of this code); in it, shards of some thousand rows, each a
 * safetensors file that says which rows it holds and carries a checksum of them.
 *
 * Promises: a shard is there whole or not at all, so that after a break the next run continues with the next shard; one
 * that is damaged, short or another version's is noticed and computed again. Two runs that need the same features take turns
 * by a lock file; where that fails (a network disk, a lock taken for dead) both make the same shards, and each replaces
 * the other's whole.
 */
import { createHash } from 'node:crypto'
import { stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { ifThere, readHostFile } from '../format/host-file.node.ts'
import { readSafetensors, writeSafetensors } from '../format/safetensors.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { FolderLock, type LockOptions } from '../runs/folder-lock.node.ts'

/** Goes up whenever the same inputs give other features, or shards are written otherwise. */
export const featuresVersion = 1

/** What features depend on. Equal texts of all fields mean equal features. */
export interface FeatureIdentity {
  readonly model: string
  /** A hash of the weights' numbers, or how they are made up. */
  readonly weights: string
  /** `published`, or a hash of all images and labels. */
  readonly data: string
  /** Height and width of the images, in pixels. */
  readonly size: number
  readonly taps: readonly { readonly layer: string; readonly pooling: string }[]
  readonly preprocessing: string
}

/** Which images: a set's parts are numbered by themselves. */
export type FeaturePart = 'train' | 'test'

export interface FeatureShape {
  readonly part: FeaturePart
  /** Rows wanted: features of this many images, from the part's first on. */
  readonly count: number
  /** Numbers in a row. */
  readonly width: number
}

export interface FillOptions {
  /** Computes rows that no shard has. Its time is kept with them. */
  readonly extract: (first: number, count: number) => Promise<Float32Array>
  /** Gets each shard's rows, in any order; the rows are not kept. */
  readonly use: (first: number, rows: Float32Array) => void
  readonly signal?: AbortSignal | undefined
  readonly onNote?: ((line: string) => void) | undefined
  readonly lock?: LockOptions | undefined
}

export interface Filled {
  /** Rows that had to be computed. */
  readonly computed: number
  /** What computing all rows took, whichever run did it; null where a shard does not say. */
  readonly computeSeconds: number | null
}

/** At most this many rows a shard: a break costs no more than computing these again. */
const mostShardRows = 2048
const mostShardBytes = 64 * 2 ** 20

const formatName = 'weftgrad-features'

export class FeatureCache {
  readonly folder: string
  readonly #key: string

  constructor(identity: FeatureIdentity, root: string = join(cacheFolder(), 'features')) {
    const text = JSON.stringify([featuresVersion, ...identityFields(identity)])
    this.#key = createHash('sha256').update(text).digest('hex')
    this.folder = join(root, `${identity.model}-${identity.size}-${this.#key.slice(0, 16)}`)
  }

  /**
   * Hands out all rows, from shards where they are good, and computes and keeps the others. Throws 'file' where the disk
   * refuses, 'aborted', and whatever `extract` throws; the shards written until then stay.
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
      for (const shard of missing) {
        // Another run may have made it while this one waited.
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
   * Hands out the shard's rows if it is there and good. Gives what computing them took, NaN where the shard does not say;
   * undefined where there is no such shard.
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
   * The shard's rows, and their part of the seconds it took; undefined where it has fewer, as an extraction with a limit
   * leaves it; a text where it is no good.
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
    // A file system that does not say is trusted.
    if (blocks === 0 || bavail * bsize >= bytes + spareBytes) return
    const megabytes = (value: number): string => `${Math.ceil(value / 1e6)} MB`
    throw new WeftgradError(
      'file',
      `The features take ${megabytes(bytes)}, and the disk of ${folder} has ${megabytes(bavail * bsize)} free. Free some space, or name another cache folder by WEFTGRAD_CACHE_DIR.`,
      { folder, bytes },
    )
  }
}

/** Left free for everybody else. */
const spareBytes = 100e6

interface Shard {
  readonly index: number
  readonly first: number
  readonly count: number
}

/** Rows of a shard do not depend on how many are wanted, so that a run without a limit continues where one with it ended. */
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
  return createHash('sha256')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex')
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new WeftgradError('aborted', 'Reading the features was stopped.')
}

/** The folder itself, or the first above it that is there. */
async function nearestFolder(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  )
  const above = join(folder, '..')
  return isThere || above === folder ? folder : await nearestFolder(above)
}
