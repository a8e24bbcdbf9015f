/**
 * A job: it begins in a new folder or resumes in an old one, has that folder to itself, checks its settings, loads its data,
 * and writes its report last. Trainings, searches, cross-validations, transfer learning and studies are jobs; each gives its
 * own work.
 *
 * Promises: settings and the folder are checked before the adapter is opened; a resumed job keeps its settings and its data;
 * a finished job is not run again, its report comes back.
 */
import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import { open } from '../gpu/node/open.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { DataFacts, DataSource, LoadedData } from './data.ts'
import {
  type AnyConfig,
  finishedReport,
  inNewRunFolder,
  readAnyConfig,
  runFiles,
  shown,
  whileAlone,
  writeConfig,
  writeReport,
} from './run-folder.node.ts'
import { type Contradiction, type SettingsTable, textOf } from './settings.ts'
import { versions } from './versions.node.ts'

/** Where a job's data come from and its results go. */
export interface JobOptions {
  /** The only folder to look for the data in. */
  readonly dataDir?: string | undefined
  /** The run's folder; `runs/<time>` unless given. */
  readonly out?: string | undefined
  /** The folder of a run to resume; its settings stand. */
  readonly resume?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Told what happens. */
export interface JobReporter {
  /** Something is downloaded, skipped, or other than usual. */
  onNote?(line: string): void
  onAdapter?(device: Device): void
  onData?(facts: DataFacts): void
  /** From now on the run can be resumed. */
  onFolder?(runDir: string): void
}

/** What differs between jobs. */
export interface JobKind<Settings, Given, Result extends { readonly runDir: string }> {
  /** In config.json. */
  readonly job: string
  /** For people: 'The search was stopped'. */
  readonly noun: string
  /** The settings of a new run. Throws WeftgradError 'argument', naming the setting. */
  resolve(given: Given): Settings
  /** The settings of a run that is resumed. Throws WeftgradError 'format', naming `path`, where they are damaged. */
  read(config: AnyConfig, path: string, given: Given): Settings
  /** The first of the options that says something else than the resumed run. */
  contradiction(run: Settings, given: Given): Contradiction | undefined
  /** The settings' part of config.json. */
  written(settings: Settings): { readonly settings: unknown } & Readonly<Record<string, unknown>>
  /** What report.json holds; the result unless given. */
  report?(result: Result): object
  /** Whether a report.json is one. Without this a finished job is run again, as one that only writes its report. */
  readonly isResult?: ((value: unknown) => value is Result) | undefined
}

/** A kind of job whose settings are one table. */
export function tableKind<Settings extends object, Result extends { readonly runDir: string }>(
  facts: { readonly job: string; readonly noun: string; isResult(value: unknown): value is Result },
  table: SettingsTable<Settings>,
  resolveSettings: (given: Partial<Settings>) => Settings = (given) => table.resolve(given),
): JobKind<Settings, Partial<Settings>, Result> {
  return {
    ...facts,
    resolve: resolveSettings,
    read: ({ settings }, path) => table.read(settings, path),
    contradiction: (run, given) => table.contradiction(run, given),
    written: (settings) => ({ settings }),
  }
}

/** A job whose settings and folder have been checked. */
export interface PreparedJob<Settings, Result> {
  readonly settings: Settings
  /** The report, if the run was finished before. Throws WeftgradError 'format' where it is damaged. */
  finished(reporter: JobReporter): Promise<Result | undefined>
  /**
   * Runs `work`, alone in the folder, and writes its result.
   * @throws WeftgradError 'aborted' when the signal fired; and what `work` throws.
   */
  run(reporter: JobReporter, work: (run: Run<Settings>) => Promise<Result>): Promise<Result>
}

/**
 * Checks the options of a job.
 * @throws WeftgradError 'argument'; where a run is resumed, 'file', 'format', or 'mismatch' for other settings.
 */
export async function prepareJob<Settings, Given, Result extends { readonly runDir: string }>(
  kind: JobKind<Settings, Given, Result>,
  options: JobOptions & Given,
): Promise<PreparedJob<Settings, Result>> {
  const { out, resume } = options
  if (resume === undefined) {
    const settings = kind.resolve(options)
    return {
      settings,
      finished: async () => undefined,
      run: (reporter, work) =>
        inNewRunFolder(out, (runDir) =>
          finish(kind, new Run(kind, { runDir, settings, earlier: undefined }, options, reporter), work),
        ),
    }
  }
  const runDir = resolve(resume)
  if (out !== undefined && resolve(out) !== runDir)
    throw new WeftgradError('argument', '--out cannot be combined with --resume: a resumed run stays in its folder.', {
      out,
      resume,
    })
  const earlier = await readAnyConfig(runDir)
  const path = join(runDir, runFiles.config)
  if (earlier.job !== kind.job)
    throw new WeftgradError(
      'format',
      `${path} is the configuration of another job. Name the folder of a ${kind.noun}.`,
      { path, job: earlier.job },
    )
  const settings = kind.read(earlier, path, options)
  const other = kind.contradiction(settings, options)
  if (other !== undefined)
    throw new WeftgradError(
      'mismatch',
      `The run in ${shown(runDir)} has ${other.flag} ${textOf(other.run ?? 'unset')}, not ${textOf(other.given)}. A resumed run keeps its settings: leave the option out, or start a new run.`,
      { setting: other.flag, run: other.run, given: other.given },
    )
  const finished = async (reporter: JobReporter): Promise<Result | undefined> =>
    kind.isResult === undefined
      ? undefined
      : await finishedReport(runDir, kind.noun, kind.isResult, (line) => reporter.onNote?.(line))
  return {
    settings,
    finished,
    run: async (reporter, work) =>
      (await finished(reporter)) ??
      (await whileAlone(runDir, async () => {
        // Another process may have finished it meanwhile.
        const theirs = await finished(reporter)
        return theirs ?? (await finish(kind, new Run(kind, { runDir, settings, earlier }, options, reporter), work))
      })),
  }
}

/** Prepares a job and runs it. Throws as both. */
export async function runJob<Settings, Given, Result extends { readonly runDir: string }>(
  kind: JobKind<Settings, Given, Result>,
  options: JobOptions & Given,
  reporter: JobReporter,
  work: (run: Run<Settings>) => Promise<Result>,
): Promise<Result> {
  const job = await prepareJob(kind, options)
  return await job.run(reporter, work)
}

async function finish<Settings, Given, Result extends { readonly runDir: string }>(
  kind: JobKind<Settings, Given, Result>,
  run: Run<Settings>,
  work: (run: Run<Settings>) => Promise<Result>,
): Promise<Result> {
  try {
    const result = await work(run)
    await writeReport(run.runDir, kind.report?.(result) ?? result)
    return result
  } catch (error) {
    // Whatever a job that was told to stop ends with, it was stopped.
    const isStop = error instanceof WeftgradError && error.code === 'aborted'
    if (!isStop) throw error
    const { runDir, isResumable: resumable } = run
    const where = resumable ? `${run.reached}; what is done so far is in ${shown(runDir)}` : ' before it began'
    throw new WeftgradError('aborted', `The ${kind.noun} was stopped${where}.`, { runDir, resumable }, error)
  }
}

/** A job at work. */
export class Run<Settings> {
  readonly runDir: string
  readonly settings: Settings
  /** The configuration of the run that is resumed. */
  readonly earlier: AnyConfig | undefined
  readonly signal: AbortSignal | undefined
  /** How far the job has come, for the message about a stop: ` after 2 of 15 epochs`. */
  reached = ''
  readonly #kind: Pick<JobKind<Settings, never, never>, 'job' | 'written'>
  readonly #dataDir: string | undefined
  readonly #reporter: JobReporter
  #isResumable = false

