/** The data of a job as a task's source loads them: images with labels in host memory, and their origin. */
import type { LabelledBytes } from '../data/dataset.ts'

/** The images of the training or the test part. */
export interface LoadedImages extends LabelledBytes {
  readonly labels: Uint8Array
  readonly count: number
  /** Numbers of the CSV lines that were left out for missing cells; the header is line 1. */
  readonly droppedLines?: readonly number[]
}

export interface LoadedData {
  /** The folder the data were read from. */
  readonly folder: string
  /** Whether the data equal the published ones bit for bit; undefined if none were published. */
  readonly published: boolean | undefined
  readonly train: LoadedImages
  readonly test: LoadedImages
}

export interface LoadDataOptions {
  /** The folder to search, and no other. */
  readonly dataDir?: string | undefined
  /** Whether CSV rows with missing cells are rejected or dropped. */
  readonly missing?: 'refuse' | 'drop' | undefined
  readonly log?: ((line: string) => void) | undefined
  /** Whether to download what is missing. */
  readonly provision?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** A source of data. */
export interface DataSource {
  /** The name to show, such as `Fashion-MNIST`. */
  readonly title: string
  /** The option that names its folder. */
  readonly option: '--data-dir' | '--images'
  /** Loads the data. Throws WeftgradError 'file', 'fetch', 'format', 'data', 'checksum' or 'aborted'. */
  load(options?: LoadDataOptions): Promise<LoadedData>
}

/** What a run needs to know of its task. */
export interface RunTask {
  readonly name: string
  readonly data: DataSource
  /** What config.json must hold, besides the name, to make the task again. */
  readonly facts?: Readonly<Record<string, unknown>> | undefined
}

/** Facts about the data of a run, to show. */
export interface DataFacts {
  readonly folder: string
  readonly published: boolean | undefined
  /** Number of training images, validation included. */
  readonly train: number
  readonly test: number
  /** Number of exact duplicates left out. */
  readonly duplicates: number
  /** The choice of the test images, if a run may draw its own. */
  readonly split?: 'official' | 'seed'
  readonly limit?: number | null
}
