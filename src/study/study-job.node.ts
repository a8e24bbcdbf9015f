/**
 * What jobs of many trainings share: a folder with settings, data and kernels of the run, a log to which each finished
 * training is appended, and going on from there.
 *
 * | file | what |
 * |---|---|
 * | config.json | as of every run (run-folder.node.ts); decides when the run is resumed |
 * | a log, such as trials.jsonl | a line a finished training, on the disk before anything counts on it |
 * | checkpoints | in folders of their own, while they are needed (resumable-fit.node.ts) |
 * | report.json | the result; comes last, so a run that has it is finished |
 */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type ImageDataset, type LabelledBytes, residentImages } from '../data/dataset.ts'
import { dropDuplicates } from '../data/duplicates.ts'
import { loadFashionMnist } from '../data/fashion-mnist.node.ts'
import { WeftgradError } from '../errors.ts'
import { readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochLogs } from '../nn/contract.ts'
import { lenetImages } from './lenet-data.ts'
import {
  appendRunLine,
  finishedReport,
  inNewRunFolder,
  type JobConfig,
  readAnyConfig,
  requireSpace,
  runFiles,
  shown,
  whileAlone,
  writeConfig,
  writeReport,
  writeRunFile,
} from './run-folder.node.ts'
import { type SettingsTable, textOf } from './settings.ts'
import { type DataFacts, fingerprintOf, kernelsToKeep } from './train-lenet.node.ts'
import type { TrainSettings } from './train-options.ts'
import { versions } from './versions.node.ts'

/** Settings that say which images there are. */
export type ImageSettings = Pick<TrainSettings, 'split' | 'limit' | 'seed'>

/** Where a job's images come from and its results go. */
export interface StudyJobOptions {
  /** Where to look for Fashion-MNIST; see `loadFashionMnist`. */
  readonly dataDir?: string | undefined
  /** The run's folder; `runs/<time>` unless given. */
  readonly out?: string | undefined
  /** The folder of a run to go on with; its settings stand. */
  readonly resume?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface StudyJobReporter {
  /** Something is fetched, passed over, or other than usual. */
  onNote?(line: string): void
  onAdapter?(device: Device): void
  onData?(facts: DataFacts): void
  /** From now on the run can be resumed. */
  onFolder?(runDir: string): void
}

export interface JobKind<Settings extends ImageSettings, Result extends { readonly runDir: string }> {
  /** In config.json. */
  readonly job: string
  /** For people: 'the search was stopped'. */
  readonly noun: string
  /** The log's file name. */
  readonly log: string
  readonly table: SettingsTable<Settings>
  /** Throws WeftgradError 'argument', naming the setting. */
  resolve(given: Partial<Settings>): Settings
  /** Whether a report.json is one: what is printed of it is there. */
  isResult(value: unknown): value is Result
}

/** A job that runs. */
export class StudyJob<Settings extends ImageSettings> {
  readonly device: Device
  readonly settings: Settings
  readonly runDir: string
  /** Images to train and validate with: none of the test, no exact duplicates. */
  readonly train: ImageDataset
  /** How many those were. */
  readonly duplicates: number
  /** In host memory. */
  readonly test: LabelledBytes
  readonly signal: AbortSignal | undefined
  readonly #config: JobConfig<string, Settings>
  readonly #log: string
  readonly #reporter: StudyJobReporter
  #seconds = 0
  /** When the last line was appended, or the job began to train, in ms. */
  #lineAt = performance.now()

  constructor(
    made: Pick<StudyJob<Settings>, 'device' | 'settings' | 'runDir' | 'train' | 'duplicates' | 'test' | 'signal'>,
    config: JobConfig<string, Settings>,
    log: string,
    reporter: StudyJobReporter,
  ) {
    this.device = made.device
    this.settings = made.settings
    this.runDir = made.runDir
    this.train = made.train
    this.duplicates = made.duplicates
    this.test = made.test
    this.signal = made.signal
    this.#config = config
    this.#log = join(made.runDir, log)
    this.#reporter = reporter
  }

