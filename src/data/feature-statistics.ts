/** Mean and variance of the features of any data set, computed on the device piece by piece. */

import { evaluate } from '../autograd/tensors.ts'
import { mean, square, sub } from '../operators/index.ts'
import type { Dataset } from './contract.ts'
import { examplesAt, pieces } from './examples.ts'

/**
 * Mean and biased variance of each feature, a place on the last axis of an example, over all examples and other axes. The results
 * of pieces are combined in float64 (Chan, Golub, LeVeque 1979), so that long sums lose no precision.
 * @throws WeftgradError 'argument' for a generator.
 */
export async function featureStatistics(
  set: Dataset,
): Promise<{ readonly mean: Float32Array; readonly variance: Float32Array }> {
  const features = set.shape.at(-1) ?? 1
  const [means, squares] = [new Float64Array(features), new Float64Array(features)]
  let done = 0
  for (const indices of pieces(set)) {
    const { x } = examplesAt(set, indices, set.shape)
    const axes = x.shape.slice(0, -1).map((_, axis) => axis)
    const center = mean(x, { axes })
    const [centers = [], variances = []] = await evaluate([center, mean(square(sub(x, center)), { axes })])
    const share = indices.size / (done + indices.size)
    for (let i = 0; i < features; i++) {
      const [distance, variance] = [(centers[i] ?? 0) - (means[i] ?? 0), variances[i] ?? 0]
      means[i] = (means[i] ?? 0) + distance * share
      squares[i] = (squares[i] ?? 0) * (1 - share) + (variance + distance * distance * (1 - share)) * share
    }
    done += indices.size
  }
  return { mean: Float32Array.from(means), variance: Float32Array.from(squares) }
}
