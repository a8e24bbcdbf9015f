/**
 * model.safetensors: a trained LeNet-5 with its description in the metadata, so that the file is enough to use it.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import {
  readSafetensors,
  type SafeTensor,
  type Safetensors,
  toFloat32,
  writeSafetensors,
} from '../format/safetensors.ts'
import type { Model } from '../nn/model.ts'
import { lenet5 } from '../nn/models/lenet5.ts'
import { runFiles, shown } from './run-folder.node.ts'
import { weftgradVersion } from './versions.node.ts'

export interface TrainedModel {
  readonly model: Model
  readonly units: readonly [number, number]
  readonly classNames: readonly string[]
  /** Whether its probabilities are meant to be means of an image's and its mirror's. */
  readonly flipAverage?: boolean
}

/** Deterministic: the same weights and description give the same bytes. */
export async function saveTrainedModel(
  folder: string,
  { model, units, classNames, flipAverage = false }: TrainedModel,
): Promise<void> {
  await saveModel(folder, model, {
    ...{ model: 'lenet5', units: units.join(','), classes: JSON.stringify(classNames) },
    ...(flipAverage ? { flips: 'averaged' } : {}),
  })
}

/** A run's model.safetensors: the model's weights, and what describes it. Deterministic. */
export async function saveModel(
  folder: string,
  model: Model,
  description: Readonly<Record<string, string>>,
): Promise<void> {
  const tensors = new Map<string, SafeTensor>()
  for (const [name, { shape, data }] of await model.weightNumbers()) tensors.set(name, { dtype: 'F32', shape, data })
  const metadata = {
    ...description,
    format: 'weftgrad-model',
    input: model.inputShape.join(','),
    weftgrad: weftgradVersion(),
  }
  await writeFileAtomic(join(folder, runFiles.model), writeSafetensors(tensors, metadata))
}

/** What a run's model is saved as. Throws WeftgradError 'file' if there is none, 'format' if the file is damaged. */
export async function readModelFile(folder: string): Promise<Safetensors & { readonly path: string }> {
  const path = join(folder, runFiles.model)
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw new WeftgradError(
      'file',
      `${shown(folder)} holds no trained model (${runFiles.model}). Name the folder of a finished run, or finish one with --resume.`,
      { path },
      cause,
    )
  }
  return { path, ...readSafetensors(bytes, path) }
}

/**
 * The model of a run. `dispose()` it.
 * @throws WeftgradError 'file' if there is none, 'format' or 'mismatch' if the file is damaged or another model's.
 */
export async function loadTrainedModel(folder: string): Promise<TrainedModel> {
  const { path, tensors, metadata } = await readModelFile(folder)
  if (metadata.model !== 'lenet5') {
    throw new WeftgradError('mismatch', `${path} is not a LeNet-5 that weftgrad wrote. Name the folder of a run.`, {
      path,
      model: metadata.model,
    })
  }
  const [first = Number.NaN, second = Number.NaN, ...more] = (metadata.units ?? '').split(',').map(Number)
  const classNames = parsedNames(metadata.classes ?? '')
  if (more.length > 0 || ![first, second].every((n) => n >= 1 && n <= 4096) || classNames === undefined) {
    throw new WeftgradError('format', `${path} does not say which LeNet-5 it is. Copy or train it again.`, { path })
  }
  const units = [first, second] as const
  const model = lenet5({ units, classes: classNames.length })
  try {
    model.setWeights(new Map([...tensors].map(([name, t]) => [name, { shape: t.shape, data: toFloat32(t) }])))
  } catch (error) {
    model.dispose()
    throw error
  }
  return { model, units, classNames, flipAverage: metadata.flips === 'averaged' }
}

function parsedNames(text: string): readonly string[] | undefined {
  try {
    const names: unknown = JSON.parse(text)
    const right = Array.isArray(names) && names.length > 0 && names.length <= 256
    return right && names.every((name) => typeof name === 'string') ? names : undefined
  } catch {
    return undefined
  }
}
