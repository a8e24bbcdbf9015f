/**
 * Computes features on this machine: the images, the frozen network and an extractor for each part of the data, made when
 * first needed.
 */
import { type LabelledBytes, residentImages } from '../data/dataset.ts'
import type { Device } from '../gpu/device.ts'
import type { Model } from '../nn/model.ts'
import type { DataFacts, LoadedData } from '../runs/data.ts'
import { firstOf } from '../runs/images.ts'
import { fingerprintOf } from '../runs/job.node.ts'
import { tunedForTasks } from '../runs/tuned-kernels.node.ts'
import type { FeatureTap } from '../tasks/feature-taps.ts'
import type { FeatureSettings } from '../tasks/recipe.ts'
import type { FeaturePart } from './feature-cache.node.ts'
import { extractionTasks, FeatureExtractor } from './features.ts'
import type { PretrainedBase } from './pretrained-base.node.ts'

export function tapsOf({ layers, pool }: Pick<FeatureSettings, 'layers' | 'pool'>): readonly FeatureTap[] {
  return layers.map((layer) => ({ layer, pooling: pool }))
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

/** What features are computed of, with what, and where. */
export interface SourceWork {
  readonly device: Device
  readonly base: PretrainedBase
  readonly images: Readonly<Record<FeaturePart, LabelledBytes>>
  readonly taps: readonly FeatureTap[]
  readonly signal?: AbortSignal | undefined
}

export interface SourceReporter {
  onNote?(line: string): void
  /** See `JobReporter.onWait`. */
  onWait?(what: string): void
  /** See `JobReporter.onDetail`. */
  onDetail?(line: string): void
  /** Features must be computed, `batch` images at a time. */
  onExtract?(batch: number): void
}

/** Computes features; makes the frozen network and an extractor for each part when first needed. */
export class FeatureSource {
  readonly #work: SourceWork
  readonly #reporter: SourceReporter
  readonly #owned: { dispose(): void }[] = []
  readonly #extractors = new Map<FeaturePart, FeatureExtractor>()
  #base: Model | undefined

  constructor(work: SourceWork, reporter: SourceReporter) {
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
