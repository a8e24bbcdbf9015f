/**
 * A run's folder: the files of a training, written and read.
 *
 * | file | what |
 * |---|---|
 * | config.json | settings, data, adapter, kernel variants, versions; binding when the run is resumed |
 * | history.jsonl | a line per epoch, on disk before the next epoch starts |
 * | checkpoint.safetensors | everything needed to resume bit for bit; replaced after each epoch |
 * | model.safetensors | the trained weights; its metadata say which model they belong to |
 * | checksums.json | SHA-256 of the checkpoint and the model, compared when they are read (checked-file.node.ts) |
 * | predictions.csv | index (in the data file the test images are from), label and predicted class of each test image; its file, if it has one |
 * | errors.svg | the worst errors with their pictures, if images have files |
 * | pictures.json | the pictures of the errors that report.json names |
 * | report.html | the results as a page, which the command writes from these files |
 * | curves.svg, report.json | the curves and the results; report.json is written last, so a run that has it is finished |
 */
import { mkdir, rm, rmdir, stat, statfs } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { appendLineDurable, type FileContent, writeFileAtomic } from '../format/atomic-write.node.ts'
import { ifThere, readHostText } from '../format/host-file.node.ts'
import { boundedJson, isRecord } from '../format/json.ts'
import { sweepLeftovers } from '../gpu/node/leftovers.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult } from '../nn/contract.ts'
import { megabytes } from '../numbers.ts'
import { FolderLock } from './folder-lock.node.ts'
import type { Versions } from './versions.ts'

export const runFiles = {
  config: 'config.json',
  history: 'history.jsonl',
  checkpoint: 'checkpoint.safetensors',
  model: 'model.safetensors',
  checksums: 'checksums.json',
  predictions: 'predictions.csv',
  curves: 'curves.svg',
  errors: 'errors.svg',
  pictures: 'pictures.json',
  report: 'report.json',
  page: 'report.html',
} as const

/** The content of a job's config.json. */
export interface JobConfig<Job extends string, Settings> {
  readonly job: Job
  /** The task's name; early runs lack it. */
  readonly task?: string
  /** Start time in ISO 8601. */
  readonly startedAt: string
  readonly settings: Settings
  readonly data: {
    readonly folder: string
    /** `published`, or the SHA-256 of all images and labels. */
    readonly fingerprint: string
    /** Number of training images, validation included. */
    readonly train: number
    readonly test: number
    /** Number of exact duplicates left out. */
    readonly duplicates: number
  }
  readonly adapter: { readonly driver: string; readonly name: string; readonly hardware: boolean }
  /** Kernel variants of the training and its validation; until the first step is planned, those that tuning chose. */
  readonly kernels: VariantTable
  readonly versions: Versions
}

/** The configuration of any job: the job's own fields are unchecked. */
export type AnyConfig = JobConfig<string, unknown> & Readonly<Record<string, unknown>>

/**
 * Makes a new folder and checks that it can be written to.
 * @param wanted the folder to use; without it, `runs/<time>`.
 * @throws WeftgradError 'argument' if it already holds a run, 'file' if it cannot be written.
 */
export async function reserveRunFolder(wanted: string | undefined, now = new Date()): Promise<string> {
  if (wanted !== undefined) {
    const folder = resolve(wanted)
    if (await isThere(join(folder, runFiles.config))) {
      throw new WeftgradError(
        'argument',
        `--out: ${shown(folder)} already holds a run. Choose another folder, or resume that run with --resume ${shown(folder)}.`,
        { folder },
      )
    }
    await probe(folder)
    return folder
  }
  const stamp = localTime(now)
  for (let attempt = 1; ; attempt++) {
    const folder = resolve('runs', attempt === 1 ? stamp : `${stamp}-${attempt}`)
    await onFolder(folder, () => mkdir(resolve('runs'), { recursive: true }))
    try {
      // Not recursive: if two runs start in the same second, only one gets the name.
      await mkdir(folder)
    } catch (error) {
      if (codeOf(error) === 'EEXIST') continue
      throw cannotUse(folder, error)
    }
    await probe(folder)
    return folder
  }
}

