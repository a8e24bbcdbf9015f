/**
 * A training with its own folder: it writes a checkpoint after each epoch and when it is stopped, and resumes from
 * there, also to more epochs than before. An epoch's result is the same bit for bit, however often training was
 * resumed.
 */
import { join } from 'node:path'
import type { Dataset } from '../data/contract.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../nn/checkpoint.ts'
import type { Callbacks, EpochResult, FitOptions, TrainingCheckpoint } from '../nn/contract.ts'
import { fit } from '../nn/fit.ts'
import type { Model } from '../nn/model.ts'
import { readCheckedFile, writeCheckedFile } from './checked-file.node.ts'
import { runFiles } from './run-folder.node.ts'

export interface ResumableFit {
  readonly folder: string
  /** A folder with an earlier checkpoint of the same training, used if `folder` has none. */
  readonly from?: string | undefined
  /** Makes the model, only if there is something to train; it is disposed of at the end. */
  readonly makeModel: () => Model | Promise<Model>
  readonly train: Dataset
  readonly options: Omit<FitOptions, 'resume' | 'callbacks'>
  readonly callbacks?: Pick<Callbacks, 'onBegin' | 'onProgress' | 'onEpochEnd'>
}

/** Trains and returns the history up to `options.epochs`. Throws as `fit`, and on disk errors. */
export async function fitInFolder({
  folder,
  from,
  makeModel,
  train,
  options,
  callbacks,
}: ResumableFit): Promise<readonly EpochResult[]> {
  const resume = (await checkpointIn(folder)) ?? (from === undefined ? undefined : await checkpointIn(from))
  if (resume !== undefined && resume.epoch >= options.epochs) return resume.history.slice(0, options.epochs)
  using model = await makeModel()
  const { epochs } = await fit(model, train, {
    ...options,
    ...(resume === undefined ? {} : { resume }),
    callbacks: { ...callbacks, onCheckpoint: (next) => keepCheckpoint(folder, next) },
  })
  return epochs
}

/** The training's last checkpoint. Throws WeftgradError 'checksum' or 'format' if it is damaged. */
export async function checkpointIn(folder: string): Promise<TrainingCheckpoint | undefined> {
  const path = checkpointPath(folder)
  const bytes = await readCheckedFile(path)
  return bytes === undefined ? undefined : decodeCheckpoint(bytes, path)
}

/** Replaces the training's checkpoint. Throws as `writeRunFile`; the old one then remains. */
export async function keepCheckpoint(folder: string, checkpoint: TrainingCheckpoint): Promise<void> {
  await writeCheckedFile(checkpointPath(folder), encodeCheckpoint(checkpoint))
}

function checkpointPath(folder: string): string {
  return join(folder, runFiles.checkpoint)
}
