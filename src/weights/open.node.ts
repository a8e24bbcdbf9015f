/** Opens weights in Node.js: by path, or what a program holds. */
import { freshHdf5 } from '../format/hdf5-instance.node.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import type { WeightFile } from '../format/weight-file.ts'
import { checkOpening, type OpenWeightsOptions, openHeld } from './open.ts'

/**
 * Opens a file of weights or the folder of a TensorFlow.js model by its path, or bytes as everywhere. Files are read in
 * pieces, as they are asked for.
 * @throws WeftgradError 'file' if it cannot be read, 'format' if it is damaged or none of the formats.
 */
export async function openAnywhere(
  file: string | Blob | Uint8Array,
  options: OpenWeightsOptions = {},
): Promise<WeightFile> {
  checkOpening(options)
  return typeof file === 'string' ? await openWeightFile(file) : await openHeld(file, options, freshHdf5)
}
