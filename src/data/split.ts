/** Random splits by seed. */

import { WeftgradError } from '../errors.ts'
import { checkValue } from '../options.ts'
import { Random } from '../random.ts'

/** Two parts of a set, as positions. */
export interface Split {
  /** Positions that stay, in ascending order. */
  readonly rest: Uint32Array
  /** Positions that are held out, in ascending order. */
  readonly held: Uint32Array
}

/**
 * Holds out a random share of `count` positions: round(count * share) of them, with at least one in either part.
 * @throws WeftgradError 'argument' for a share outside (0, 1) or fewer than two positions.
 */
export function randomSplit(count: number, share: number, seed: number): Split {
  checkValue('A share', share, ['between 0 and 1', () => share > 0 && share < 1])
  if (!Number.isInteger(count) || count < 2)
    throw new WeftgradError('argument', `A set of ${count} images cannot be split: it needs at least 2.`)
  const heldCount = Math.min(count - 1, Math.max(1, Math.round(count * share)))
  const order = new Random(seed, 'split').shuffle(Uint32Array.from({ length: count }, (_, i) => i))
  return { rest: order.slice(heldCount).sort(), held: order.slice(0, heldCount).sort() }
}
