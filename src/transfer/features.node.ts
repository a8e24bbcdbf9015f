/**
 * Provides the features of a task's images: reads them from the cache, or computes and caches them. Prints nothing; a
 * reporter receives events.
 *
 * Promises: options, data and weights are checked before anything is computed; if it stops for any reason, finished
 * shards remain, and the next run continues after them.
 */
import { type LabelledBytes, residentImages } from '../data/dataset.ts'
import type { Device } from '../gpu/device.ts'
import type { Model } from '../nn/model.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { DataFacts, LoadedData } from '../runs/data.ts'
import { openForCommand } from '../runs/device.node.ts'
import { firstOf } from '../runs/images.ts'
import { fingerprintOf } from '../runs/job.node.ts'
import { tunedForTasks } from '../runs/tuned-kernels.node.ts'
import type { FeatureTap } from '../tasks/feature-taps.ts'
import type { FeatureSettings } from '../tasks/recipe.ts'
import { type Task, transferDefaults } from '../tasks/task.ts'
import { FeatureCache, type FeaturePart } from './feature-cache.node.ts'
import { extractionTasks, FeatureExtractor, featureColumns, featureWidth } from './features.ts'
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
export interface FeatureReporter {
  /** Reports a download, something skipped or something unusual. */
  onNote?(line: string): void
  /** See `JobReporter.onWait`. */
  onWait?(what: string): void
  /** See `JobReporter.onDetail`. */
  onDetail?(line: string): void
  onAdapter?(device: Device): void
  onDownload?(bytes: number, totalBytes: number | undefined): void
  onData?(facts: DataFacts): void
  onBase?(base: PretrainedBase): void
  /** Features must be computed, `batch` images at a time. */
  onExtract?(batch: number): void
  onFeatures?(progress: FeatureProgress): void
}

export interface FeatureJobOptions extends Partial<ExtractionSettings> {
  readonly model: PretrainedName
  /** The folder to search for the data, and no other. */
  readonly dataDir?: string | undefined
  /** The folder of the features; weftgrad's cache by default. */
  readonly featureDir?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface FeatureReport extends FeatureFacts {
  readonly model: PretrainedName
  readonly settings: FeatureSettings
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
  { model, dataDir, featureDir, signal, ...given }: FeatureJobOptions,
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
    const images = imagesOf(await task.data.load({ dataDir, signal, log }), limit, limit)
    reporter.onData?.(images.facts)
    const facts = await fillFeatures({ device, base, images, taps, featureDir, signal }, {}, reporter)
    const { weights, isMeaningless } = base
    return { model, settings, weights, isMeaningless, adapter: device.facts.driver, ...facts }
  } finally {
    base.close()
  }
}

export function tapsOf({ layers, pool }: Pick<FeatureSettings, 'layers' | 'pool'>): readonly FeatureTap[] {
  return layers.map((layer) => ({ layer, pooling: pool }))
}

/** The reporter's hooks for opening a base. */
export function hooksOf(reporter: FeatureReporter) {
  return {
    onNote: (line: string): void => reporter.onNote?.(line),
    onDownload: (bytes: number, totalBytes: number | undefined): void => reporter.onDownload?.(bytes, totalBytes),
  }
}

/** The images that features are computed of: the chosen images, and a fingerprint of their files. */
export interface FeatureImages extends Readonly<Record<FeaturePart, LabelledBytes>> {
  readonly fingerprint: string
  readonly facts: DataFacts
}

/** Chooses the images. Undefined and null limits mean all. */
export function imagesOf(
  loaded: LoadedData,
  limitTrain: number | null | undefined,
  limitTest: number | null | undefined,
): FeatureImages {
  const [train, test] = [firstOf(loaded.train, limitTrain), firstOf(loaded.test, limitTest)]
  const { folder, published } = loaded
  const facts = { folder, published, train: train.count, test: test.count, duplicates: 0 }
  return { train, test, fingerprint: fingerprintOf(loaded), facts }
}

export interface FeatureWork {
  readonly device: Device
  readonly base: PretrainedBase
  readonly images: FeatureImages
  readonly taps: readonly FeatureTap[]
  readonly featureDir?: string | undefined
  readonly signal?: AbortSignal | undefined
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
    size: base.model.inputShape[0] ?? 0,
    taps,
    preprocessing: base.preprocessing,
  }
  const cache = new FeatureCache(identity, work.featureDir)
  const total = images.facts.train + images.facts.test
  const meter = new Meter(total, (progress) => reporter.onFeatures?.(progress))
  using source = new FeatureSource(work, reporter)
  let computed = 0
  let computeSeconds: number | null = 0
  for (const part of ['train', 'test'] as const) {
    const count = images.facts[part]
    const filled = await cache.fill(
      { part, count, width },
      {
        extract: async (first, rows) => {
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

/** Computes features; makes the frozen network and an extractor for each part when first needed. */
class FeatureSource {
  readonly #work: FeatureWork
  readonly #reporter: FeatureReporter
  readonly #owned: { dispose(): void }[] = []
  readonly #extractors = new Map<FeaturePart, FeatureExtractor>()
  #base: Model | undefined

  constructor(work: FeatureWork, reporter: FeatureReporter) {
    this.#work = work
    this.#reporter = reporter
  }

  async of(part: FeaturePart): Promise<FeatureExtractor> {
    const made = this.#extractors.get(part)
    if (made !== undefined) return made
    const { device, base, images, taps } = this.#work
    const { preprocessing } = base
    const layers = taps.map(({ layer }) => layer)
    this.#base ??= this.#own(await base.frozen(device, layers))
    const set = this.#own(residentImages(device, images[part]))
    const tasks = extractionTasks(this.#base, set, taps, { preprocessing })
    const budgetMs = set.count < fewestToTuneFor ? 0 : tuningBudgetMs
    const told = {
      note: (line: string) => this.#reporter.onNote?.(line),
      wait: (what: string) => this.#reporter.onWait?.(what),
      detail: (line: string) => this.#reporter.onDetail?.(line),
    }
    const variants = await tunedForTasks(device, tasks, { budgetMs, signal: this.#work.signal }, told)
    const extractor = this.#own(await FeatureExtractor.create(this.#base, set, taps, { preprocessing, variants }))
    if (this.#extractors.size === 0) this.#reporter.onExtract?.(extractor.batch)
    told.wait('Compiling kernels')
    this.#extractors.set(part, extractor)
    return extractor
  }

  #own<T extends { dispose(): void }>(resource: T): T {
    this.#owned.push(resource)
    return resource
  }

  [Symbol.dispose](): void {
    for (const resource of this.#owned) resource.dispose()
  }
}

/** The fewest images for which tuning pays. */
const fewestToTuneFor = 2000
/**
 * Time budget of tuning: a network has some dozen kinds of convolutions, each tried in a fraction of a second; an
 * extraction takes minutes.
 */
const tuningBudgetMs = 15_000
