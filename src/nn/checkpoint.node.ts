/** Training checkpoints on disk: a reader finds the last whole one, whatever happened while the next was being written. */
import { readFile } from 'node:fs/promises'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts'
import type { TrainingCheckpoint } from './contract.ts'

/** Replaces the file at `path`, atomically. Throws WeftgradError 'file' if the disk refuses; the old file is then still there. */
export async function saveCheckpoint(path: string, checkpoint: TrainingCheckpoint): Promise<void> {
  await writeFileAtomic(path, encodeCheckpoint(checkpoint))
}

/** Throws WeftgradError 'file' if there is none to read, else as `decodeCheckpoint`. */
export async function loadCheckpoint(path: string): Promise<TrainingCheckpoint> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause)
    throw new WeftgradError('file', `${path} could not be read: ${problem}.`, { path }, cause)
  }
  return decodeCheckpoint(bytes, path)
}
