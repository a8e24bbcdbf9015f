/**
 * A job: starts in a new folder or resumes in an existing one, locks that folder, checks its settings, loads its data,
 * and writes its report last. Trainings, searches, cross-validations, transfer learning and studies are jobs; each
 * supplies its own work.
 *
 * Promises: settings and the folder are checked before the adapter is opened; a resumed job keeps its settings and its
 * data; a finished job is not run again: its report is returned.
 */
import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { DataFacts, LoadedData, RunTask } from './data.ts'
import { openForCommand } from './device.node.ts'
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

/** Options of a job: the source of its data and the folder of its results. */
export interface JobOptions {
  /** The folder to search for the data, and no other. */
  readonly dataDir?: string | undefined
  /** The run's folder; `runs/<time>` by default. */
  readonly out?: string | undefined
  /** The folder of a run to resume, with its settings. */
  readonly resume?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Receives a job's events. */
export interface JobReporter {
  /** Reports a download, something skipped or something unusual. */
  onNote?(line: string): void
  /** Something begins that takes seconds and reports no progress: 'Compiling 24 kernels'. */
  onWait?(what: string): void
  /** A detail that few people want to see. */
  onDetail?(line: string): void
  onAdapter?(device: Device): void
  onData?(facts: DataFacts): void
  /** Reports that the run can be resumed from now on. */
  onFolder?(runDir: string): void
}

/** The parts of a job that differ by kind. */
export interface JobKind<Settings, Given, Result extends { readonly runDir: string }> {
  /** The job's name in config.json. */
  readonly job: string
  /** The noun in messages: 'The search was stopped'. */
  readonly noun: string
  /** Returns the settings of a new run. Throws WeftgradError 'argument', naming the setting. */
  resolve(given: Given): Settings
  /** Returns the settings of a resumed run. Throws WeftgradError 'format', naming `path`, if they are damaged. */
  read(config: AnyConfig, path: string, given: Given): Settings
  /** Returns the first option that contradicts the resumed run. */
  contradiction(run: Settings, given: Given): Contradiction | undefined
  /** Returns the settings as config.json holds them. */
  written(settings: Settings): { readonly settings: unknown } & Readonly<Record<string, unknown>>
  /** Returns the content of report.json; the result by default. */
  report?(result: Result): object
  /** Checks a report.json. Without this, a finished job is run again, because its report can be rewritten. */
  readonly isResult?: ((value: unknown) => value is Result) | undefined
}

/** Makes a kind of job whose settings are one table. */
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
  /** Returns the report if the run is already finished. Throws WeftgradError 'format' if it is damaged. */
  finished(reporter: JobReporter): Promise<Result | undefined>
  /**
   * Runs `work` with the folder locked, and writes its result.
   * @throws WeftgradError 'aborted' if the signal fired; and what `work` throws.
   */
  run(reporter: JobReporter, work: (run: Run<Settings>) => Promise<Result>): Promise<Result>
}

/**
 * Checks the options of a job.
 * @throws WeftgradError 'argument'; for a resumed run also 'file', 'format', or 'mismatch' for other settings.
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
      `${path} is the configuration of another kind of job. Name the folder of a ${kind.noun}.`,
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
        // Another process may have finished it in the meantime.
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
    // Once a job was asked to stop, any error counts as the stop.
    const isStop = error instanceof WeftgradError && error.code === 'aborted'
    if (!isStop) throw error
    const { runDir, isResumable: resumable } = run
    const where = resumable ? `${run.reached}; what is done so far is in ${shown(runDir)}` : ' before it began'
    throw new WeftgradError('aborted', `The ${kind.noun} was stopped${where}.`, { runDir, resumable }, error)
  }
}

/** A running job. */
export class Run<Settings> {
  readonly runDir: string
  readonly settings: Settings
  /** The configuration of the resumed run. */
  readonly earlier: AnyConfig | undefined
  readonly signal: AbortSignal | undefined
  /** The progress of the job, for the message about a stop: ` after 2 of 15 epochs`. */
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

