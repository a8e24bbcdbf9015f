/**
 * The job: the whole study, part after part, and its report. Prints nothing; a reporter is told what happens.
 *
 * Promises: a part's result is on the disk, whole, before the next part begins, and parts keep checkpoints of their own;
 * so a study that ended at any moment goes on where it was. Test images decide nothing. Weights that are not to be had
 * leave a network out, with the reason in the report.
 */
import { basename, join, resolve } from 'node:path'
import { type LoadedFashionMnist, loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { encodePng } from '../format/png.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import type { Progress } from '../nn/contract.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { zoo } from '../weights/zoo.ts'
import { crossValidate } from './crossval-run.node.ts'
import { loadEdaData, writeEda } from './eda.node.ts'
import { explore } from './eda.ts'
import type { ErrorAnalysis } from './error-analysis.ts'
import { areWeightsMissing } from './pretrained-base.node.ts'
import type { RecipeName } from './recipes.ts'
import {
  inNewRunFolder,
  readConfig,
  readReport,
  removeFromRun,
  runFiles,
  shown,
  whileAlone,
  writeConfig,
} from './run-folder.node.ts'
import { searchHyperparameters } from './search-run.node.ts'
import { StudyClock, type StudyEstimate, type StudyProgress } from './study-clock.ts'
import { estimateStudy, measureSpeed, type Speed } from './study-estimate.node.ts'
import {
  isBegun,
  readPart,
  readPredictions,
  readStudyConfig,
  type StudyConfig,
  writePart,
} from './study-folder.node.ts'
import type { StudyJobOptions } from './study-job.node.ts'
import { fullPlan, leftOut, quickPlan, type StudyPart, type StudyPlan, studyParts } from './study-plan.ts'
import { type FinishedStudy, reportStudy } from './study-report.node.ts'
import type {
  LenetFinal,
  PartDone,
  PartOutcome,
  StudyOutcomes,
  StudyResults,
  TestPicture,
  TransferFinal,
} from './study-result.ts'
import { fingerprintOf, trainLenet } from './train-lenet.node.ts'
import { trainDefaults } from './train-options.ts'
import type { TransferReport } from './transfer.node.ts'
import { trainTransfer } from './transfer.node.ts'
import { versions } from './versions.node.ts'

export interface StudyOptions {
  readonly quick?: boolean | undefined
  readonly skip?: readonly StudyPart[] | undefined
  readonly seed?: number | undefined
  /** Training images of the pretrained networks at most. */
  readonly transferLimit?: number | undefined
  /** In place of the whole or the quick one, which the options above change. */
  readonly plan?: StudyPlan | undefined
  /** Where to look for Fashion-MNIST; see `loadFashionMnist`. */
  readonly dataDir?: string | undefined
  /** Where features are kept; in weftgrad's cache unless given. */
  readonly featureDir?: string | undefined
  /** The study's folder; `runs/<time>` unless given. */
  readonly out?: string | undefined
  /** The folder of a study to go on with; its plan stands, but for the parts to skip. */
  readonly resume?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface StudyReporter {
  onNote?(line: string): void
  onAdapter?(device: Device): void
  onData?(facts: {
    readonly folder: string
    readonly published: boolean
    readonly train: number
    readonly test: number
  }): void
  /** From now on the study can be resumed. */
  onFolder?(folder: string): void
  /** Of the parts that are left. */
  onEstimate?(estimate: StudyEstimate, speed: Speed): void
  onPartBegin?(part: StudyPart): void
  /** `detail`: what the part is at. */
  onProgress?(progress: StudyProgress, detail: string): void
  /** `isNew`: not that of an earlier process. */
  onPartEnd?<Part extends StudyPart>(part: Part, outcome: PartOutcome<StudyResults[Part]>, isNew: boolean): void
}

/**
 * Runs a study to its end, or goes on with one, and writes its report; of a finished one the report is written anew.
 * @throws WeftgradError 'argument', 'mismatch' (resuming with other settings or data), 'file', 'format', 'data', 'fetch',
 * 'no-adapter', 'device-lost', 'not-finite'; 'aborted' when the signal fired.
 */
export async function runStudy(options: StudyOptions = {}, reporter: StudyReporter = {}): Promise<FinishedStudy> {
  if (options.resume !== undefined) {
    const folder = resolve(options.resume)
    if (options.out !== undefined && resolve(options.out) !== folder)
      throw new WeftgradError(
        'argument',
        '--out cannot be combined with --resume: a resumed study stays in its folder.',
        { out: options.out, resume: options.resume },
      )
    const config = await readStudyConfig(folder)
    refuseOtherPlan(folder, config.settings, options)
    const plan = { ...config.settings, skip: options.skip ?? config.settings.skip }
    return await whileAlone(folder, () => new Study(folder, plan, config, options, reporter).run())
  }
  const plan = planOf(options)
  return await inNewRunFolder(options.out, (folder) => new Study(folder, plan, undefined, options, reporter).run())
}

function planOf({ quick = false, skip, seed, transferLimit, plan = quick ? quickPlan : fullPlan }: StudyOptions) {
  const { transfer } = plan
  const limitTrain = transferLimit ?? transfer.limitTrain
  return { ...plan, skip: skip ?? plan.skip, seed: seed ?? plan.seed, transfer: { ...transfer, limitTrain } }
}

function refuseOtherPlan(folder: string, plan: StudyPlan, { quick, seed, transferLimit }: StudyOptions): void {
  const given = [
    ['--quick', quick, plan.quick],
    ['--seed', seed, plan.seed],
    ['--transfer-limit', transferLimit, plan.transfer.limitTrain],
  ] as const
  const other = given.find(([, value, own]) => value !== undefined && value !== own)
  if (other === undefined) return
  throw new WeftgradError(
    'mismatch',
    `The study in ${shown(folder)} has ${other[0]} ${other[2] ?? 'unset'}, not ${other[1]}. A resumed study keeps its settings: leave the option out, or start a new study.`,
    { setting: other[0] },
  )
}

/** What a part may tell while it runs. */
type Tell = (share: number, detail: string) => void

class Study {
  readonly #folder: string
  readonly #plan: StudyPlan
  readonly #earlier: StudyConfig | undefined
  readonly #options: StudyOptions
  readonly #reporter: StudyReporter
  readonly #note: (line: string) => void

  constructor(
    folder: string,
    plan: StudyPlan,
    earlier: StudyConfig | undefined,
    options: StudyOptions,
    reporter: StudyReporter,
  ) {
    this.#folder = folder
    this.#plan = plan
    this.#earlier = earlier
    this.#options = options
    this.#reporter = reporter
    this.#note = (line) => reporter.onNote?.(line)
  }

  async run(): Promise<FinishedStudy> {
    const { dataDir, signal } = this.#options
    const outcomes: { [Part in StudyPart]?: PartOutcome<unknown> } = {}
    const left: StudyPart[] = []
    for (const part of studyParts) {
      const done = await readPart(this.#folder, part)
      const reason = leftOut(this.#plan, part)
      if (done !== undefined) outcomes[part] = done
      else if (reason !== undefined) outcomes[part] = { state: 'skipped', reason }
      else left.push(part)
    }
    const loaded = await loadFashionMnist({ dataDir, signal, log: this.#note })
    const { config, clock } = await this.#begin(loaded, left)
    for (const part of studyParts) {
      const before = outcomes[part]
      if (before === undefined) outcomes[part] = await this.#runPart(part, clock, outcomes)
      // Each outcome is of its part's type.
      else this.#reporter.onPartEnd?.(part, before as PartOutcome<StudyResults[typeof part]>, false)
    }
    return await reportStudy(this.#folder, config, loaded, outcomes as unknown as StudyOutcomes)
  }

  /** Looks at adapter and data, writes the configuration, and estimates what is left. */
  async #begin(
    loaded: LoadedFashionMnist,
    left: readonly StudyPart[],
  ): Promise<{ config: StudyConfig; clock: StudyClock }> {
    const { folder, published, train, test } = loaded
    using device = await open({ log: this.#note })
    this.#reporter.onAdapter?.(device)
    const fingerprint = fingerprintOf(loaded)
    const earlier = this.#earlier
    if (earlier !== undefined && earlier.data.fingerprint !== fingerprint)
      throw new WeftgradError(
        'mismatch',
        `${folder} holds other data than the study in ${shown(this.#folder)} was started with (those were in ${earlier.data.folder}). Name the folder that has them with --data-dir.`,
        { folder, run: earlier.data },
      )
    const counts = { train: train.count, test: test.count }
    this.#reporter.onData?.({ folder, published, ...counts })
    const { driver, hardware } = device.facts
    if (earlier !== undefined && earlier.adapter.driver !== driver)
      this.#note(`The study was started on ${earlier.adapter.driver}; parts from now on are of ${driver}.`)
    const config: StudyConfig = {
      job: 'study',
      startedAt: earlier?.startedAt ?? new Date().toISOString(),
      settings: this.#plan,
      data: { folder, fingerprint, ...counts, duplicates: 0 },
      adapter: { driver, name: device.info.device, hardware },
      kernels: {},
      versions: versions(),
    }
    await writeConfig(this.#folder, config)
    this.#reporter.onFolder?.(this.#folder)
    if (left.length === 0) return { config, clock: new StudyClock({}) }
    const speed = await measureSpeed(device, train, left, this.#plan, this.#options.signal)
    this.#stopIfAsked()
    const estimate = estimateStudy(this.#plan, left, speed, counts)
    this.#reporter.onEstimate?.(estimate, speed)
    return { config, clock: new StudyClock(estimate) }
  }

  async #runPart(
    part: StudyPart,
    clock: StudyClock,
    outcomes: { readonly [Part in StudyPart]?: PartOutcome<unknown> },
  ): Promise<PartOutcome<unknown>> {
    this.#stopIfAsked()
    this.#reporter.onPartBegin?.(part)
    const resumed = await isBegun(this.#folderOf(part))
    const started = performance.now()
    clock.begin()
    const tell: Tell = (share, detail) => this.#reporter.onProgress?.(clock.progress(part, share), detail)
    try {
      const outcome = await this.#outcomeOf(part, tell, outcomes, () => ({
        state: 'done',
        finishedAt: new Date().toISOString(),
        seconds: (performance.now() - started) / 1000,
        resumed,
      }))
      clock.end(part)
      return outcome
    } catch (error) {
      // Whatever a part ends with after that, it was told to stop.
      throw this.#options.signal?.aborted ? this.#stopped(error) : error
    }
  }

  /** Runs a part and writes its result, but for networks without weights: those are looked for again when resumed. */
  async #outcomeOf(
    part: StudyPart,
    tell: Tell,
    outcomes: { readonly [Part in StudyPart]?: PartOutcome<unknown> },
    made: () => Omit<PartDone<unknown>, 'result'>,
  ): Promise<PartOutcome<unknown>> {
    const keep = async <Part extends StudyPart>(
      name: Part,
      work: Promise<StudyResults[Part]>,
    ): Promise<PartOutcome<StudyResults[Part]>> => {
      const result = await work
      const done: PartDone<StudyResults[Part]> = { ...made(), state: 'done', result }
      await writePart(this.#folder, name, done)
      this.#reporter.onPartEnd?.(name, done, true)
      return done
    }
    // The parts before this one are there.
    const best = bestOf(outcomes as StudyOutcomes)
    switch (part) {
      case 'eda':
        return await keep(part, this.#eda(tell))
      case 'tune':
        return await keep(part, this.#tune(tell))
      case 'crossval':
        return await keep(part, this.#crossval(best, tell))
      case 'lenet-seed':
        return await keep(part, this.#lenet('seed', best, tell))
      case 'lenet-best':
        return await keep(part, this.#lenet('best', best, tell))
      default:
        try {
          return await keep(part, this.#transfer(part, tell))
        } catch (error) {
          if (!areWeightsMissing(error)) throw error
          const { title, files } = zoo[part]
          const reason = `The weights of ${title} (${files.base.name}) were not on this computer and could not be fetched.`
          const outcome = { state: 'skipped', reason } as const
          this.#reporter.onPartEnd?.(part, outcome, true)
          return outcome
        }
    }
  }

  async #eda(tell: Tell): Promise<StudyResults['eda']> {
    const { dataDir, signal } = this.#options
    tell(0, 'duplicates, statistics, correlation')
    const { parts, source } = await loadEdaData({ dataDir, signal, onNote: this.#note })
    using device = await open({ log: this.#note })
    const eda = await explore(device, parts, { source, classNames: fashionMnistClasses, signal })
    await writeEda(this.#folderOf('eda'), eda)
    return eda.result
  }

  async #tune(tell: Tell): Promise<StudyResults['tune']> {
    const { tune, seed, limit } = this.#plan
    const place = await this.#place('tune')
    const result = await searchHyperparameters(
      { ...place, ...(place.resume === undefined ? { ...tune, seed, limit } : {}) },
      {
        onNote: this.#note,
        onProgress: (trial, { epoch, epochs }, { done, total }) =>
          tell(done / total, `trial ${trial.id}, epoch ${epoch} of ${epochs}; ${done.toFixed(1)} of ${total} epochs`),
      },
    )
    return { ...result, runDir: 'tune' }
  }

  async #crossval(best: Hyperparameters, tell: Tell): Promise<StudyResults['crossval']> {
    const { crossval, seed, limit } = this.#plan
    const place = await this.#place('crossval')
    const settings = { ...crossval, ...best, seed, limit, carryOver: true }
    const result = await crossValidate(
      { ...place, ...(place.resume === undefined ? settings : {}) },
      {
        onNote: this.#note,
        onProgress: ({ kind, fold }, { epoch, epochs }, { done, total }) => {
          const name = kind === 'honest' ? `fold ${fold}` : `fold ${fold}, carried`
          tell(done / total, `${name}, epoch ${epoch} of ${epochs}; ${done.toFixed(1)} of ${total} epochs`)
        },
      },
    )
    return { ...result, runDir: 'crossval' }
  }

  async #lenet(recipe: RecipeName, { units, learningRate }: Hyperparameters, tell: Tell): Promise<LenetFinal> {
    const { lenet, seed, limit } = this.#plan
    const part = `lenet-${recipe}` as const
    const place = await this.#place(part)
    // The best recipe's rate belongs to its own schedule and batches.
    const own = recipe === 'seed' ? { learningRate } : {}
    const settings = { recipe, units, ...own, epochs: lenet[recipe], seed, limit }
    const report = await trainLenet(
      { ...place, ...(place.resume === undefined ? settings : {}) },
      { onNote: this.#note, onProgress: (progress) => tell(shareOf(progress), epochText(progress)) },
    )
    const runDir = this.#folderOf(part)
    const config = await readConfig(runDir)
    const { train } = config.data
    const share = config.recipe.validation
    return {
      recipe,
      report: { ...report, runDir: part },
      units: config.settings.units,
      learningRate: config.settings.learningRate,
      trainImages: share > 0 ? randomSplit(train, share, config.settings.seed).rest.length : train,
      pictures: await this.#pictures(report.errors, runDir),
    }
  }

  async #transfer(name: PretrainedName, tell: Tell): Promise<TransferFinal> {
    const { transfer, seed } = this.#plan
    const { epochs, limitTrain, limitTest, weights } = transfer
    const { dataDir, featureDir, signal } = this.#options
    const out = this.#folderOf(name)
    let report = (await readReport(out)) as TransferReport | undefined
    if (report === undefined) {
      // A head takes a minute or two and keeps no checkpoint; its features are kept.
      await removeFromRun(out)
      const features = 0.9
      report = await trainTransfer(
        { model: name, out, dataDir, featureDir, signal, epochs, limitTrain, limitTest, weights, seed },
        {
          onNote: this.#note,
          onDownload: (bytes, total) =>
            tell(0, `weights: ${Math.round(bytes / 1e6)} of ${Math.round((total ?? 0) / 1e6)} MB`),
          onFeatures: ({ done, total, imagesPerSecond }) =>
            tell((features * done) / total, `features: ${done} of ${total}, ${imagesPerSecond.toFixed(1)} images/s`),
          onProgress: (progress) => tell(features + (1 - features) * shareOf(progress), `head, ${epochText(progress)}`),
        },
      )
    }
    return {
      report: {
        ...report,
        runDir: name,
        weights: basename(report.weights),
        features: { ...report.features, folder: basename(report.features.folder) },
      },
      // Means and variances of the features are measured, not trained.
      trainedParameters: report.parameters - 2 * report.features.width,
    }
  }

  /** The images that an analysis names. */
  async #pictures({ pairs, worst }: ErrorAnalysis, runDir: string): Promise<TestPicture[]> {
    const { test } = await loadFashionMnist({ dataDir: this.#options.dataDir, log: this.#note })
    const { indices } = await readPredictions(runDir)
    const size = test.height * test.width
    const named = [...pairs.flatMap(({ examples }) => examples), ...worst].map(({ position }) => position)
    return [...new Set(named)].map((position) => {
      const index = indices[position] ?? 0
      const data = test.images.subarray(index * size, (index + 1) * size)
      const png = encodePng({ width: test.width, height: test.height, channels: 1, data })
      return { position, index, png: Buffer.from(png).toString('base64') }
    })
  }

  #folderOf(part: StudyPart): string {
    return join(this.#folder, part)
  }

  /** Where a part's job begins, or goes on. */
  async #place(part: StudyPart): Promise<StudyJobOptions> {
    const { dataDir, signal } = this.#options
    const folder = this.#folderOf(part)
    const isThere = ifThere(() => readHostText(join(folder, runFiles.config))) !== undefined
    return { dataDir, signal, ...(isThere ? { resume: folder } : { out: folder }) }
  }

  #stopIfAsked(): void {
    if (this.#options.signal?.aborted) throw this.#stopped()
  }

  #stopped(cause?: unknown): WeftgradError {
    const folder = this.#folder
    const text = `The study was stopped; what is done so far is in ${shown(folder)}.`
    return new WeftgradError('aborted', text, { folder }, cause)
  }
}

interface Hyperparameters {
  readonly units: readonly [number, number]
  readonly learningRate: number
}

/** Those that tuning found, or the notebook's own. */
function bestOf(outcomes: Partial<StudyOutcomes>): Hyperparameters {
  const { tune } = outcomes
  if (tune?.state !== 'done') return { units: trainDefaults.units, learningRate: trainDefaults.learningRate }
  const { units_1, units_2, learning_rate } = tune.result.best.hyperparameters
  return { units: [units_1, units_2], learningRate: learning_rate }
}

function shareOf({ epoch, epochs, step, steps }: Progress): number {
  return (epoch - 1 + step / steps) / epochs
}

function epochText({ epoch, epochs, imagesPerSecond }: Progress): string {
  return `epoch ${epoch} of ${epochs}, ${Math.round(imagesPerSecond)} images/s`
}
