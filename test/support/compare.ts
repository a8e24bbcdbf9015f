/**
 * Comparison of numbers with numpy's `assert_allclose` semantics: |actual - expected| <= atol + rtol * |expected|; NaN
 * equals NaN only, an infinity equals the infinity of the same sign only.
 */

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

/** A sentence about where two arrays disagree, or undefined where they agree. */
export function disagreement(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
  shape: readonly number[] = [expected.length],
): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} numbers where ${expected.length} were expected`
  let bad = 0
  let first = -1
  let worst = -1
  let worstExcess = -1
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] ?? Number.NaN
    const e = expected[i] ?? Number.NaN
    if (agrees(a, e, tolerance)) continue
    if (first < 0) first = i
    bad++
    const excess = Math.abs(a - e) / (tolerance.atol + tolerance.rtol * Math.abs(e))
    if (Number.isFinite(excess) && excess > worstExcess) {
      worst = i
      worstExcess = excess
    }
  }
  if (bad === 0) return undefined
  const at = (i: number): string => `${indexText(i, shape)} is ${actual[i]} where ${expected[i]} was expected`
  const worstText = worst < 0 ? '' : `; worst: ${at(worst)}, ${worstExcess.toPrecision(3)} times the tolerance`
  return `${bad} of ${expected.length} numbers differ (rtol ${tolerance.rtol}, atol ${tolerance.atol}); first: ${at(first)}${worstText}`
}

/** Throws an error that begins with `what` where shapes or numbers disagree. */
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
