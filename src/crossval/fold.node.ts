/**
 * A fold as a unit of work: trains a network on all folds but one and validates it on that one. The network is fresh, or
 * the one that the previous fold left.
 */
import type { ImageDataset } from '../data/dataset.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { EpochResult, FitOptions } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { adam } from '../nn/optimizers.ts'
import { Random } from '../random.ts'
import { checkpointIn, fitInFolder } from '../runs/resumable-fit.node.ts'
import { runFiles } from '../runs/run-folder.node.ts'
import { isHistory, TrainingImages } from '../runs/trainings.node.ts'
import { buildNetwork, type Task } from '../tasks/task.ts'
import type { UnitKind, UnitPlace } from '../units/unit.ts'
import { othersOf, stratifiedFolds } from './folds.ts'
import { type CrossValidationSettings, crossValidationSettings } from './settings.ts'

/** Kinds of folds. `honest`: a fresh model for each fold; `carried`: one model reused across all folds. */
export type FoldsKind = 'honest' | 'carried'

export interface FoldPlace {
  readonly kind: FoldsKind
  /** Counted from 1. */
  readonly fold: number
}

/** All that a fold's numbers depend on, besides data, kernels and adapter. */
export interface FoldSettings extends FoldPlace {
  readonly settings: Omit<CrossValidationSettings, 'carryOver'>
}

/** The images of all folds, and the positions of those that validate. */
export interface FoldsGround extends Disposable {
  readonly task: Task
  readonly images: ImageDataset
  readonly held: readonly Uint32Array[]
}

/** Draws the folds. The caller owns the images. Throws as `stratifiedFolds`. */
export function foldsGround(
  task: Task,
  images: TrainingImages,
  { folds, seed }: Pick<CrossValidationSettings, 'folds' | 'seed'>,
): FoldsGround {
  const held = stratifiedFolds(images.train.labelsOf(), folds, seed)
  return { task, images: images.train, held, [Symbol.dispose]: () => images[Symbol.dispose]() }
}

export const foldKind: UnitKind<FoldSettings, FoldsGround, readonly EpochResult[]> = {
  name: 'fold',
  files: [runFiles.checkpoint],
  read(value, task) {
    const { kind, fold, settings } = isRecord(value) ? value : {}
    const given = { ...(isRecord(settings) ? settings : {}), carryOver: false }
    const { carryOver: _, ...own } = crossValidationSettings(task).read(given, 'The fold')
    const isFold = typeof fold === 'number' && Number.isInteger(fold) && fold >= 1 && fold <= own.folds
    if (isFold && (kind === 'honest' || kind === 'carried')) return { kind, fold, settings: own }
    throw new WeftgradError('format', 'The fold is not one of its cross-validation.', { kind, fold })
  },
  isAnswer: (answer, { settings }): answer is readonly EpochResult[] =>
    isHistory(answer) && answer.length === settings.epochs,
  groundKey: ({ settings: { split, limit, seed, folds } }) => JSON.stringify({ split, limit, seed, folds }),
  open: async (task, { device, data }, { settings }) =>
    foldsGround(task, new TrainingImages(device, data, settings), settings),
  async run(ground, { kind, fold, settings }, { folder, before, kernels, signal, events }: UnitPlace) {
    const { train, options } = foldTraining(ground, settings, fold)
    return await fitInFolder({
      folder,
      makeModel: () =>
        kind === 'honest'
          ? foldModel(ground.task, settings, fold)
          : carriedModel(ground.task, settings, fold - 1, before ?? folder),
      train,
      options: { ...options, variants: kernels, ...(signal === undefined ? {} : { signal }) },
      callbacks: events,
    })
  },
}

/** The images and options of a fold's training. */
export function foldTraining({ images, held }: FoldsGround, settings: FoldSettings['settings'], fold: number) {
  const own = held[fold - 1] ?? new Uint32Array()
  const train = images.subset(othersOf(own, images.count))
  const validation = images.subset(own)
  const { learningRate, epochs, batchSize } = settings
  const seed = seedOf(settings, fold)
  const options: FitOptions = { optimizer: adam({ learningRate }), epochs, batchSize, validation, seed }
  return { train, options }
}

/** A new model for a fold. */
export function foldModel(task: Task, settings: FoldSettings['settings'], fold: number): Model {
  return buildNetwork(task, { units: settings.units }, seedOf(settings, fold))
}

/** The reused model after a fold, whose files are in `folder`. Its optimizer starts afresh in the next one. */
export async function carriedModel(
  task: Task,
  settings: FoldSettings['settings'],
  fold: number,
  folder: string,
): Promise<Model> {
  const checkpoint = await checkpointIn(folder)
  if (checkpoint === undefined || checkpoint.epoch < settings.epochs)
    throw new WeftgradError(
      'file',
      `${folder} lacks the checkpoint of fold ${fold}, from which the reused model continues. Start a new run.`,
      { folder },
    )
  const model = foldModel(task, settings, 1)
  model.setWeights(checkpoint.weights)
  return model
}

function seedOf({ seed }: FoldSettings['settings'], fold: number): number {
  return new Random(seed, `fold ${fold}`).below(2 ** 32)
}
