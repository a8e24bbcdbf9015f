/** Training checkpoints on disk: a reader finds the last whole one, whatever happened while the next was being written. */
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { readHostFile } from '../format/host-file.node.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts'
import type { TrainingCheckpoint } from './contract.ts'

/** Parameters and two moments of each: ResNet152V2, trained whole, takes 0.7 GB. */
const mostBytes = 2 ** 31

/** Replaces the file at `path`, atomically. Throws WeftgradError 'file' if the disk refuses; the old file is then still there. */
export async function saveCheckpoint(path: string, checkpoint: TrainingCheckpoint): Promise<void> {
  await writeFileAtomic(path, encodeCheckpoint(checkpoint))
}

/** Throws WeftgradError 'file' if there is none to read, else as `decodeCheckpoint`. */
export async function loadCheckpoint(path: string): Promise<TrainingCheckpoint> {
  return decodeCheckpoint(readHostFile(path, mostBytes), path)
}
