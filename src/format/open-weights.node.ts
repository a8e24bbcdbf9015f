/** Opens files of weights on the host, by path. */
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { freshHdf5 } from './hdf5-instance.node.ts'
import { fromDisk, openHostFile } from './host-file.node.ts'
import { openWeights } from './open-weights.ts'
import type { WeightFile } from './weight-file.ts'

/**
 * Opens a file of weights, or the folder of a TensorFlow.js model. It is read in pieces as they are asked for; what is in
 * memory is the tensor being read, and the library that reads it.
 * @throws WeftgradError 'file' if it cannot be read, 'format' if it is damaged or none of the formats.
 */
export async function openWeightFile(path: string): Promise<WeightFile> {
  const file = fromDisk(path, () => statSync(path)).isDirectory() ? join(path, 'model.json') : path
  return openWeights(openHostFile(file), {
    hdf5: freshHdf5,
    openShard: async (shard) => openHostFile(join(dirname(file), shard)),
  })
}
