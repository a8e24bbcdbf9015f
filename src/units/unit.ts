/**
 * A unit of work: the smallest part of a job that can run by itself, on this machine or on another one. A round of a trial,
 * a fold, a shard of features are units. A unit is a value: its kind's name and its settings, both plain JSON. Its kind
 * is the function from settings to an answer.
 *
 * Promises: equal units give equal answers, apart from times, where adapter and kernels are equal too. So a unit may run
 * twice, or be answered from an earlier run. A unit names no code and no path: it gets a folder in which it finds the
 * files of the unit it continues, and leaves its own.
 */
import type { Device } from '../gpu/device.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult, Progress } from '../nn/contract.ts'
import type { LoadedData } from '../runs/data.ts'
import type { Task } from '../tasks/task.ts'

/** What a machine gives its units: adapter and data. */
export interface Host {
  readonly device: Device
  readonly data: LoadedData
  /** Reports a download, something skipped or something unusual. */
  readonly note: (line: string) => void
}

/** Where and how one unit runs. */
export interface UnitPlace {
  /** The unit's files: a checkpoint of an interrupted attempt at first, its results at the end. */
  readonly folder: string
  /** The files of the unit it continues; may be the same folder. */
  readonly before: string | undefined
  /** Kernel variants; families without an entry use their preferred one. */
  readonly kernels: VariantTable
  readonly signal: AbortSignal | undefined
  readonly events: UnitEvents
}

/** Receives a unit's events while it runs. */
export interface UnitEvents {
  onProgress?(progress: Progress): void
  onEpochEnd?(logs: EpochResult): void
}

/** A kind of unit. `Ground` is what units share on one machine, such as images on the device. */
export interface UnitKind<Settings = unknown, Ground extends Disposable = Disposable, Answer = unknown> {
  readonly name: string
  /** Names of the files that a unit leaves for units that continue it, and for the job. */
  readonly files: readonly string[]
  /** Checks settings that arrive as JSON. Throws WeftgradError 'format', 'argument' or 'mismatch'. */
  read(settings: unknown, task: Task): Settings
  /** Whether an answer that arrives as JSON is one to these settings. */
  isAnswer(answer: unknown, settings: Settings): answer is Answer
  /** Units with equal keys share a ground. */
  groundKey(settings: Settings): string
  /** Prepares a machine for units. `dispose()` the result. */
  open(task: Task, host: Host, settings: Settings): Promise<Ground>
  /** Runs a unit. Throws WeftgradError 'aborted' if the signal fired; its folder then holds what it has reached. */
  run(ground: Ground, settings: Settings, place: UnitPlace): Promise<Answer>
}

/** A unit as a job orders it. */
export interface UnitOrder<Settings> {
  readonly settings: Settings
  /** The folder of its files on the machine of the job. */
  readonly folder: string
  /** The unit that it continues. */
  readonly after?: { readonly settings: Settings; readonly folder: string } | undefined
}
