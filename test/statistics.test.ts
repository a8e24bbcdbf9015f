/** Intervals and tests, compared with published examples and with sums by definition. */
import { describe, expect, it } from 'vitest'
import { disagreement, largest, mcnemarTest, meanAndDeviation, wilsonInterval } from '../src/statistics.ts'

describe("Wilson's interval", () => {
  // Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I.
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('of %i in %i is as published', (successes, trials, low, high) => {
    const interval = wilsonInterval(successes, trials)
    expect(interval.low).toBeCloseTo(low, 4)
    expect(interval.high).toBeCloseTo(high, 4)
  })

  it('encloses the share, stays in [0, 1], and mirrors when successes and failures are swapped', () => {
    for (const trials of [1, 7, 10_000])
      for (const successes of [0, 1, Math.floor(trials / 2), trials - 1, trials]) {
        const { low, high } = wilsonInterval(successes, trials)
        expect(low).toBeGreaterThanOrEqual(0)
        expect(high).toBeLessThanOrEqual(1)
        expect(low).toBeLessThanOrEqual(successes / trials)
        expect(high).toBeGreaterThanOrEqual(successes / trials)
        const failures = wilsonInterval(trials - successes, trials)
        expect(1 - failures.high).toBeCloseTo(low, 12)
      }
  })

  it.each([
    [-1, 5],
    [6, 5],
    [0, 0],
    [1.5, 5],
    [Number.NaN, 5],
  ])('refuses %d of %d', (successes, trials) => {
    expect(() => wilsonInterval(successes, trials)).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe("McNemar's test", () => {
  it('is exact for few disagreements: 11 and 1 give 26 of 4,096', () => {
    // The example of mlxtend's documentation, scenario A.
    const test = mcnemarTest({ onlyFirst: 11, onlySecond: 1 })
    expect(test).toEqual({ onlyFirst: 11, onlySecond: 1, pValue: 0.00634765625, exact: true, chiSquare: null })
  })

  it('is chi-square with correction for many', () => {
    // The same documentation, scenario B.
    const test = mcnemarTest({ onlyFirst: 25, onlySecond: 15 })
    expect(test).toMatchObject({ exact: false, chiSquare: 2.025 })
    expect(test.pValue).toBeCloseTo(0.15472892348537437, 14)
    // Approval ratings (Agresti 1990, p. 350), with the correction: 63^2 / 236.
    const ratings = mcnemarTest({ onlyFirst: 150, onlySecond: 86 })
    expect(ratings.chiSquare).toBeCloseTo(16.818, 3)
    expect(ratings.pValue / 4.115e-5).toBeCloseTo(1, 3)
  })

  it('finds no difference if there is none, and does not depend on the order', () => {
    for (const same of [0, 3, 40]) expect(mcnemarTest({ onlyFirst: same, onlySecond: same }).pValue).toBe(1)
    for (const [a, b] of [
      [2, 9],
      [100, 300],
    ] as const) {
      const [one, other] = [mcnemarTest({ onlyFirst: a, onlySecond: b }), mcnemarTest({ onlyFirst: b, onlySecond: a })]
      expect(one.pValue).toBe(other.pValue)
    }
  })

  it.each([
    // As computed by Python's math.erfc(sqrt(chiSquare / 2)).
    [64, 36, 0.006933947606081336],
    [65, 35, 0.003731626600768077],
    [100, 0, 4.1627504389864034e-23],
  ])('gives %i against %i its probability, however small', (onlyFirst, onlySecond, pValue) => {
    expect(mcnemarTest({ onlyFirst, onlySecond }).pValue / pValue).toBeCloseTo(1, 12)
  })

  it('refuses invalid counts', () => {
    expect(() => mcnemarTest({ onlyFirst: -1, onlySecond: 2 })).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('counts disagreements over the same examples', () => {
    expect(disagreement([0, 1, 2, 3, 4], [0, 1, 0, 3, 9], [0, 2, 2, 0, 9])).toEqual({ onlyFirst: 2, onlySecond: 1 })
    expect(() => disagreement([0, 1], [0, 1], [0])).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe('the largest number', () => {
  it('is found in a list of any length', () => {
    expect(largest(Float32Array.from({ length: 1_000_000 }, (_, i) => 5 - Math.abs(i - 700_000)))).toBe(5)
    expect([largest([1, 3, 2], 5), largest([], 1), largest([])]).toEqual([5, 1, Number.NEGATIVE_INFINITY])
  })
})

describe('mean and standard deviation', () => {
  it('are those of a sample', () => {
    expect(meanAndDeviation([2, 4, 4, 4, 5, 5, 7, 9])).toEqual({ mean: 5, standardDeviation: Math.sqrt(32 / 7) })
    expect(meanAndDeviation([0.5])).toEqual({ mean: 0.5, standardDeviation: 0 })
    expect(() => meanAndDeviation([])).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
