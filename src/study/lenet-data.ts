/**
 * The images LeNet-5 trains and is tested on: the published split, or one drawn by seed from the published training
 * images, so that the published test images stay unseen.
 */
import type { LabelledBytes } from '../data/dataset.ts'
import { dropDuplicates } from '../data/duplicates.ts'
import type { FashionMnistBytes, LabelledImages } from '../data/fashion-mnist.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import type { TrainSettings } from './train-options.ts'

export interface LenetImages {
  /** Validation images included. */
  readonly train: LabelledBytes
  readonly test: LabelledBytes
  /** Where each test image stands in the file it is from. */
  readonly testIndices: Uint32Array
  /** Exact duplicates that were left out. */
  readonly duplicates: number
}

const heldShare = 0.1

/** Throws WeftgradError 'data' if there are too few images to train, validate and test with. */
export function lenetImages(
  { train, test }: FashionMnistBytes,
  { split, seed, limit }: Pick<TrainSettings, 'split' | 'seed' | 'limit'>,
): LenetImages {
  const most = limit ?? Number.POSITIVE_INFINITY
  if (split === 'official') {
    const testIndices = Uint32Array.from({ length: Math.min(most, test.count) }, (_, i) => i)
    const trainCount = enough(Math.min(most, train.count))
    return { train: firstOf(train, trainCount), test: firstOf(test, testIndices.length), testIndices, duplicates: 0 }
  }
  const kept = dropDuplicates(train.images, train.height * train.width)
  const { rest, held } = randomSplit(enough(kept.length), heldShare, seed)
  const positions = (part: Uint32Array): Uint32Array => part.slice(0, most).map((i) => kept[i] ?? 0)
  const testIndices = positions(held)
  return {
    train: picked(train, positions(rest)),
    test: picked(train, testIndices),
    testIndices,
    duplicates: train.count - kept.length,
  }
}

function enough(count: number): number {
  if (count >= 10) return count
  throw new WeftgradError('data', `${count} training images are too few: a tenth of them has to validate.`, { count })
}

/** The first images, without a copy. */
function firstOf(from: LabelledImages, count: number): LabelledBytes {
  const size = from.height * from.width
  return { ...from, images: from.images.subarray(0, count * size), labels: from.labels.subarray(0, count) }
}

function picked(from: LabelledImages, positions: Uint32Array): LabelledBytes {
  const { images, labels } = from
  const size = from.height * from.width
  const chosen = new Uint8Array(positions.length * size)
  for (const [k, i] of positions.entries()) chosen.set(images.subarray(i * size, (i + 1) * size), k * size)
  return { ...from, images: chosen, labels: Uint8Array.from(positions, (i) => labels[i] ?? 0) }
}
