/**
 * Shared by jobs with many trainings: training images, kernels for all trainings, and a log to which each finished
 * training is appended.
 *
 * | file | what |
 * |---|---|
 * | a log, such as trials.jsonl | a line for each finished training, on disk before anything relies on it |
 * | checkpoints | in folders of their own, while they are needed (resumable-fit.node.ts) |
 */
import { type ImageDataset, type LabelledBytes, residentImages } from '../data/dataset.ts'
import { dropDuplicates } from '../data/duplicates.ts'
import { WeftgradError } from '../errors.ts'
import { readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import type { Device } from '../gpu/device.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult } from '../nn/contract.ts'
import type { LoadedData, RunTask } from './data.ts'
import { bytesOf, type ImageSettings, splitImages } from './images.ts'
import type { Run, RunGround } from './job.node.ts'
import { appendRunLine, isThere, requireSpace, writeRunFile } from './run-folder.node.ts'

/** The images of trainings, on a device. */
export class TrainingImages {
  /** Images for training and validation: no test images, no exact duplicates. */
  readonly train: ImageDataset
  /** Number of duplicates left out. */
  readonly duplicates: number
  /** Test images in host memory. */
  readonly test: LabelledBytes
  readonly #all: ImageDataset

  /** Uploads the images. Throws WeftgradError 'data' if there are too few. */
  constructor(device: Device, data: LoadedData, settings: ImageSettings) {
    const images = splitImages(data, settings)
    this.#all = residentImages(device, images.train)
    this.train = this.#all.subset(dropDuplicates(images.train.images, bytesOf(images.train)))
    this.duplicates = images.duplicates + this.#all.count - this.train.count
    this.test = images.test
  }

  [Symbol.dispose](): void {
    this.#all.dispose()
  }
}

export class Trainings<Settings extends ImageSettings> {
  readonly run: Run<Settings>
  readonly ground: RunGround
  readonly images: TrainingImages
  readonly #log: string
  #seconds = 0
  /** Time at which the last line was appended or training began, in ms. */
  #lineAt = performance.now()

  private constructor(run: Run<Settings>, ground: RunGround, log: string) {
    this.run = run
    this.ground = ground
    this.#log = run.path(log)
    this.images = new TrainingImages(ground.device, ground.data, run.settings)
    const { split, limit } = run.settings
    const { train, test, duplicates } = this.images
    ground.choose({ train: train.count, test: test.labels.length, duplicates, split, limit })
  }

  get train(): ImageDataset {
    return this.images.train
  }

  get duplicates(): number {
    return this.images.duplicates
  }

  get test(): LabelledBytes {
    return this.images.test
  }

  /** @param log the log's file name. Throws as `Run.open`; 'data' if there are too few images. */
  static async open<Settings extends ImageSettings>(
    run: Run<Settings>,
    task: RunTask,
    log: string,
  ): Promise<Trainings<Settings>> {
    const ground = await run.open(task)
    try {
      return new Trainings(run, ground, log)
    } catch (error) {
      ground.device.dispose()
      throw error
    }
  }

  [Symbol.dispose](): void {
    this.images[Symbol.dispose]()
    this.ground.device.dispose()
  }

  /**
   * Begins the trainings; from now on the run can be resumed. Returns the kernels for all of them: those of the resumed
   * run, or what `tune` finds.
   * @param bytes the most bytes that the run may take on disk.
   * @throws WeftgradError 'aborted' if the signal has fired, 'file' if the disk is too full.
   */
  async begin(bytes: number, tune: () => Promise<VariantTable>): Promise<VariantTable> {
    const { run, ground } = this
    await requireSpace(run.runDir, bytes)
    const isNew = !(await isThere(this.#log))
    const kept = ground.keptKernels()
    const kernels = isNew ? await tune() : kept
    run.stopIfAsked()
    await ground.writeConfig(kernels)
    if (isNew) await writeRunFile(this.#log, '')
    run.markResumable()
    return kernels
  }

  /**
   * Reads the log. `parse` turns each line into a result, or returns the problem. Lines that are not JSON were cut off
   * by a crash: they are removed, in the file too. Throws WeftgradError 'format'.
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
        `${this.#log}, line ${line}: ${result}. Remove the line and resume, or start a new run.`,
        { path: this.#log, line },
      )
    })
    await writeRunFile(this.#log, whole.map(({ text }) => `${text}\n`).join(''))
    for (const { value } of whole)
      if (isRecord(value) && typeof value.seconds === 'number') this.#seconds += value.seconds
    this.#lineAt = performance.now()
    return parsed
  }

  /**
   * Appends a line with `seconds`, the wall-clock time since the previous line. Once this returns, the line survives a
   * power cut.
   */
  async appendLog(value: object): Promise<void> {
    const now = performance.now()
    const seconds = (now - this.#lineAt) / 1000
    this.#lineAt = now
    this.#seconds += seconds
    await appendRunLine(this.#log, JSON.stringify({ ...value, seconds }))
  }

  /** Wall-clock time of all lines of the log, including earlier processes: overlapping trainings count once. */
  get seconds(): number {
    return this.#seconds
  }
}

/** Whether a value from a log is a history of epochs with validation. */
export function isHistory(value: unknown): value is EpochResult[] {
  const names = ['epoch', 'loss', 'accuracy', 'validationLoss', 'validationAccuracy', 'learningRate', 'seconds']
  return (
    Array.isArray(value) &&
    value.every((logs) => isRecord(logs) && names.every((name) => typeof logs[name] === 'number'))
  )
}
