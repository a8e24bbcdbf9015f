/**
 * model.safetensors: a run's trained model with its description in the metadata. Of a LeNet-5 the file is enough to use it.
 */
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { ifThere, readHostFile } from '../format/host-file.node.ts'
import { readSafetensors, type Safetensors } from '../format/safetensors.ts'
import type { Model } from '../nn/model.ts'
import { type DescribedLenet5, decodeLenet5, encodeLenet5, encodeModel } from '../nn/model-file.ts'
import { runFiles, shown } from './run-folder.node.ts'
import { weftgradVersion } from './versions.node.ts'

/** Deterministic: the same weights and description give the same bytes. */
export async function saveTrainedModel(folder: string, trained: DescribedLenet5): Promise<void> {
  await writeFileAtomic(join(folder, runFiles.model), await encodeLenet5(trained, { weftgrad: weftgradVersion() }))
}

/** A run's model.safetensors: the model's weights, and what describes it. Deterministic. */
export async function saveModel(
  folder: string,
  model: Model,
  description: Readonly<Record<string, string>>,
): Promise<void> {
  const bytes = await encodeModel(model, { ...description, weftgrad: weftgradVersion() })
  await writeFileAtomic(join(folder, runFiles.model), bytes)
}

/** What a run's model is saved as. Throws WeftgradError 'file' if there is none, 'format' if the file is damaged. */
export async function readModelFile(folder: string): Promise<Safetensors> {
  const { path, bytes } = await readBytes(folder)
  return readSafetensors(bytes, path)
}

/**
 * The model that `weftgrad train lenet` left in a run's folder. `dispose()` it.
 * @throws WeftgradError 'file' if there is none, 'format' or 'mismatch' if the file is damaged or another model's.
 */
export async function loadTrainedModel(folder: string): Promise<DescribedLenet5> {
  const { path, bytes } = await readBytes(folder)
  return decodeLenet5(bytes, path)
}

/** The largest network, ResNet152V2, takes 0.24 GB. */
const mostModelBytes = 2 ** 30

async function readBytes(folder: string): Promise<{ readonly path: string; readonly bytes: Uint8Array }> {
  const path = join(folder, runFiles.model)
  const bytes = ifThere(() => readHostFile(path, mostModelBytes))
  if (bytes !== undefined) return { path, bytes }
  throw new WeftgradError(
    'file',
    `${shown(folder)} holds no trained model (${runFiles.model}). Name the folder of a finished run, or finish one with --resume.`,
    { path },
  )
}
