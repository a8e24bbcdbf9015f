/** The data a job works on, as a task's source loads it: images with labels in host memory, and where they came from. */
import type { LabelledBytes } from '../data/dataset.ts'

/** Images of one half of the data. */
export interface LoadedImages extends LabelledBytes {
  readonly labels: Uint8Array
  readonly count: number
  /** For a CSV: the numbers of the lines (from 1, the header's) that were left out for missing cells. */
  readonly droppedLines?: readonly number[]
}

export interface LoadedData {
  /** The folder the data were read from. */
  readonly folder: string
  /** Whether these are the published data, bit for bit. */
  readonly published: boolean
  readonly train: LoadedImages
  readonly test: LoadedImages
}

export interface LoadDataOptions {
  /** The only folder to look in. */
  readonly dataDir?: string | undefined
  /** Whether rows of a CSV with missing cells are refused or dropped. */
  readonly missing?: 'refuse' | 'drop' | undefined
  readonly log?: ((line: string) => void) | undefined
  /** Whether to download what is missing. */
  readonly provision?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Where data come from. */
export interface DataSource {
  /** For people, such as `Fashion-MNIST`. */
  readonly title: string
  /** Throws WeftgradError 'file', 'fetch', 'format', 'data', 'checksum' or 'aborted'. */
  load(options?: LoadDataOptions): Promise<LoadedData>
}

/** The data of a run, for people. */
export interface DataFacts {
  readonly folder: string
  readonly published: boolean
  /** Images to train, validation included. */
  readonly train: number
  readonly test: number
  /** Exact duplicates left out. */
  readonly duplicates: number
  /** Where a run may draw its own test images. */
  readonly split?: 'official' | 'seed'
  readonly limit?: number | null
}
