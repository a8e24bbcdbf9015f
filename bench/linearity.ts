/** How far measured costs are from a straight line. Pure. */

import { WeftgradError } from '../src/errors.ts'

/** The cost of one amount of work. */
export interface Cost {
  readonly work: number
  readonly milliseconds: number
}

/** The line `fixed + perWork * work` that is nearest to the costs. */
export interface Line {
  /** Milliseconds at no work. */
  readonly fixed: number
  /** Milliseconds per unit of work. */
  readonly perWork: number
}

/**
 * Fits a line to the costs by least squares of the relative errors, so that a small size counts as much as a large one.
 * @throws WeftgradError 'argument' for costs that are not above 0, or of fewer than two amounts of work.
 */
export function fitLine(costs: readonly Cost[]): Line {
  let [ss, sx, xx, sy, xy] = [0, 0, 0, 0, 0]
  for (const { work, milliseconds } of costs) {
    if (!(milliseconds > 0)) throw new WeftgradError('argument', `A cost of ${milliseconds} ms has no relative error.`)
    // Of (fixed + perWork * work) / milliseconds = 1.
    const [s, x] = [1 / milliseconds, work / milliseconds]
    ss += s * s
    sx += s * x
    xx += x * x
    sy += s
    xy += x
  }
  const determinant = ss * xx - sx * sx
  if (new Set(costs.map(({ work }) => work)).size < 2)
    throw new WeftgradError('argument', 'A line needs costs of at least two amounts of work.')
  return { fixed: (sy * xx - xy * sx) / determinant, perWork: (xy * ss - sy * sx) / determinant }
}

/** The cost divided by the line's, less 1: above 0 is dearer than the line. */
export function deviation({ work, milliseconds }: Cost, { fixed, perWork }: Line): number {
  return milliseconds / (fixed + perWork * work) - 1
}
