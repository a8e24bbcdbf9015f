/**
 * Hyperband's schedule (Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband, JMLR 18, 2018): brackets of successive
 * halving, from many trials that get few epochs at first to few that get all of them at once.
 *
 * Bracket s has s + 1 rounds; each gives the best of the round before `factor` times their epochs. How many trials there
 * are is computed as KerasTuner does or as the paper's algorithm 1 does; counts are whole-number arithmetic, so that no
 * rounding of a logarithm moves them.
 */
import { WeftgradError } from '../errors.ts'

/** `keras`: as KerasTuner 1.4, which rounds up; `paper`: as algorithm 1, which rounds the rounds after the first down. */
export const hyperbandSizes = ['keras', 'paper'] as const
export type HyperbandSizes = (typeof hyperbandSizes)[number]

export interface Round {
  /** Trials in it. */
  readonly size: number
  /** To which each is trained, those of earlier rounds included. Fractions of an epoch are rounded up. */
  readonly epochs: number
}

export interface Bracket {
  /** The paper's s: how many times the field is thinned out. Bracket 0 is random search. */
  readonly bracket: number
  readonly rounds: readonly Round[]
}

export interface HyperbandOptions {
  /** The paper's R: the most epochs a trial gets. */
  readonly maxEpochs: number
  /** The paper's eta: each round keeps one trial in this many. */
  readonly factor: number
  /** 'keras' unless given. */
  readonly sizes?: HyperbandSizes
  /** A bracket cannot begin with more different trials than the space has points. */
  readonly spaceSize?: number
}

/** The brackets, in the order in which they run. Throws WeftgradError 'argument'. */
export function hyperbandSchedule(options: HyperbandOptions): Bracket[] {
  const { maxEpochs, factor, sizes = 'keras', spaceSize = Number.POSITIVE_INFINITY } = options
  if (!Number.isSafeInteger(maxEpochs) || maxEpochs < 1)
    throw new WeftgradError('argument', `maxEpochs must be a whole number from 1, not ${maxEpochs}.`, { maxEpochs })
  if (!Number.isSafeInteger(factor) || factor < 2)
    throw new WeftgradError('argument', `factor must be a whole number from 2, not ${factor}.`, { factor })
  if (!(spaceSize >= 1))
    throw new WeftgradError('argument', `A space has one point at least, not ${spaceSize}.`, { spaceSize })
  const most = wholeLogarithm(maxEpochs, factor)
  const brackets: Bracket[] = []
  for (let s = most; s >= 0; s--) {
    // Both share the same budget among the brackets; KerasTuner takes the logarithm of maxEpochs rounded up for it.
    const isPower = factor ** most === maxEpochs
    const share = 1 + most + (sizes === 'keras' && !isPower ? 1 : 0)
    const rounds: Round[] = []
    for (let i = 0, size = Math.min(spaceSize, Math.ceil((share * factor ** s) / (s + 1))); i <= s; i++) {
      rounds.push({ size, epochs: Math.ceil(maxEpochs / factor ** (s - i)) })
      // Halving what is left gives the same counts as either formula where the space is no limit, and halves where it is.
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

/** Epochs that all rounds train, where promoted trials continue from where they were. */
export function epochsIn({ rounds }: Bracket): number {
  return rounds.reduce((sum, { size, epochs }, i) => sum + size * (epochs - (rounds[i - 1]?.epochs ?? 0)), 0)
}