  constructor(
    kind: Pick<JobKind<Settings, never, never>, 'job' | 'written'>,
    place: Pick<Run<Settings>, 'runDir' | 'settings' | 'earlier'>,
    { dataDir, signal }: JobOptions,
    reporter: JobReporter,
  ) {
    this.#kind = kind
    this.#dataDir = dataDir
    this.#reporter = reporter
    this.runDir = place.runDir
    this.settings = place.settings
    this.earlier = place.earlier
    this.signal = signal
  }

  readonly note = (line: string): void => this.#reporter.onNote?.(line)

  /** A place in the run's folder. */
  path(...names: readonly (string | number)[]): string {
    return join(this.runDir, ...names.map(String))
  }

  get isResumable(): boolean {
    return this.#isResumable
  }

  /** From now on a stopped run can be resumed. */
  markResumable(): void {
    if (this.#isResumable) return
    this.#isResumable = true
    this.#reporter.onFolder?.(this.runDir)
  }

  /** Throws WeftgradError 'aborted' once the signal has fired. */
  stopIfAsked(): void {
    if (this.signal?.aborted) throw new WeftgradError('aborted', 'The run was stopped.')
  }

  /**
   * Opens the adapter and loads the data. `dispose()` what comes back.
   * @throws WeftgradError 'mismatch' where a resumed run had other data; as `open` and `DataSource.load`.
   */
  async open(source: DataSource): Promise<RunGround> {
    const device = await open({ log: this.note })
    try {
      this.#reporter.onAdapter?.(device)
      const data = await source.load({ dataDir: this.#dataDir, signal: this.signal, log: this.note })
      const fingerprint = fingerprintOf(data)
      const before = this.earlier?.data
      if (before !== undefined && before.fingerprint !== fingerprint)
        throw new WeftgradError(
          'mismatch',
          `${data.folder} holds other data than the run in ${shown(this.runDir)} was started with (those were in ${before.folder}). Name the folder that has them with --data-dir.`,
          { folder: data.folder, run: before },
        )
      return new RunGround(this, device, data, fingerprint, {
        ...this.#kind.written(this.settings),
        job: this.#kind.job,
      })
    } catch (error) {
      device.dispose()
      throw error
    }
  }

  /** @internal */
  tellData(facts: DataFacts): void {
    this.#reporter.onData?.(facts)
  }
}

/** What a job stands on: adapter, data, and the configuration that names both. */
export class RunGround {
  readonly device: Device
  readonly data: LoadedData
  readonly fingerprint: string
  readonly #run: Run<unknown>
  readonly #own: { readonly settings: unknown; readonly job: string }
  #counts: Pick<AnyConfig['data'], 'train' | 'test' | 'duplicates'> = { train: 0, test: 0, duplicates: 0 }

  constructor(
    run: Run<unknown>,
    device: Device,
    data: LoadedData,
    fingerprint: string,
    own: { readonly settings: unknown; readonly job: string },
  ) {
    this.#run = run
    this.#own = own
    this.device = device
    this.data = data
    this.fingerprint = fingerprint
  }

  /** Which of the images the job takes. */
  choose(counts: AnyConfig['data'] | Omit<DataFacts, 'folder' | 'published'>): void {
    const { train, test, duplicates } = counts
    this.#counts = { train, test, duplicates }
    const { folder, published } = this.data
    this.#run.tellData({ ...counts, folder, published })
  }

  /** What config.json holds, with these kernels. */
  configWith(kernels: VariantTable): AnyConfig {
    const { folder } = this.data
    return {
      ...this.#own,
      startedAt: this.#run.earlier?.startedAt ?? new Date().toISOString(),
      data: { folder, fingerprint: this.fingerprint, ...this.#counts },
      adapter: this.#adapter,
      kernels,
      versions: versions(),
    }
  }

  /** Throws as `writeRunFile`. */
  async writeConfig(kernels: VariantTable, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await writeConfig(this.#run.runDir, { ...this.configWith(kernels), ...more })
  }

  /** The kernels of the run that is resumed, on its own adapter; on another one they may not exist, and bits differ anyway. */
  keptKernels(): VariantTable {
    const { earlier, note } = this.#run
    if (earlier === undefined) return {}
    const { driver } = this.#adapter
    if (earlier.adapter.driver !== driver) {
      note(
        `The run was started on ${earlier.adapter.driver}. It continues on ${driver}, and its numbers will differ slightly.`,
      )
      return {}
    }
    const { weftgrad } = versions()
    if (earlier.versions.weftgrad !== weftgrad)
      note(`The run was started with weftgrad ${earlier.versions.weftgrad}; this is ${weftgrad}.`)
    return earlier.kernels
  }

  get #adapter(): AnyConfig['adapter'] {
    const { facts, info } = this.device
    return { driver: facts.driver, name: info.device, hardware: facts.hardware }
  }

  [Symbol.dispose](): void {
    this.device.dispose()
  }
}

/** The published data are known bit for bit; others are identified by their SHA-256. */
export function fingerprintOf({ published, train, test }: LoadedData): string {
  if (published) return 'published'
  const hash = createHash('sha256')
  for (const part of [train.images, train.labels, test.images, test.labels]) hash.update(`${part.length}:`).update(part)
  return `sha256:${hash.digest('hex')}`
}
