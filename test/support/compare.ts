/**
 * Comparison of numbers with numpy's `assert_allclose` semantics: |actual - expected| <= atol + rtol * |expected|; NaN
 * equals NaN only, an infinity equals the infinity of the same sign only.
 */
import { Random } from '../../src/random.ts'

/** |actual - expected| <= atol + rtol * |expected| */
export interface Tolerance {
  readonly rtol: number
  readonly atol: number
}

export interface NumbersWithShape {
  readonly shape: readonly number[]
  readonly data: ArrayLike<number>
}

function agrees(actual: number, expected: number, tolerance: Tolerance): boolean {
  if (Number.isNaN(expected) || Number.isNaN(actual)) return Number.isNaN(expected) && Number.isNaN(actual)
  if (!Number.isFinite(expected) || !Number.isFinite(actual)) return actual === expected
  return Math.abs(actual - expected) <= tolerance.atol + tolerance.rtol * Math.abs(expected)
}

function indexText(offset: number, shape: readonly number[]): string {
  const index: number[] = []
  let rest = offset
  for (const extent of shape.toReversed()) {
    index.unshift(rest % extent)
    rest = Math.floor(rest / extent)
  }
  return `[${index.join(', ')}]`
}

/** A sentence about where two arrays disagree; undefined if they agree. */
export function disagreement(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
  shape: readonly number[] = [expected.length],
): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} numbers where ${expected.length} were expected`
  const all = { length: expected.length, at: (i: number) => i }
  return disagreementAt(
    all,
    (i) => actual[i] ?? Number.NaN,
    (i) => expected[i] ?? Number.NaN,
    tolerance,
    shape,
  )
}

/** At most `most` positions of an array of this length: the first, the last and a sample; all if there are few. */
export function sampledPlaces(length: number, most: number): readonly number[] {
  if (length <= most) return Array.from({ length }, (_, place) => place)
  const random = new Random(1, 'sampled places')
  return [0, length - 1, ...Array.from({ length: most - 2 }, () => random.below(length))]
}

/** Like `disagreement`, but only at some positions: each side returns its number at a row-major position. */
export function disagreementAt(
  places: { readonly length: number; at(i: number): number | undefined },
  actual: (place: number) => number,
  expected: (place: number) => number,
  tolerance: Tolerance,
  shape: readonly number[],
): string | undefined {
  let bad = 0
  let first = -1
  let worst = -1
  let worstExcess = -1
  for (let i = 0; i < places.length; i++) {
    const place = places.at(i) ?? -1
    const [a, e] = [actual(place), expected(place)]
    if (agrees(a, e, tolerance)) continue
    if (bad === 0) first = place
    bad++
    const excess = Math.abs(a - e) / (tolerance.atol + tolerance.rtol * Math.abs(e))
    if (Number.isFinite(excess) && excess > worstExcess) {
      worst = place
      worstExcess = excess
    }
  }
  if (bad === 0) return undefined
  const at = (place: number): string =>
    `${indexText(place, shape)} is ${actual(place)} where ${expected(place)} was expected`
  const worstText = worst < 0 ? '' : `; worst: ${at(worst)}, ${worstExcess.toPrecision(3)} times the tolerance`
  return `${bad} of ${places.length} numbers differ (rtol ${tolerance.rtol}, atol ${tolerance.atol}); first: ${at(first)}${worstText}`
}

/** The largest difference. NaN equals only NaN; other differences from NaN, and of lengths, are infinite. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  return largestOf(expected.length, (i) => {
    const [own, wanted] = [actual[i], expected[i]]
    return own === undefined || wanted === undefined || Object.is(own, wanted) ? 0 : own - wanted
  })
}

/** The largest difference, divided by the largest expected magnitude. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const difference = largestDifference(actual, expected)
  return difference === 0 ? 0 : difference / largestOf(expected.length, (i) => expected[i] ?? 0)
}

/** The largest error of an element, each relative to its own expected value. A NaN makes it infinite. */
export function elementwiseError(actual: ArrayLike<number>, expected: (i: number) => number): number {
  return largestOf(actual.length, (i) => (actual[i] ?? Number.NaN) / expected(i) - 1)
}

/** The largest magnitude of `count` numbers; infinite if one is NaN, which later numbers must not hide. */
function largestOf(count: number, number: (i: number) => number): number {
  let largest = 0
  for (let i = 0; i < count; i++) {
    const magnitude = Math.abs(number(i))
    largest = Number.isNaN(magnitude) ? Number.POSITIVE_INFINITY : Math.max(largest, magnitude)
  }
  return largest
}

/**
 * The tolerance for sums of this many products of numbers in [-1, 1). Such a sum is about sqrt(terms) / 3; float32
 * rounds each step by up to 6e-8 of the partial sum; a wrong term would be off by about 0.3.
 */
export const sumTolerance = (terms: number): Tolerance => ({ rtol: 1e-5, atol: 1e-6 + 1e-7 * terms })

/** Throws an error that begins with `what` if shapes or numbers disagree. */
export function assertAllClose(
  actual: NumbersWithShape,
  expected: NumbersWithShape,
  tolerance: Tolerance,
  what: string,
): void {
  if (actual.shape.length !== expected.shape.length || actual.shape.some((extent, i) => extent !== expected.shape[i])) {
    throw new Error(`${what}: shape [${actual.shape.join(', ')}] where [${expected.shape.join(', ')}] was expected`)
  }
  const text = disagreement(actual.data, expected.data, tolerance, expected.shape)
  if (text !== undefined) throw new Error(`${what}: ${text}`)
}
