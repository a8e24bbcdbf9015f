/**
 * Provides the features of a task's images: reads them from the cache, or computes and caches them. Prints nothing; a
 * reporter receives events.
 *
 * Promises: options, data and weights are checked before anything is computed; if it stops for any reason, finished
 * shards remain, and the next run continues after them.
 */
import type { Device } from '../gpu/device.ts'
import type { DataFacts } from '../runs/data.ts'
import { openForCommand } from '../runs/device.node.ts'
import type { FeatureSettings } from '../tasks/recipe.ts'
import { type Task, transferDefaults } from '../tasks/task.ts'
import type { RemoteOption } from '../units/executor.node.ts'
import { zooNameIn } from '../weights/zoo.ts'
import { FeatureCache, type FeaturePart } from './feature-cache.node.ts'
import {
  type FeatureImages,
  FeatureSource,
  imagesOf,
  type SourceReporter,
  type SourceWork,
  tapsOf,
} from './feature-source.node.ts'
import { featureColumns, featureWidth } from './features.ts'
import { type FeatureExecutor, featureExecutor, RemoteRows, type ShardSettings } from './features-unit.node.ts'
import { openBase, type PretrainedBase } from './pretrained-base.node.ts'
import type { FeatureFacts } from './result.ts'
import { type ExtractionSettings, featureSettings } from './settings.ts'

export interface FeatureProgress {
  /** Images done so far, and the total. */
  readonly done: number
  readonly total: number
  /** NaN while only the first batch, which compiles, is done; and so is `etaSeconds`. */
  readonly imagesPerSecond: number
  readonly etaSeconds: number
}

/** Receives events; `onNote` at any time. */
export interface FeatureReporter extends SourceReporter {
  onAdapter?(device: Device): void
  onDownload?(bytes: number, totalBytes: number | undefined): void
  onData?(facts: DataFacts): void
  onBase?(base: PretrainedBase): void
  onFeatures?(progress: FeatureProgress): void
}

