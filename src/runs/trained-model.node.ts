/** model.safetensors: a run's trained model with its description in the metadata. */
import { join } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { readCheckedFile, writeCheckedFile } from './checked-file.node.ts'
import { runFiles, shown } from './run-folder.node.ts'
import { weftgradVersion } from './versions.node.ts'

/**
 * Writes a run's model file.
 * @param encode returns its bytes, with the description added to its own.
 */
export async function saveModel(
  folder: string,
  encode: (description: Readonly<Record<string, string>>) => Promise<Uint8Array>,
): Promise<void> {
  await writeCheckedFile(join(folder, runFiles.model), await encode({ weftgrad: weftgradVersion() }))
}

export interface ModelBytes {
  readonly path: string
  readonly bytes: Uint8Array
}

/** Reads a run's model file. Throws WeftgradError 'file' if there is none, 'checksum' or 'format' if it is damaged. */
export async function readModelBytes(folder: string): Promise<ModelBytes> {
  const path = join(folder, runFiles.model)
  const bytes = await readCheckedFile(path)
  if (bytes !== undefined) return { path, bytes }
  throw new WeftgradError(
    'file',
    `${shown(folder)} holds no trained model (${runFiles.model}). Name the folder of a finished run, or finish one with --resume.`,
    { path },
  )
}
