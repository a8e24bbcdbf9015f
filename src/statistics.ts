/**
 * How sure a measured share is, and whether two classifiers differ: Wilson's interval, McNemar's test, mean and standard
 * deviation. Pure, in float64.
 */
import { WeftgradError } from './errors.ts'

export interface Interval {
  readonly low: number
  readonly high: number
}

/** The normal distribution's 0.975 quantile: 95 % lie within this many standard deviations. */
const z95 = 1.959963984540054

/**
 * The 95 % score interval of a share of successes (Wilson 1927), without continuity correction.
 * @throws WeftgradError 'argument' for what is no share of a count from 1.
 */
export function wilsonInterval(successes: number, trials: number): Interval {
  requireCount(successes, 'successes')
  requireCount(trials, 'trials')
  if (trials < 1 || successes > trials)
    throw new WeftgradError('argument', `${successes} of ${trials} is no share. Give a part of at least one trial.`)
  const share = successes / trials
  const z2 = z95 ** 2 / trials
  const centre = share + z2 / 2
  const half = z95 * Math.sqrt((share * (1 - share)) / trials + z2 / (4 * trials))
  return {
    low: successes === 0 ? 0 : (centre - half) / (1 + z2),
    high: successes === trials ? 1 : (centre + half) / (1 + z2),
  }
}

/** How often two classifiers of the same examples disagree about being right. */
export interface Disagreement {
  /** Examples that only the first one gets right. */
  readonly onlyFirst: number
  readonly onlySecond: number
}

/** Counts over examples. Throws WeftgradError 'argument' where the lists differ in length. */
export function disagreement(
  labels: ArrayLike<number>,
  first: ArrayLike<number>,
  second: ArrayLike<number>,
): Disagreement {
  if (first.length !== labels.length || second.length !== labels.length)
    throw new WeftgradError(
      'argument',
      `Predictions of the same examples are compared: ${labels.length} labels, ${first.length} and ${second.length} predictions are given.`,
    )
  let [onlyFirst, onlySecond] = [0, 0]
  for (let i = 0; i < labels.length; i++) {
    const [a, b] = [first[i] === labels[i], second[i] === labels[i]]
    if (a && !b) onlyFirst++
    if (b && !a) onlySecond++
  }
  return { onlyFirst, onlySecond }
}

export interface McNemarTest extends Disagreement {
  /** Of the binomial test where it is exact, of chi-square with one degree of freedom and Edwards' correction elsewhere. */
  readonly pValue: number
  readonly exact: boolean
  /** Null where the test is exact. */
  readonly chiSquare: number | null
}

/** Below this many disagreements chi-square is a poor approximation of the binomial distribution. */
const fewestForChiSquare = 25

/**
 * McNemar's test (1947) of the hypothesis that two classifiers are right equally often, two-sided.
 * @throws WeftgradError 'argument' for what are no counts.
 */
export function mcnemarTest({ onlyFirst, onlySecond }: Disagreement): McNemarTest {
  requireCount(onlyFirst, 'onlyFirst')
  requireCount(onlySecond, 'onlySecond')
  const counts = { onlyFirst, onlySecond }
  const total = onlyFirst + onlySecond
  if (total < fewestForChiSquare) {
    const fewer = Math.min(onlyFirst, onlySecond)
    return { ...counts, pValue: Math.min(1, 2 * binomialTail(fewer, total)), exact: true, chiSquare: null }
  }
  const chiSquare = Math.max(0, Math.abs(onlyFirst - onlySecond) - 1) ** 2 / total
  return { ...counts, pValue: errorComplement(Math.sqrt(chiSquare / 2)), exact: false, chiSquare }
}

/** P(X <= most) of fair coins. */
function binomialTail(most: number, coins: number): number {
  let [ways, sum] = [1, 0]
  for (let k = 0; k <= most; k++) {
    sum += ways
    ways = (ways * (coins - k)) / (k + 1)
  }
  return sum / 2 ** coins
}

/**
 * The complementary error function for x from 0 on, to some 1e-14 of its value: the power series below 2, the continued
 * fraction beyond (Abramowitz and Stegun 7.1.6 and 7.1.14).
 */
function errorComplement(x: number): number {
  const scale = Math.exp(-x * x) / Math.sqrt(Math.PI)
  if (x < 2) {
    let term = 2 * x
    let sum = 0
    for (let n = 1; term > 1e-17; n++) {
      sum += term
      term *= (2 * x * x) / (2 * n + 1)
    }
    return 1 - scale * sum
  }
  let fraction = x
  for (let k = 100; k >= 1; k--) fraction = x + k / 2 / fraction
  return scale / fraction
}

export interface MeanAndDeviation {
  readonly mean: number
  /** Of a sample: the squares are divided by n - 1. 0 for a single value. */
  readonly standardDeviation: number
}

/** Throws WeftgradError 'argument' for no values. */
export function meanAndDeviation(values: readonly number[]): MeanAndDeviation {
  if (values.length === 0) throw new WeftgradError('argument', 'No values have no mean. Give at least one.')
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, standardDeviation: Math.sqrt(squares / Math.max(1, values.length - 1)) }
}

function requireCount(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new WeftgradError('argument', `${name} must be a count, a non-negative whole number, not ${value}.`, {
      [name]: value,
    })
}

/** The largest number of a list, and `least` at least. A call of `Math.max` takes no more than about 100,000. */
export function largest(numbers: Iterable<number>, least = Number.NEGATIVE_INFINITY): number {
  let most = least
  for (const number of numbers) most = Math.max(most, number)
  return most
}

/** The median; NaN for no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return (low + high) / 2
}