  readonly detail = (line: string): void => this.#reporter.onDetail?.(line)

  readonly wait = (what: string): void => this.#reporter.onWait?.(what)

  /** A path in the run's folder. */
  path(...names: readonly (string | number)[]): string {
    return join(this.runDir, ...names.map(String))
  }

  get isResumable(): boolean {
    return this.#isResumable
  }

  /** Marks that the run, if stopped, can be resumed from now on. */
  markResumable(): void {
    if (this.#isResumable) return
    this.#isResumable = true
    this.#reporter.onFolder?.(this.runDir)
  }

  /** Throws WeftgradError 'aborted' if the signal has fired. */
  stopIfAsked(): void {
    if (this.signal?.aborted) throw new WeftgradError('aborted', 'The run was stopped.')
  }

  /**
   * Opens the adapter and loads the data. `dispose()` the result.
   * @throws WeftgradError 'mismatch' if a resumed run had another task or other data; and as `open` and `DataSource.load`.
   */
  async open(task: RunTask): Promise<RunGround> {
    const started = this.earlier?.task ?? task.name
    if (started !== task.name)
      throw new WeftgradError(
        'mismatch',
        `The run in ${shown(this.runDir)} belongs to the task ${started}, not ${task.name}. Start a new run.`,
        { task: task.name, run: started },
      )
    const device = await openForCommand(this.note)
    try {
      this.#reporter.onAdapter?.(device)
      const data = await task.data.load({ dataDir: this.#dataDir, signal: this.signal, log: this.note })
      const fingerprint = fingerprintOf(data)
      const before = this.earlier?.data
      if (before !== undefined && before.fingerprint !== fingerprint)
        throw new WeftgradError(
          'mismatch',
          `${data.folder} holds other data than those that the run in ${shown(this.runDir)} started with (in ${before.folder}). Name the right folder with ${task.data.option}.`,
          { folder: data.folder, run: before },
        )
      return new RunGround(this, device, data, fingerprint, {
        ...this.#kind.written(this.settings),
        job: this.#kind.job,
        task: task.name,
        ...task.facts,
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

/** The basis of a job: adapter, data, and the configuration that names both. */
export class RunGround {
  readonly device: Device
  readonly data: LoadedData
  readonly fingerprint: string
  readonly #run: Run<unknown>
  readonly #own: Pick<AnyConfig, 'settings' | 'job' | 'task'>
  #counts: Pick<AnyConfig['data'], 'train' | 'test' | 'duplicates'> = { train: 0, test: 0, duplicates: 0 }

  constructor(
    run: Run<unknown>,
    device: Device,
    data: LoadedData,
    fingerprint: string,
    own: Pick<AnyConfig, 'settings' | 'job' | 'task'>,
  ) {
    this.#run = run
    this.#own = own
    this.device = device
    this.data = data
    this.fingerprint = fingerprint
  }

  /** Records which images the job uses. */
  choose(counts: AnyConfig['data'] | Omit<DataFacts, 'folder' | 'published'>): void {
    const { train, test, duplicates } = counts
    this.#counts = { train, test, duplicates }
    const { folder, published } = this.data
    this.#run.tellData({ ...counts, folder, published })
  }

  /** The content of config.json, with these kernels. */
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

  /** Writes config.json. Throws as `writeRunFile`. */
  async writeConfig(kernels: VariantTable, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await writeConfig(this.#run.runDir, { ...this.configWith(kernels), ...more })
  }

  /**
   * The kernels of the resumed run if the adapter is the same; on another one they may not exist, and bits differ
   * anyway.
   */
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

/** Identifies the data: `published`, or the SHA-256 of all images and labels. */
export function fingerprintOf({ published, train, test }: LoadedData): string {
  if (published) return 'published'
  const hash = createHash('sha256')
  for (const part of [train.images, train.labels, test.images, test.labels]) hash.update(`${part.length}:`).update(part)
  return `sha256:${hash.digest('hex')}`
}
