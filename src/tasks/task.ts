/**
 * A task: a data set, a network, its training recipes, and published results to compare with. Jobs, commands and
 * reports take a task and name no data set or network themselves; another data set or network is another task.
 */
import type { ByteImage } from '../data/resize.ts'
import { WeftgradError } from '../errors.ts'
import type { Model } from '../nn/model.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { DataSource, LoadDataOptions, LoadedImages, RunTask } from '../runs/data.ts'
import { zooNameIn } from '../weights/zoo.ts'
import type { Recipe, RecipeName, TransferSettings } from './recipe.ts'
import type { Point, Space } from './space.ts'

export interface TaskData extends DataSource {
  /** The file formats that `--data-dir` accepts, for its help. */
  readonly forms: string
  /** Names by class number. */
  readonly classNames: readonly string[]
  readonly image: { readonly height: number; readonly width: number; readonly channels: number }
  /** How the data come in two halves, for help: 'the published 60,000 and 10,000 images'. */
  readonly halves: string
  /** The plural noun for what the images show. */
  readonly things: string
  /** Duplicate rows that a published CSV is known to have. */
  readonly knownDuplicates?: { readonly rows: number; readonly duplicates: number; readonly file: string } | undefined
  /** Reads a CSV file. Throws WeftgradError 'file' if it cannot be read, 'format' naming the bad lines. */
  readonly readCsv?:
    | ((path: string, options: Pick<LoadDataOptions, 'missing' | 'log'>) => Promise<LoadedImages>)
    | undefined
  /** Makes any picture an image of this task. Throws WeftgradError 'argument' if it cannot be inverted. */
  inputOf(picture: ByteImage, options: { readonly invert: boolean }): TaskInput
}

export interface TaskInput {
  /** [height, width, channels] of the task's images. */
  readonly pixels: Uint8Array
  /** What makes the picture unlike the task's images, to follow its name. */
  readonly remark?: string | undefined
}

export interface TaskNetwork {
  /** The name to show. */
  readonly title: string
  /** The name in files: config.json's job, report.json's model. */
  readonly name: string
  /** The name in a study's parts. */
  readonly word: string
  /** The command that trains it, such as `train lenet`. */
  readonly command: string
  /** Makes the network with initial weights. Throws WeftgradError 'argument' for invalid units. */
  build(
    options: { readonly units: readonly number[]; readonly classes: number; readonly dropout?: number },
    modelOptions: { readonly seed: number },
  ): Model
}

/** The settings that a point of the search gives the network and its training. */
export interface SearchedSettings {
  readonly units: readonly number[]
  readonly learningRate: number
}

/** The results of a published study, as accuracies in [0, 1]. */
export interface PublishedFigures {
  /** The source of the results, such as `notebook`. */
  readonly source: string
  /** Test accuracies by model. */
  readonly accuracies: Readonly<Partial<Record<PretrainedName, number>>>
  /** Accuracy of a cross-validation that reused one model across its folds. */
  readonly carryOver: number
  /** Number of images to train with, and of test images behind the accuracies. */
  readonly trainImages: number
  readonly testImages: number
}

export interface Task extends RunTask {
  /** The name in the files of its runs. */
  readonly name: string
  readonly data: TaskData
  readonly network: TaskNetwork
  readonly recipes: Readonly<Record<RecipeName, Recipe>>
  readonly search: {
    readonly space: Space
    /** Returns a point's settings. Throws WeftgradError 'argument' for a point of another space. */
    settingsOf(point: Point): SearchedSettings
    /** Epochs of the longest trials, and of each fold. */
    readonly maxEpochs: number
  }
  /** The best settings found for each pretrained network to compare with; at least one. */
  readonly transfer: { readonly [name in PretrainedName]?: TransferSettings }
  /** Published results, if there are any. */
  readonly published?: PublishedFigures | undefined
}

/** A task whose study can be compared with a published one. */
export interface PublishedTask extends Task {
  readonly published: PublishedFigures
}

/**
 * The settings for a pretrained network; for any other, the path of a model's file, those that all networks share: its layers and
 * its size are its own. Throws WeftgradError 'argument' if the task has none.
 */
export function transferDefaults({ transfer, data }: Task, name: string): TransferSettings {
  const settings = new Map<string, TransferSettings>(Object.entries(transfer)).get(name)
  if (settings !== undefined) return settings
  const names = Object.keys(transfer)
  const [first] = Object.values(transfer)
  if (first !== undefined && zooNameIn(name) === undefined) return { ...first, size: null, layers: [] }
  throw new WeftgradError('argument', `${data.title} has no settings for ${name}. Use one of: ${names.join(', ')}.`, {
    name,
  })
}

/** Builds the network with the task's classes. */
export function buildNetwork(
  { network, data }: Task,
  { units, dropout = 0 }: { readonly units: readonly number[]; readonly dropout?: number },
  seed: number,
): Model {
  return network.build({ units, dropout, classes: data.classNames.length }, { seed })
}
