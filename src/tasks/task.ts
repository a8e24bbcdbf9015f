/**
 * A task: a data set, a network that learns it, how that is trained, and published figures to compare with. Jobs, commands
 * and reports take a task and know no data set or network by themselves; another data set or network is another value.
 */
import type { Model } from '../nn/model.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { DataSource, LoadDataOptions, LoadedImages } from '../runs/data.ts'
import type { Recipe, RecipeName, TransferSettings } from './recipe.ts'
import type { Point, Space } from './space.ts'

export interface TaskData extends DataSource {
  /** The images as `--data-dir` takes them, for its help. */
  readonly forms: string
  /** By class number. */
  readonly classNames: readonly string[]
  readonly image: { readonly height: number; readonly width: number; readonly channels: number }
  /** How many images are published. */
  readonly counts: { readonly train: number; readonly test: number }
  /** What the images show, in the plural. */
  readonly things: string
  /** Whether things are light on a dark background; pictures from elsewhere may have to be inverted. */
  readonly lightOnDark: boolean
  /** Duplicate rows that a published CSV is known to have. */
  readonly knownDuplicates: { readonly rows: number; readonly duplicates: number; readonly file: string }
  /** Throws WeftgradError 'file' if it cannot be read, 'format' naming the lines that are wrong. */
  readCsv(path: string, options: Pick<LoadDataOptions, 'missing' | 'log'>): Promise<LoadedImages>
}

/** A trained network with what its file says of it. */
export interface TrainedNetwork {
  readonly model: Model
  readonly units: readonly number[]
  /** By class number. */
  readonly classNames: readonly string[]
  /** Whether its probabilities are meant to be means of an image's and its mirror image's. */
  readonly flipAverage?: boolean
}

export interface TaskNetwork {
  /** For people. */
  readonly title: string
  /** In files: config.json's job, report.json's model. */
  readonly name: string
  /** On the command line, and in the names of a study's parts. */
  readonly word: string
  /** Makes it, with initial weights. Throws WeftgradError 'argument' for units that it cannot have. */
  build(
    options: { readonly units: readonly number[]; readonly classes: number; readonly dropout?: number },
    modelOptions: { readonly seed: number },
  ): Model
  /** Deterministic. */
  encode(trained: TrainedNetwork, description: Readonly<Record<string, string>>): Promise<Uint8Array>
  /**
   * Throws WeftgradError 'format' or 'mismatch' if the bytes are damaged or another model's, 'data' if weights are not finite.
   * @param source names the bytes in errors.
   */
  decode(bytes: Uint8Array, source: string): TrainedNetwork
}

/** What is searched, and what a trial tells the network and its training. */
export interface SearchedSettings {
  readonly units: readonly number[]
  readonly learningRate: number
}

/** What a published study came to, as accuracies in [0, 1]. */
export interface PublishedFigures {
  /** Of whom the figures are, such as `notebook`. */
  readonly source: string
  /** Test accuracies by model. */
  readonly accuracies: Readonly<Partial<Record<PretrainedName, number>>>
  /** Of a cross-validation that reused one model across its folds. */
  readonly carryOver: number
  /** Test images that the accuracies are of. */
  readonly testImages: number
}

export interface Task {
  readonly data: TaskData
  readonly network: TaskNetwork
  readonly recipes: Readonly<Record<RecipeName, Recipe>>
  readonly search: {
    readonly space: Space
    /** Throws WeftgradError 'argument' for a point of another space. */
    settingsOf(point: Point): SearchedSettings
    /** The most that a trial is trained; also what a fold is trained. */
    readonly maxEpochs: number
  }
  /** The best settings found for each pretrained network. */
  readonly transfer: { readonly [name in PretrainedName]: TransferSettings }
  readonly published: PublishedFigures
}

/** The network with the task's classes. */
export function buildNetwork(
  { network, data }: Task,
  { units, dropout = 0 }: { readonly units: readonly number[]; readonly dropout?: number },
  seed: number,
): Model {
  return network.build({ units, dropout, classes: data.classNames.length }, { seed })
}
