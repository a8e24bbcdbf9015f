/**
 * A training with a folder of its own: it leaves a checkpoint after each epoch and where it is stopped, goes on from there
 * when it is asked for again, and further when more epochs are asked for. All ways to the same epoch give the same bits.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Dataset } from '../data/contract.ts'
import { loadCheckpoint, saveCheckpoint } from '../nn/checkpoint.node.ts'
import type { Callbacks, EpochLogs, FitOptions, TrainingCheckpoint } from '../nn/contract.ts'
import { fit } from '../nn/fit.ts'
import type { Model } from '../nn/model.ts'
import { runFiles } from './run-folder.node.ts'

export interface ResumableFit {
  readonly folder: string
  /** Made only if there is something to train; disposed of at the end. */
  readonly makeModel: () => Model | Promise<Model>
  readonly train: Dataset
  readonly options: Omit<FitOptions, 'resume' | 'callbacks'>
  readonly callbacks?: Pick<Callbacks, 'onBegin' | 'onProgress' | 'onEpochEnd'>
}

/** The history up to `options.epochs`. Throws what `fit` and the disk throw. */
export async function fitInFolder({
  folder,
  makeModel,
  train,
  options,
  callbacks,
}: ResumableFit): Promise<readonly EpochLogs[]> {
  const resume = await checkpointIn(folder)
  if (resume !== undefined && resume.epoch >= options.epochs) return resume.history.slice(0, options.epochs)
  using model = await makeModel()
  const { epochs } = await fit(model, train, {
    ...options,
    ...(resume === undefined ? {} : { resume }),
    callbacks: { ...callbacks, onCheckpoint: (next) => saveCheckpoint(checkpointPath(folder), next) },
  })
  return epochs
}

/** The training's last checkpoint. Throws WeftgradError 'format' if it is damaged. */
export async function checkpointIn(folder: string): Promise<TrainingCheckpoint | undefined> {
  const path = checkpointPath(folder)
  const isThere = await stat(path).then(
    () => true,
    () => false,
  )
  return isThere ? await loadCheckpoint(path) : undefined
}

function checkpointPath(folder: string): string {
  return join(folder, runFiles.checkpoint)
}
