/**
 * A shard of features as a unit of work: the features of some consecutive images of one part of the data. And the job's
 * side: it cuts the missing images into shards that take about 20 s, by a measured rate, orders them all, and puts the rows
 * together, in whatever order they arrive.
 */
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { isRecord } from '../format/json.ts'
import { readSafetensors, writeSafetensors } from '../format/safetensors.ts'
import type { Device } from '../gpu/device.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { PreprocessingMode } from '../nn/preprocessing.ts'
import { inLanes } from '../runs/lanes.ts'
import { whole } from '../runs/settings.ts'
import { type FeatureTap, featurePoolings } from '../tasks/feature-taps.ts'
import type { Task } from '../tasks/task.ts'
import type { Executor, Remote } from '../units/executor.node.ts'
import type { UnitKind } from '../units/unit.ts'
import { zooNameOf } from '../weights/zoo.ts'
import type { FeaturePart } from './feature-cache.node.ts'
import { type FeatureImages, FeatureSource, imagesOf } from './feature-source.node.ts'
import { hashedWeights, openBase, type PretrainedBase } from './pretrained-base.node.ts'
import { featureSettings } from './settings.ts'

/** All that a shard depends on, besides the data. */
export interface ShardSettings {
  readonly model: PretrainedName
  /** The fingerprint of the network's weights. */
  readonly weights: string
  readonly size: number
  /** How images are prepared. */
  readonly preprocessing: PreprocessingMode
  readonly taps: readonly FeatureTap[]
  /** Numbers of images in use. */
  readonly counts: Readonly<Record<FeaturePart, number>>
  readonly part: FeaturePart
  readonly first: number
  readonly count: number
}

export interface ShardAnswer {
  /** Seconds of extracting, without preparing the network. */
  readonly seconds: number
}

/** A network on a device, ready for any image of the data. */
export interface ShardGround extends Disposable {
  readonly base: PretrainedBase
  readonly source: FeatureSource
}

const rowsFile = 'rows.safetensors'

/** The most images of a data set; only a bound. */
const mostImages = 2 ** 31

export const featuresKind: UnitKind<ShardSettings, ShardGround, ShardAnswer> = {
  name: 'features',
  files: [rowsFile],
  read(value, _task) {
    const { model, weights, size, preprocessing, taps, counts, part, first, count } = isRecord(value) ? value : {}
    featureSettings.check('size', size)
    featureSettings.check('preprocessing', preprocessing)
    zooNameOf(String(model))
    const isCounts = isRecord(counts) && whole(0, mostImages)(counts.train) && whole(0, mostImages)(counts.test)
    const isShard = whole(0, mostImages)(first) && whole(1, mostImages)(count)
    if (typeof weights !== 'string' || !isTaps(taps) || !isCounts || !isShard || (part !== 'train' && part !== 'test'))
      throw new WeftgradError('format', 'That is not a shard of features.')
    if (Number(first) + Number(count) > Number(counts[part]))
      throw new WeftgradError('format', 'The shard of features has more images than there are.')
    // Every field has been checked.
    return value as unknown as ShardSettings
  },
  isAnswer: (answer): answer is ShardAnswer => isRecord(answer) && typeof answer.seconds === 'number',
  groundKey: ({ part: _, first: __, count: ___, ...shared }) => JSON.stringify(shared),
  async open(_task, { device, data, note }, { model, weights, size, preprocessing, taps, counts }) {
    const own = weights === hashedWeights ? hashedWeights : null
    const base = await openBase(model, { size, preprocessing, weights: own, onNote: note })
    if (base.fingerprint !== weights) {
      base.close()
      throw new WeftgradError(
        'mismatch',
        `The weights of ${model} in ${base.weights} are not the job's: their checksum is another.`,
      )
    }
    const images = imagesOf(data, counts.train, counts.test)
    const source = new FeatureSource({ device, base, images, taps }, { onNote: note })
    const dispose = (): void => {
      source[Symbol.dispose]()
      base.close()
    }
    return { base, source, [Symbol.dispose]: dispose }
  },
  async run({ source }, { part, first, count }, { folder, signal, events }) {
    const extractor = await source.of(part)
    const began = performance.now()
    const rows = await extractor.extract(first, count, {
      signal,
      onProgress: (done) => {
        const imagesPerSecond = (1000 * done) / (performance.now() - began)
        const etaSeconds = (count - done) / imagesPerSecond
        events.onProgress?.({ epoch: 1, epochs: 1, step: done, steps: count, imagesPerSecond, etaSeconds })
      },
    })
    const seconds = (performance.now() - began) / 1000
    const tensor = { dtype: 'F32', shape: [count, extractor.width], data: rows } as const
    await writeFileAtomic(join(folder, rowsFile), writeSafetensors(new Map([['features', tensor]]), {}))
    return { seconds }
  },
}

/** Aimed time of a shard, in seconds: a lost one costs little, and its overhead of some 30 ms is nothing. */
const shardSeconds = 20

