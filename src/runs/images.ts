/**
 * Splits a run's images into training and test images: the published split, or one drawn by seed from the published
 * training images, so that the published test images stay unseen.
 */
import type { LabelledBytes } from '../data/dataset.ts'
import { dropDuplicates } from '../data/duplicates.ts'
import { randomSplit } from '../data/split.ts'
import { WeftgradError } from '../errors.ts'
import type { LoadedData, LoadedImages } from './data.ts'

/** Settings that choose the images. */
export interface ImageSettings {
  /** `official`: the published halves. `seed`: a tenth of the training images, without duplicates, is the test set. */
  readonly split: 'official' | 'seed'
  /** Limits the run to the first images: this many to train (validation included), at most as many to test. */
  readonly limit: number | null
  readonly seed: number
}

export interface SplitImages {
  /** Training images, validation included. */
  readonly train: LabelledBytes
  readonly test: LabelledBytes
  /** Index of each test image in its source file. */
  readonly testIndices: Uint32Array
  /** Number of exact duplicates left out. */
  readonly duplicates: number
}

/** The fewest training images: a tenth of them validates. */
export const leastImages = 10

const heldShare = 0.1

/** Chooses the images. Throws WeftgradError 'data' if there are too few to train, validate and test. */
export function splitImages(
  { train, test }: Pick<LoadedData, 'train' | 'test'>,
  { split, seed, limit }: ImageSettings,
): SplitImages {
  const most = limit ?? Number.POSITIVE_INFINITY
  if (split === 'official') {
    const testIndices = Uint32Array.from({ length: Math.min(most, test.count) }, (_, i) => i)
    const trainCount = enough(Math.min(most, train.count))
    return { train: firstOf(train, trainCount), test: firstOf(test, testIndices.length), testIndices, duplicates: 0 }
  }
  const kept = dropDuplicates(train.images, bytesOf(train))
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
  if (count >= leastImages) return count
  throw new WeftgradError('data', `${count} training images are too few: a tenth of them is needed for validation.`, {
    count,
  })
}

/** Number of bytes of an image. */
export function bytesOf({ height, width, channels }: Pick<LabelledBytes, 'height' | 'width' | 'channels'>): number {
  return height * width * channels
}

/** The first images, without a copy; undefined and null mean all. */
export function firstOf(from: LoadedImages, limit: number | null | undefined): LoadedImages {
  const count = Math.min(limit ?? from.count, from.count)
  return {
    ...from,
    count,
    images: from.images.subarray(0, count * bytesOf(from)),
    labels: from.labels.subarray(0, count),
    names: from.names?.slice(0, count),
  }
}

function picked(from: LoadedImages, positions: Uint32Array): LabelledBytes {
  const { images, labels, names } = from
  const size = bytesOf(from)
  const chosen = new Uint8Array(positions.length * size)
  for (const [k, i] of positions.entries()) chosen.set(images.subarray(i * size, (i + 1) * size), k * size)
  return {
    ...from,
    images: chosen,
    labels: Uint8Array.from(positions, (i) => labels[i] ?? 0),
    names: names && Array.from(positions, (i) => names[i] ?? ''),
  }
}
