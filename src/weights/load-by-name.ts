/** Loads the layers of a weights file that have a model's names and shapes, and leaves the others as they are. */

import { WeftgradError } from '../errors.ts'
import { anOpenFile, type WeightFile } from '../format/weight-file.ts'
import type { Model } from '../nn/model.ts'
import { checkNumbers, type WeightMatch, type WeightNumbers } from '../nn/model-weights.ts'
import { checkValue } from '../options.ts'
import { matchedEntries, weightedParts } from './load.ts'
import { groupsByName, withoutCounters } from './names.ts'

/**
 * Sets the weights of those layers whose names and shapes the file has, as Keras' `load_weights` does with `by_name` and
 * `skip_mismatch`. Says which weights were taken, and which were left. They are in host memory at the same time.
 * @throws WeftgradError 'argument' for a file that is not opened or a frozen model, 'data' for numbers that are not finite; the
 * model is unchanged then.
 */
export async function loadWeightsByName(model: Model, file: WeightFile): Promise<WeightMatch> {
  checkValue('loadWeightsByName: the file', file, anOpenFile)
  if (model.source !== model)
    throw new WeftgradError(
      'argument',
      `${model.name} is frozen; load the file into its source model, then freeze that.`,
    )
  const layers = model.layers.filter(({ isRepeat }) => !isRepeat).flatMap(weightedParts)
  const names = layers.map(({ layer }) => layer.name)
  const groups = groupsByName(names, file.groups.map(withoutCounters))
  const numbers = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const [i, placed] of layers.entries()) {
    const group = groups[i]
    const entries = group === undefined ? [] : (matchedEntries(placed, group, file) ?? [])
    for (const [j, entry] of entries.entries()) {
      const weight = placed.weights[j]
      if (weight === undefined) continue
      const data = await file.read(entry)
      checkNumbers(file.source, weight, data)
      numbers.set(weight.name, { shape: weight.shape, data })
    }
  }
  return model.setWeights(numbers satisfies WeightNumbers, { partial: true })
}