export interface FeatureJobOptions extends Partial<ExtractionSettings>, RemoteOption {
  /** A pretrained network's name, or the path of a model's file. */
  readonly model: string
  /** The folder to search for the data, and no other. */
  readonly dataDir?: string | undefined
  /** The folder of the features; weftgrad's cache by default. */
  readonly featureDir?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface FeatureReport extends FeatureFacts {
  readonly model: string
  readonly settings: FeatureSettings
  /** Height and width of the images for the network. */
  readonly size: number
  readonly weights: string
  readonly isMeaningless: boolean
  readonly adapter: string
}

/**
 * Makes sure that the features are in the cache.
 * @throws WeftgradError 'argument', 'file', 'data', 'fetch', 'mismatch', 'format', 'no-adapter', 'device-lost', 'aborted'.
 */
export async function extractFeatures(
  task: Task,
  { model, dataDir, featureDir, signal, remote, ...given }: FeatureJobOptions,
  reporter: FeatureReporter = {},
): Promise<FeatureReport> {
  const { limit, ...settings } = featureSettings.resolve(given, { ...transferDefaults(task, model), limit: null })
  const log = (line: string): void => reporter.onNote?.(line)
  const base = await openBase(model, { ...settings, signal, ...hooksOf(reporter) })
  try {
    const taps = tapsOf(settings)
    featureColumns(base.model, taps)
    using device = await openForCommand(log)
    reporter.onAdapter?.(device)
    reporter.onBase?.(base)
    noteEnlarged(task, base, reporter)
    const images = imagesOf(await task.data.load({ dataDir, signal, log }), limit, limit)
    reporter.onData?.(images.facts)
    const executor = featureExecutor(remote, { task, images, device })
    const facts = await fillFeatures({ device, base, images, taps, featureDir, signal, executor }, {}, reporter)
    const { weights, isMeaningless } = base
    return { model, settings, size: sizeOf(base), weights, isMeaningless, adapter: device.facts.driver, ...facts }
  } finally {
    base.close()
  }
}

/** The height of the images that a base takes. */
export function sizeOf({ model }: PretrainedBase): number {
  return model.inputShape[0] ?? 0
}

/** Notes that pictures were read smaller than a model's file takes them. */
export function noteEnlarged({ data }: Task, base: PretrainedBase, { onNote }: FeatureReporter): void {
  const size = sizeOf(base)
  if (data.option !== '--images' || data.image.height >= size) return
  onNote?.(
    `The pictures are read at ${data.image.height} pixels and enlarged: --size ${size} reads them as ${base.title} takes them.`,
  )
}

/** The reporter's hooks for opening a base. */
export function hooksOf(reporter: FeatureReporter) {
  return {
    onNote: (line: string): void => reporter.onNote?.(line),
    onDownload: (bytes: number, totalBytes: number | undefined): void => reporter.onDownload?.(bytes, totalBytes),
  }
}

export interface FeatureWork extends SourceWork {
  readonly images: FeatureImages
  readonly featureDir?: string | undefined
  /** Who computes missing features; this process by default. */
  readonly executor?: FeatureExecutor | undefined
}

/** Receivers of each part's rows: the index of the first row, then the rows. */
export type FeatureSinks = Partial<Readonly<Record<FeaturePart, (first: number, rows: Float32Array) => void>>>

/**
 * Reads or computes the features of all images and passes them on. Throws as `FeatureCache.fill`, 'limit', 'device'.
 */
export async function fillFeatures(
  work: FeatureWork,
  sinks: FeatureSinks,
  reporter: FeatureReporter = {},
): Promise<FeatureFacts> {
  const { base, images, taps, signal } = work
  const width = featureWidth(featureColumns(base.model, taps))
  const identity = {
    model: base.name,
    weights: base.fingerprint,
    data: images.fingerprint,
    size: sizeOf(base),
    taps,
    preprocessing: base.preprocessing,
  }
  const cache = new FeatureCache(identity, work.featureDir)
  const total = images.facts.train + images.facts.test
  const meter = new Meter(total, (progress) => reporter.onFeatures?.(progress))
  using source = new FeatureSource(work, reporter)
  const counts = { train: images.facts.train, test: images.facts.test }
  const remote = remoteRows(work, { size: identity.size, counts, width }, reporter)
  let arrived = 0
  let computed = 0
  let computeSeconds: number | null = 0
  for (const part of ['train', 'test'] as const) {
    const count = images.facts[part]
    const filled = await cache.fill(
      { part, count, width },
      {
        onMissing: async (ranges) =>
          await remote?.order(part, ranges, (done, imagesPerSecond) => {
            arrived += done
            const etaSeconds = (total - arrived) / imagesPerSecond
            reporter.onFeatures?.({ done: arrived, total, imagesPerSecond, etaSeconds })
          }),
        extract: async (first, rows) => {
          if (remote !== undefined) {
            meter.begin()
            return await remote.rows(part, first, rows)
          }
          const extractor = await source.of(part)
          meter.begin()
          return await extractor.extract(first, rows, { signal, onProgress: (done) => meter.during(done) })
        },
        use: (first, rows) => {
          meter.finish(rows.length / width)
          sinks[part]?.(first, rows)
        },
        signal,
        onNote: (line) => reporter.onNote?.(line),
      },
    )
    computed += filled.computed
    computeSeconds =
      computeSeconds === null || filled.computeSeconds === null ? null : computeSeconds + filled.computeSeconds
  }
  const { seconds } = meter
  const imagesPerSecond = computed > 0 ? computed / meter.workSeconds : total / seconds
  const cached = computed === 0
  return { count: total, computed, seconds, computeSeconds, imagesPerSecond, cached, width, folder: cache.folder }
}

/** Rows from elsewhere; undefined if this process computes them. */
function remoteRows(
  { executor, base, taps, signal }: FeatureWork,
  { width, ...shared }: Pick<ShardSettings, 'size' | 'counts'> & { readonly width: number },
  reporter: FeatureReporter,
): RemoteRows | undefined {
  if (executor === undefined) return undefined
  const model = zooNameIn(base.name)
  if (model !== undefined) {
    const { fingerprint: weights, preprocessing } = base
    return new RemoteRows(executor, { ...shared, model, weights, preprocessing, taps }, width, signal)
  }
  reporter.onNote?.("Workers know the published networks only: this process computes the features of a model's file.")
  return undefined
}

/** Measures the rate of computing, from the first image on. */
class Meter {
  readonly #total: number
  readonly #report: (progress: FeatureProgress) => void
  readonly #started = performance.now()
  #workMs = 0
  #computed = 0
  #done = 0
  #shardStarted: number | undefined
  /** The first report: the rate is that of what follows. */
  #rateFrom: { readonly ms: number; readonly computed: number } | undefined

  constructor(total: number, report: (progress: FeatureProgress) => void) {
    this.#total = total
    this.#report = report
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000
  }

  get workSeconds(): number {
    return this.#workMs / 1000
  }

  /** A shard's computation begins. */
  begin(): void {
    this.#shardStarted = performance.now()
  }

  /** Records that `done` of the shard's images are computed. */
  during(done: number): void {
    const ms = this.#workMs + performance.now() - (this.#shardStarted ?? performance.now())
    const computed = this.#computed + done
    this.#rateFrom ??= { ms, computed }
    this.#tell(this.#done + done, (1000 * (computed - this.#rateFrom.computed)) / (ms - this.#rateFrom.ms))
  }

  /** A shard's rows are available, computed or read. */
  finish(rows: number): void {
    this.#done += rows
    if (this.#shardStarted === undefined) return
    this.#workMs += performance.now() - this.#shardStarted
    this.#computed += rows
    this.#shardStarted = undefined
  }

  #tell(done: number, imagesPerSecond: number): void {
    const etaSeconds = (this.#total - done) / imagesPerSecond
    this.#report({ done, total: this.#total, imagesPerSecond, etaSeconds })
  }
}
