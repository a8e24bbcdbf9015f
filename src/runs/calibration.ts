/**
 * How well a classifier's probabilities match how often it is right (Guo et al. 2017, "On calibration of modern neural
 * networks"): images in bins of equal width by the probability of the predicted class, and the expected calibration
 * error. The result is plain JSON.
 */
import { largest } from '../statistics.ts'
import type { Classified } from './error-analysis.ts'

export interface CalibrationBin {
  /** The bin's probabilities: from `from`, to below `to`; the last bin includes 1. */
  readonly from: number
  readonly to: number
  readonly images: number
  /** Mean probability of the predicted class; null for an empty bin. */
  readonly confidence: number | null
  /** Share of images that are predicted correctly; null for an empty bin. */
  readonly accuracy: number | null
}

export interface Calibration {
  readonly bins: readonly CalibrationBin[]
  /** Mean distance between confidence and accuracy of the bins, weighted by their images; in [0, 1]. */
  readonly expectedError: number
  /** Mean probability of the predicted class over all images. */
  readonly confidence: number
}

/** The number of bins in the paper, and in most that followed it. */
const usualBins = 15

/** Sorts images into bins of confidence. The lists must fit, as for `analyseErrors`, and hold an image. */
export function calibrationOf(
  { labels, predictions, probabilities, classes }: Omit<Classified, 'names'>,
  bins = usualBins,
): Calibration {
  const sums = Array.from({ length: bins }, () => ({ images: 0, confidence: 0, right: 0 }))
  for (let i = 0; i < labels.length; i++) {
    const own = Array.from({ length: classes }, (_, k) => probabilities[i * classes + k] ?? 0)
    // A softmax may round slightly above 1.
    const confidence = Math.min(1, largest(own))
    const bin = sums[Math.min(bins - 1, Math.floor(confidence * bins))]
    if (bin === undefined) continue
    bin.images++
    bin.confidence += confidence
    if (predictions[i] === labels[i]) bin.right++
  }
  const total = (pick: (bin: (typeof sums)[number]) => number): number =>
    sums.reduce((sum, bin) => sum + pick(bin), 0) / labels.length
  return {
    bins: sums.map(({ images, confidence, right }, i) => ({
      from: i / bins,
      to: (i + 1) / bins,
      images,
      confidence: images === 0 ? null : confidence / images,
      accuracy: images === 0 ? null : right / images,
    })),
    expectedError: total(({ confidence, right }) => Math.abs(confidence - right)),
    confidence: total(({ confidence }) => confidence),
  }
}