  readonly note = (line: string): void => this.#reporter.onNote?.(line)

  /** A folder for a training. */
  folder(...names: readonly (string | number)[]): string {
    return join(this.runDir, ...names.map(String))
  }

  /**
   * From now on trainings begin, and the run can be resumed. Gives the kernels for all of them: those the run has had from
   * its beginning, or what `tune` finds.
   * @param bytes that the run may take on the disk.
   * @throws WeftgradError 'aborted' if the signal has fired, 'file' if the disk has too little space.
   */
  async begin(bytes: number, tune: () => Promise<VariantTable>): Promise<VariantTable> {
    await requireSpace(this.runDir, bytes)
    const isNew = !(await isThere(this.#log))
    const kernels = isNew ? await tune() : this.#config.kernels
    if (this.signal?.aborted) throw new WeftgradError('aborted', 'It was stopped before it began.')
    await writeConfig(this.runDir, { ...this.#config, kernels })
    if (isNew) await writeRunFile(this.#log, '')
    this.#reporter.onFolder?.(this.runDir)
    return kernels
  }

  /**
   * What the log holds, as `parse` understands each line; where it does not, it gives a sentence that says why. Lines that
   * are no JSON were cut off by a crash: they are left out, in the file, too. Throws WeftgradError 'format'.
   */
  async readLog<T>(parse: (value: unknown) => T | string): Promise<T[]> {
    if (!(await isThere(this.#log))) return []
    const lines = readHostText(this.#log).split('\n')
    const whole = lines.flatMap((text, i) => {
      const value = parsedJson(text)
      return value === undefined ? [] : [{ text, value, line: i + 1 }]
    })
    const parsed = whole.map(({ value, line }) => {
      const result = parse(value)
      if (typeof result !== 'string') return result
      throw new WeftgradError(
        'format',
        `${this.#log}, line ${line}: ${result}. Take the line out and resume, or start a new run.`,
        { path: this.#log, line },
      )
    })
    await writeRunFile(this.#log, whole.map(({ text }) => `${text}\n`).join(''))
    for (const { value } of whole)
      if (isRecord(value) && typeof value.seconds === 'number') this.#seconds += value.seconds
    this.#lineAt = performance.now()
    return parsed
  }

  /** Adds `seconds`, the wall clock since the line before. When this returns, the line survives a power cut. */
  async appendLog(value: object): Promise<void> {
    const now = performance.now()
    const seconds = (now - this.#lineAt) / 1000
    this.#lineAt = now
    this.#seconds += seconds
    await appendRunLine(this.#log, JSON.stringify({ ...value, seconds }))
  }

  /** Wall clock of all lines of the log, those of earlier processes included: trainings that overlap count once. */
  get seconds(): number {
    return this.#seconds
  }
}

/**
 * Begins a job, or goes on with one, and writes its result. A job that was finished before is not run again: its result
 * comes back.
 * @throws WeftgradError 'argument', 'mismatch' (resuming with other settings or data), 'file', 'format', 'data', 'fetch',
 * 'no-adapter', 'device-lost'; 'aborted' when the signal fired; and what `work` throws.
 */
export async function runStudyJob<Settings extends ImageSettings, Result extends { readonly runDir: string }>(
  kind: JobKind<Settings, Result>,
  options: StudyJobOptions & Partial<Settings>,
  reporter: StudyJobReporter,
  work: (job: StudyJob<Settings>) => Promise<Result>,
): Promise<Result> {
  if (options.resume === undefined) {
    const settings = kind.resolve(options)
    return await inNewRunFolder(options.out, (runDir) =>
      begin(kind, { runDir, settings, earlier: undefined }, options, reporter, work),
    )
  }
  const runDir = resolve(options.resume)
  if (options.out !== undefined && resolve(options.out) !== runDir)
    throw new WeftgradError('argument', '--out cannot be combined with --resume: a resumed run stays in its folder.', {
      out: options.out,
      resume: options.resume,
    })
  const earlier = await readAnyConfig(runDir)
  const path = join(runDir, runFiles.config)
  if (earlier.job !== kind.job)
    throw new WeftgradError(
      'format',
      `${path} is the configuration of another job. Name the folder of a ${kind.noun}.`,
      {
        path,
        job: earlier.job,
      },
    )
  const settings = kind.table.read(earlier.settings, path)
  const other = kind.table.contradiction(settings, options)
  if (other !== undefined)
    throw new WeftgradError(
      'mismatch',
      `The run in ${shown(runDir)} has ${kind.table.flagOf(other)} ${textOf(settings[other])}, not ${textOf(options[other])}. A resumed run keeps its settings: leave the option out, or start a new run.`,
      { setting: other, run: settings[other], given: options[other] },
    )
  const ifFinished = () => finishedReport(runDir, kind.noun, kind.isResult, (line) => reporter.onNote?.(line))
  const finished = await ifFinished()
  if (finished !== undefined) return finished
  return await whileAlone(runDir, async () => {
    // Another process may have finished it meanwhile.
    const theirs = await ifFinished()
    return theirs ?? (await begin(kind, { runDir, settings, earlier }, options, reporter, work))
  })
}

interface Run<Settings> {
  readonly runDir: string
  readonly settings: Settings
  readonly earlier: JobConfig<string, unknown> | undefined
}

async function begin<Settings extends ImageSettings, Result extends { readonly runDir: string }>(
  kind: JobKind<Settings, Result>,
  { runDir, settings, earlier }: Run<Settings>,
  { dataDir, signal }: StudyJobOptions,
  reporter: StudyJobReporter,
  work: (job: StudyJob<Settings>) => Promise<Result>,
): Promise<Result> {
  const log = (line: string): void => reporter.onNote?.(line)
  using device = await open({ log })
  reporter.onAdapter?.(device)
  const loaded = await loadFashionMnist({ dataDir, signal, log })
  const { folder, published } = loaded
  const fingerprint = fingerprintOf(loaded)
  if (earlier !== undefined && earlier.data.fingerprint !== fingerprint)
    throw new WeftgradError(
      'mismatch',
      `${folder} holds other data than the run in ${shown(runDir)} was started with (those were in ${earlier.data.folder}). Name the folder that has them with --data-dir.`,
      { folder, run: earlier.data },
    )
  const images = lenetImages(loaded, settings)
  using all = residentImages(device, images.train)
  const train = all.subset(dropDuplicates(images.train.images, images.train.height * images.train.width))
  const duplicates = images.duplicates + all.count - train.count
  const counts = { train: train.count, test: images.test.labels.length, duplicates }
  reporter.onData?.({ ...counts, folder, published, split: settings.split, limit: settings.limit })
  const now = {
    adapter: { driver: device.facts.driver, name: device.info.device, hardware: device.facts.hardware },
    versions: versions(),
  }
  const config: JobConfig<string, Settings> = {
    job: kind.job,
    startedAt: earlier?.startedAt ?? new Date().toISOString(),
    settings,
    data: { folder, fingerprint, ...counts },
    kernels: earlier === undefined ? {} : kernelsToKeep(earlier, now, reporter),
    ...now,
  }
  const made = { device, settings, runDir, train, duplicates, test: images.test, signal }
  const job = new StudyJob(made, config, kind.log, reporter)
  try {
    const result = await work(job)
    await writeReport(runDir, result)
    return result
  } catch (error) {
    if (!(error instanceof WeftgradError && error.code === 'aborted')) throw error
    const resumable = await isThere(join(runDir, kind.log))
    const where = resumable ? `; what is done so far is in ${shown(runDir)}` : ' before it began'
    throw new WeftgradError('aborted', `The ${kind.noun} was stopped${where}.`, { runDir, resumable })
  }
}

/** Whether a value out of a log is a history of epochs with validation. */
export function isHistory(value: unknown): value is EpochLogs[] {
  const names = ['epoch', 'loss', 'accuracy', 'validationLoss', 'validationAccuracy', 'learningRate', 'seconds']
  return (
    Array.isArray(value) &&
    value.every((logs) => isRecord(logs) && names.every((name) => typeof logs[name] === 'number'))
  )
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
