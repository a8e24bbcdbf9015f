/**
 * A round of a trial as a unit of work: trains the task's network with given hyperparameters up to a number of epochs,
 * from where the previous round left it.
 */
import type { ImageDataset } from '../data/dataset.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { EpochResult, FitOptions } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { adam } from '../nn/optimizers.ts'
import { fitInFolder } from '../runs/resumable-fit.node.ts'
import { runFiles } from '../runs/run-folder.node.ts'
import { common } from '../runs/settings.ts'
import { isHistory, TrainingImages } from '../runs/trainings.node.ts'
import type { Point } from '../tasks/space.ts'
import { buildNetwork, type Task } from '../tasks/task.ts'
import type { UnitKind, UnitPlace } from '../units/unit.ts'
import { scoreOf } from './search.ts'
import { type SearchSettings, searchSettings } from './settings.ts'

/** All that a trial's numbers depend on, besides data, kernels and adapter. */
export interface TrialSettings {
  /** Chooses the images; its seed draws those that validate. */
  readonly images: Pick<SearchSettings, 'split' | 'limit' | 'seed'>
  readonly batchSize: number
  readonly hyperparameters: Point
  /** Random seed of the weights and the order of the images. */
  readonly seed: number
  /** Total epochs, earlier rounds included. */
  readonly epochs: number
}

/** The logs of all epochs so far, or why training diverged. */
export type TrialAnswer = { readonly history: readonly EpochResult[] } | { readonly problem: string }

/** The images of all trials of a search. */
export interface TrialGround extends Disposable {
  readonly task: Task
  readonly train: ImageDataset
  readonly validation: ImageDataset
}

const validationShare = 0.1

/** Splits the images of a search. The caller owns them. */
export function trialGround(task: Task, images: TrainingImages, { seed }: TrialSettings['images']): TrialGround {
  const { rest, held } = randomSplit(images.train.count, validationShare, seed)
  return {
    task,
    train: images.train.subset(rest),
    validation: images.train.subset(held),
    [Symbol.dispose]: () => images[Symbol.dispose](),
  }
}

export const trialKind: UnitKind<TrialSettings, TrialGround, TrialAnswer> = {
  name: 'trial',
  files: [runFiles.checkpoint],
  read(value, task) {
    const { images, batchSize, hyperparameters, seed, epochs } = isRecord(value) ? value : {}
    const table = searchSettings(task)
    const { split, limit, seed: imageSeed } = isRecord(images) ? images : {}
    const own = { split, limit, seed: imageSeed, batchSize, maxEpochs: epochs } as const
    for (const [name, one] of Object.entries(own)) table.check(name as keyof typeof own, one)
    if (!common.seed('').accepts(seed) || !isRecord(hyperparameters) || !isPoint(hyperparameters, task))
      throw new WeftgradError('format', 'The trial has a seed or hyperparameters that are not of this search.')
    // Every field has been checked.
    return value as TrialSettings
  },
  isAnswer: (answer, { epochs }): answer is TrialAnswer =>
    isRecord(answer) &&
    (typeof answer.problem === 'string' || (isHistory(answer.history) && answer.history.length === epochs)),
  groundKey: ({ images }) => JSON.stringify(images),
  open: async (task, { device, data }, { images }) =>
    trialGround(task, new TrainingImages(device, data, images), images),
  async run({ task, train, validation }, settings, { folder, before, kernels, signal, events }: UnitPlace) {
    try {
      const history = await fitInFolder({
        folder,
        from: before,
        makeModel: () => trialModel(task, settings),
        train,
        options: {
          ...trialOptions(task, settings, validation),
          variants: kernels,
          ...(signal === undefined ? {} : { signal }),
        },
        callbacks: events,
      })
      // JSON has no NaN.
      return scoreOf(history) === undefined ? { problem: 'No epoch had a finite validation loss.' } : { history }
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'not-finite') return { problem: error.message }
      throw error
    }
  },
}

export function trialModel(
  task: Task,
  { hyperparameters, seed }: Pick<TrialSettings, 'hyperparameters' | 'seed'>,
): Model {
  return buildNetwork(task, task.search.settingsOf(hyperparameters), seed)
}

export function trialOptions(
  task: Task,
  { hyperparameters, epochs, batchSize, seed }: TrialSettings,
  validation: ImageDataset,
): FitOptions {
  const { learningRate } = task.search.settingsOf(hyperparameters)
  return { optimizer: adam({ learningRate }), epochs, batchSize, validation, seed }
}

/** Whether the point is in the task's space. */
function isPoint(point: Readonly<Record<string, unknown>>, { search }: Task): boolean {
  const dimensions = Object.entries(search.space.dimensions)
  return (
    Object.keys(point).length === dimensions.length &&
    dimensions.every(([name, values]) => values.some((value) => value === point[name]))
  )
}
