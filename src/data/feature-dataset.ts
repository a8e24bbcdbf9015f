/** Features of a frozen network: labelled flat rows of float32 numbers, filled piece by piece. */

import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import { aList, aNumber, anArray, checkOptions, required } from '../options.ts'
import { ArrayDataset, allocateArrays } from './array-dataset.ts'
import { classNumbers } from './contract.ts'

/** The layout and labels of a feature data set. */
export interface FeatureSpec {
  /** Numbers in a row. */
  readonly width: number
  /** A class number for each row: any array of whole numbers. */
  readonly labels: ArrayLike<number>
  /** Number of classes, at most 2^24. Labels are whole numbers below it. */
  readonly classes: number
  /** The classes' names, in the order of their numbers. */
  readonly classNames?: readonly string[]
  /** The most bytes of a block of columns: by default the adapter's largest binding. */
  readonly blockBytes?: number
}

/** Labelled rows of float32 numbers on the device: features to train a head of a frozen network on. */
export class FeatureDataset extends ArrayDataset {
  /**
   * A data set of zeros, to be filled by `write`. The caller owns it: `dispose()` or `using`.
   * @throws WeftgradError 'data' for a width below 1, no labels, or an invalid one; 'limit' if even one column exceeds the
   * adapter's largest binding.
   */
  static allocate(device: Device, spec: FeatureSpec): FeatureDataset {
    checkOptions('FeatureDataset', spec, {
      ...{ width: required(aNumber), labels: required(aList), classes: required(aNumber), classNames: anArray },
      blockBytes: aNumber,
    })
    const { width, classes, classNames, blockBytes } = spec
    const labels = classNumbers(spec.labels, classes, 'Row')
    const count = labels.length
    if (!Number.isInteger(width) || width < 1 || count === 0)
      throw new WeftgradError(
        'data',
        `${count} rows of ${width} features are not a data set: it needs at least one row and one feature.`,
      )
    const targets = { labels, classes, classNames }
    return new FeatureDataset(allocateArrays(device, { count, shape: [width], targets, blockBytes }))
  }
}
