/**
 * Hyperband's schedule (Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband, JMLR 18, 2018): brackets of
 * successive halving, from many trials with few epochs at first to few trials with all epochs at once.
 *
 * Bracket s has s + 1 rounds; each trains the best trials of the previous round for `factor` times as many epochs. The
 * number of trials follows KerasTuner or the paper's algorithm 1; all counts use integer arithmetic, so that the
 * rounding of a logarithm cannot change them.
 */
import { WeftgradError } from '../errors.ts'

/**
 * Rules for the number of trials. `keras`: KerasTuner 1.4, which rounds up; `paper`: algorithm 1, which rounds down
 * after the first round.
 */
export const hyperbandSizes = ['keras', 'paper'] as const
export type HyperbandSizes = (typeof hyperbandSizes)[number]

export interface Round {
  /** Number of trials. */
  readonly size: number
  /** Total epochs of each trial, earlier rounds included. Fractions are rounded up. */
  readonly epochs: number
}

export interface Bracket {
  /** The paper's s: the number of halvings. Bracket 0 is random search. */
  readonly bracket: number
  readonly rounds: readonly Round[]
}

export interface HyperbandOptions {
  /** The paper's R: the most epochs of a trial. */
  readonly maxEpochs: number
  /** The paper's eta: each round keeps one trial in this many. */
  readonly factor: number
  /** Rule for the number of trials. 'keras' by default. */
  readonly sizes?: HyperbandSizes
  /** Number of points of the space, which limits the different trials of a bracket. */
  readonly spaceSize?: number
}

/** Plans the brackets, in the order in which they run. Throws WeftgradError 'argument'. */
export function hyperbandSchedule(options: HyperbandOptions): Bracket[] {
  const { maxEpochs, factor, sizes = 'keras', spaceSize = Number.POSITIVE_INFINITY } = options
  if (!Number.isSafeInteger(maxEpochs) || maxEpochs < 1)
    throw new WeftgradError('argument', `maxEpochs must be a positive whole number, not ${maxEpochs}.`, { maxEpochs })
  if (!Number.isSafeInteger(factor) || factor < 2)
    throw new WeftgradError('argument', `factor must be a whole number from 2, not ${factor}.`, { factor })
  if (!(spaceSize >= 1))
    throw new WeftgradError('argument', `A space has at least one point, not ${spaceSize}.`, { spaceSize })
  const most = wholeLogarithm(maxEpochs, factor)
  const brackets: Bracket[] = []
  for (let s = most; s >= 0; s--) {
    // Both rules give every bracket the same budget; KerasTuner derives it from the rounded-up logarithm of maxEpochs.
    const isPower = factor ** most === maxEpochs
    const share = 1 + most + (sizes === 'keras' && !isPower ? 1 : 0)
    const rounds: Round[] = []
    for (let i = 0, size = Math.min(spaceSize, Math.ceil((share * factor ** s) / (s + 1))); i <= s; i++) {
      rounds.push({ size, epochs: Math.ceil(maxEpochs / factor ** (s - i)) })
      // Dividing the remaining trials gives the same counts as either formula, and still halves if the space is the
      // limit.
      size = sizes === 'keras' ? Math.ceil(size / factor) : Math.max(1, Math.floor(size / factor))
    }
    brackets.push({ bracket: s, rounds })
  }
  return brackets
}

/** The largest whole n with base^n <= value. */
function wholeLogarithm(value: number, base: number): number {
  let n = 0
  for (let power = base; power <= value; power *= base) n++
  return n
}

/** Epochs trained in all rounds; promoted trials continue from their last epoch. */
export function epochsIn({ rounds }: Bracket): number {
  return rounds.reduce((sum, { size, epochs }, i) => sum + size * (epochs - (rounds[i - 1]?.epochs ?? 0)), 0)
}