/** Reserves a folder and runs `work` alone in it; removes the folder if it stays empty. Throws as both. */
export async function inNewRunFolder<T>(wanted: string | undefined, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await reserveRunFolder(wanted)
  try {
    return await whileAlone(folder, () => work(folder))
  } finally {
    // A folder with any content stays.
    await rmdir(folder).catch(() => {})
  }
}

/** The locks that this process holds, by folder; a study's lock covers the folders of its parts. */
const locks = new Map<string, FolderLock>()

/**
 * Runs `work` while no other process works in the folder.
 * @throws WeftgradError 'argument' if another process is working there; 'file' if the folder cannot be written to; and
 * what `work` throws.
 */
export async function whileAlone<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = await FolderLock.take(join(folder, 'lock'))
  if (typeof lock === 'string')
    throw new WeftgradError(
      'argument',
      `Another run (${lock}) is using ${shown(folder)}. Wait for it to end, or choose another folder.`,
      { folder, holder: lock },
    )
  locks.set(folder, lock)
  try {
    await sweepLeftovers(folder)
    return await work()
  } finally {
    locks.delete(folder)
    await lock.release()
  }
}

/**
 * Writes a file of a run atomically, and only while this process holds the run's lock.
 * @throws WeftgradError 'file' on disk errors or if the run's folder was removed, 'lock-lost' if another process took
 * the run over.
 */
export async function writeRunFile(path: string, content: FileContent): Promise<void> {
  await writeFileAtomic(path, content, () => verifyLocks(path))
}

/** Appends a line to a log of a run; it survives a power cut. Throws as {@link writeRunFile}. */
export async function appendRunLine(path: string, line: string): Promise<void> {
  await verifyLocks(path)
  await appendLineDurable(path, line)
}

/** Removes a folder of a run with its content. Throws 'lock-lost' as {@link writeRunFile}. */
export async function removeFromRun(path: string): Promise<void> {
  await verifyLocks(path)
  await rm(path, { recursive: true, force: true })
}

async function verifyLocks(path: string): Promise<void> {
  for (const [folder, lock] of locks) if (path.startsWith(folder + sep)) await lock.verify()
}

/**
 * Throws WeftgradError 'file' if the disk has fewer than `bytes` free. File systems that do not report free space are
 * trusted.
 */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize, blocks } = await onFolder(folder, () => statfs(folder))
  const free = bavail * bsize
  if (blocks === 0 || free >= bytes) return
  throw new WeftgradError(
    'file',
    `${shown(folder)} is on a disk with ${megabytes(free)} free, and a run takes up to ${megabytes(bytes)}. Free some space, or choose another folder with --out.`,
    { folder, free, bytes },
  )
}

export async function writeConfig(folder: string, config: AnyConfig): Promise<void> {
  await writeJson(join(folder, runFiles.config), config)
}

/**
 * Reads the configuration of any job. Throws WeftgradError 'file' if `folder` holds no run, 'format' if its config.json
 * is damaged.
 */
export async function readAnyConfig(folder: string): Promise<AnyConfig> {
  const path = join(folder, runFiles.config)
  const value = await readJson(path, `${shown(folder)} is not the folder of a run: it has no readable config.json`)
  const config = isRecord(value) ? value : {}
  const { job, startedAt, data, adapter, versions } = config
  const kernels = kernelsIn(config.kernels)
  const whole =
    typeof job === 'string' &&
    typeof startedAt === 'string' &&
    isRecord(data) &&
    typeof data.folder === 'string' &&
    typeof data.fingerprint === 'string' &&
    isRecord(adapter) &&
    typeof adapter.driver === 'string' &&
    kernels !== undefined &&
    isRecord(versions)
  if (!whole) {
    throw new WeftgradError('format', `${path} is not the configuration of a run. Name the folder of a run.`, { path })
  }
  // Every field that matters has been checked; the others are only shown.
  return { ...(config as unknown as AnyConfig), kernels }
}

