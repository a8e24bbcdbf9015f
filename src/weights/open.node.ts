/** Opens weights in Node.js: by path, or from memory. */
import { freshHdf5 } from '../format/hdf5-instance.node.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import type { WeightFile } from '../format/weight-file.ts'
import { checkOpening, type OpenWeightsOptions, openHeld } from './open.ts'

/**
 * Opens a weights file or the folder of a TensorFlow.js model by its path, or bytes. Reads files in pieces on demand.
 * @throws WeftgradError 'file' if it cannot be read, 'format' if it is damaged or in another format.
 */
export async function openAnywhere(
  file: string | Blob | Uint8Array,
  options: OpenWeightsOptions = {},
): Promise<WeightFile> {
  checkOpening(options)
  return typeof file === 'string' ? await openWeightFile(file) : await openHeld(file, options, freshHdf5)
}