/** Images of the shard that measures the rate. */
const probeImages = 64

/** The most rows of a shard. Cached files of features hold this many or more, in powers of two. */
const mostRows = 2048

export type FeatureExecutor = Executor<ShardSettings, ShardAnswer>

type SharedSettings = Omit<ShardSettings, 'part' | 'first' | 'count'>

/** Orders shards elsewhere; undefined without a remote. Workers choose their own kernels. */
export function featureExecutor(
  remote: Remote | undefined,
  { task, images, device }: { readonly task: Task; readonly images: FeatureImages; readonly device: Device },
): FeatureExecutor | undefined {
  return remote?.executor(featuresKind, { task, data: images.fingerprint, driver: device.facts.driver, kernels: {} })
}

/** Rows that others compute: ordered at once, awaited when they are needed. */
export class RemoteRows {
  readonly #executor: FeatureExecutor
  readonly #settings: SharedSettings
  readonly #width: number
  readonly #signal: AbortSignal | undefined
  readonly #rows = new Map<string, Promise<Float32Array>>()
  #size: number | undefined

  constructor(executor: FeatureExecutor, settings: SharedSettings, width: number, signal: AbortSignal | undefined) {
    this.#executor = executor
    this.#settings = settings
    this.#width = width
    this.#signal = signal
  }

  /** Orders the rows of these ranges, which begin at multiples of their powers of two. `onDone` receives each shard's images. */
  async order(
    part: FeaturePart,
    ranges: readonly { readonly first: number; readonly count: number }[],
    onDone: (images: number, imagesPerSecond: number) => void,
  ): Promise<void> {
    const [first] = ranges
    if (first === undefined) return
    this.#size ??= await this.#measure(part, first)
    const size = this.#size
    const shards = ranges.flatMap((range) =>
      Array.from({ length: Math.ceil(range.count / size) }, (_, i) => ({
        first: range.first + i * size,
        count: Math.min(size, range.count - i * size),
      })),
    )
    const started = performance.now()
    let done = 0
    const settlers = new Map<number, { resolve(rows: Float32Array): void; reject(error: unknown): void }>()
    for (const shard of shards) {
      const rows = new Promise<Float32Array>((resolve, reject) => settlers.set(shard.first, { resolve, reject }))
      rows.catch(() => undefined) // awaited where they are needed
      this.#rows.set(`${part} ${shard.first}`, rows)
    }
    void inLanes(shards, { lanes: this.#executor.lanes, signal: this.#signal }, async (shard) => {
      const settler = settlers.get(shard.first)
      try {
        settler?.resolve(await this.#shard(part, shard))
        done += shard.count
        onDone(shard.count, (1000 * done) / (performance.now() - started))
      } catch (error) {
        settler?.reject(error)
      }
    })
  }

  /** The rows of a range that was ordered. Throws what its shards threw. */
  async rows(part: FeaturePart, first: number, count: number): Promise<Float32Array> {
    const all = new Float32Array(count * this.#width)
    for (let at = first; at < first + count; ) {
      const rows = await this.#rows.get(`${part} ${at}`)
      if (rows === undefined) throw new RangeError(`no shard of ${part} begins at ${at}`)
      this.#rows.delete(`${part} ${at}`)
      all.set(rows, (at - first) * this.#width)
      at += rows.length / this.#width
    }
    return all
  }

  async #measure(
    part: FeaturePart,
    { first, count }: { readonly first: number; readonly count: number },
  ): Promise<number> {
    const probe = { ...this.#settings, part, first, count: Math.min(count, probeImages) }
    const { seconds } = await this.#executor.run({ settings: probe, folder: '' }, this.#signal)
    return shardSize(probe.count / seconds)
  }

  async #shard(part: FeaturePart, range: { readonly first: number; readonly count: number }): Promise<Float32Array> {
    const order = { settings: { ...this.#settings, part, ...range }, folder: '' }
    await this.#executor.run(order, this.#signal)
    const bytes = (await this.#executor.files(order)).get(rowsFile)
    const tensor = bytes === undefined ? undefined : readSafetensors(bytes).tensors.get('features')
    if (tensor?.dtype === 'F32' && tensor.data.length === range.count * this.#width) return tensor.data
    throw new WeftgradError('queue', 'A worker left features of another shape.')
  }
}

/** Images of a shard: the power of two nearest to 20 s at this rate, in images per second. */
export function shardSize(imagesPerSecond: number): number {
  const power = Math.round(Math.log2(Math.max(1, shardSeconds * imagesPerSecond)))
  return Math.min(mostRows, Math.max(probeImages, 2 ** power))
}

function isTaps(value: unknown): value is readonly FeatureTap[] {
  const isTap = (one: unknown): boolean =>
    isRecord(one) && typeof one.layer === 'string' && featurePoolings.some((name) => name === one.pooling)
  return Array.isArray(value) && value.length > 0 && value.every(isTap)
}