/**
 * The kernel table in a configuration; undefined if invalid. The lists of early runs lack the variants' shapes and
 * count as empty.
 */
function kernelsIn(value: unknown): VariantTable | undefined {
  if (Array.isArray(value)) return {}
  if (!isRecord(value)) return undefined
  const entries = Object.entries(value).flatMap(([name, variant]) =>
    typeof variant === 'string' ? [[name, variant] as const] : [],
  )
  return entries.length === Object.keys(value).length ? Object.fromEntries(entries) : undefined
}

/** Rewrites the whole history when a run is resumed: it may hold a line beyond the checkpoint. */
export async function writeHistory(folder: string, history: readonly EpochResult[]): Promise<void> {
  const lines = history.map((logs) => `${JSON.stringify(logs)}\n`)
  await writeRunFile(join(folder, runFiles.history), lines.join(''))
}

export async function writeReport(folder: string, report: object): Promise<void> {
  await writeJson(join(folder, runFiles.report), report)
}

/** Reads report.json; undefined if the run is not finished. Throws WeftgradError 'format' if it is damaged. */
export async function readReport(folder: string): Promise<unknown> {
  const path = join(folder, runFiles.report)
  return (await isThere(path)) ? await readJson(path, `${path} could not be read`) : undefined
}

/**
 * Reads the report of a finished run; undefined for an unfinished one.
 * @throws WeftgradError 'format' if the report is damaged, or not that of a `noun`.
 */
export async function finishedReport<Report extends { readonly runDir: string }>(
  folder: string,
  noun: string,
  isReport: (value: unknown) => value is Report,
  onNote: ((line: string) => void) | undefined,
): Promise<Report | undefined> {
  const report = await readReport(folder)
  if (report === undefined) return undefined
  if (!isReport(report)) {
    const path = join(folder, runFiles.report)
    throw new WeftgradError('format', `${path} is not the report of a ${noun}. Delete it to have it written again.`)
  }
  onNote?.(`The run in ${shown(folder)} is finished; there is nothing left to train.`)
  return { ...report, runDir: folder }
}

/** A path as a user in this folder would write it. */
export function shown(path: string): string {
  const near = relative(process.cwd(), path)
  return near === '' ? '.' : near.startsWith('..') ? path : near
}

async function probe(folder: string): Promise<void> {
  await onFolder(folder, () => mkdir(folder, { recursive: true }))
  const path = join(folder, `.writable-${process.pid}`)
  await writeFileAtomic(path, 'x')
  await rm(path, { force: true })
}

async function writeJson(path: string, value: object): Promise<void> {
  await writeRunFile(path, `${JSON.stringify(value, null, 2)}\n`)
}

async function readJson(path: string, problem: string): Promise<unknown> {
  const text = ifThere(() => readHostText(path))
  if (text === undefined) throw new WeftgradError('file', `${problem}. Check the path.`, { path })
  try {
    return boundedJson(text)
  } catch (cause) {
    throw new WeftgradError('format', `${path} is damaged: it is not JSON.`, { path }, cause)
  }
}

export async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}

async function onFolder<T>(folder: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    throw cannotUse(folder, error)
  }
}

function cannotUse(folder: string, cause: unknown): WeftgradError {
  const problem = cause instanceof Error ? cause.message : String(cause)
  return new WeftgradError(
    'file',
    `The run cannot be stored in ${shown(folder)}: ${problem}. Choose another folder with --out.`,
    { folder },
    cause,
  )
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Local time such as 2025-01-31T12-34-56: sorts by time and is a valid name on every file system. */
function localTime(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`
  return `${day}T${two(now.getHours())}-${two(now.getMinutes())}-${two(now.getSeconds())}`
}
