/** Opens weights files on the host, by path. */
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { freshHdf5 } from './hdf5-instance.node.ts'
import { fromDisk, openHostFile } from './host-file.node.ts'
import { openWeights } from './open-weights.ts'
import type { WeightFile } from './weight-file.ts'

/**
 * Opens a weights file, or the folder of a TensorFlow.js model. Reads it in pieces on demand: only the current tensor and the
 * library are in memory.
 * @throws WeftgradError 'file' if it cannot be read, 'format' if it is damaged or in another format.
 */
export async function openWeightFile(path: string): Promise<WeightFile> {
  const file = fromDisk(path, () => statSync(path)).isDirectory() ? join(path, 'model.json') : path
  return openWeights(openHostFile(file), {
    hdf5: freshHdf5,
    openShard: async (shard) => openHostFile(join(dirname(file), shard)),
  })
}
