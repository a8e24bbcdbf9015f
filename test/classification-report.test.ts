/** Precision, recall and F1 from confusion matrices. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { classificationReport } from '../src/classification-report.ts'

describe('classificationReport', () => {
  it('counts rows as the true classes and columns as the predicted ones', () => {
    const { perClass, accuracy, macro } = classificationReport([
      [5, 3, 0],
      [1, 8, 1],
      [0, 0, 2],
    ])
    expect(perClass).toEqual([
      { precision: 5 / 6, recall: 5 / 8, f1: 10 / 14, support: 8 },
      { precision: 8 / 11, recall: 8 / 10, f1: 16 / 21, support: 10 },
      { precision: 2 / 3, recall: 1, f1: 4 / 5, support: 2 },
    ])
    expect(accuracy).toBe(15 / 20)
    expect(macro.recall).toBeCloseTo((5 / 8 + 8 / 10 + 1) / 3, 15)
    expect(macro.support).toBe(20)
  })

  it('gives 0 for 0 / 0, and includes such a class in the means', () => {
    const { perClass, macro } = classificationReport([
      [4, 0],
      [0, 0],
    ])
    expect(perClass[1]).toEqual({ precision: 0, recall: 0, f1: 0, support: 0 })
    expect(macro).toEqual({ precision: 0.5, recall: 0.5, f1: 0.5, support: 4 })
    expect(classificationReport([[0]]).accuracy).toBe(0)
  })

  it('agrees with the harmonic mean, and stays within 0 and 1, for any matrix', () => {
    const matrix = fc
      .integer({ min: 1, max: 6 })
      .chain((n) => fc.array(fc.array(fc.nat(50), { minLength: n, maxLength: n }), { minLength: n, maxLength: n }))
    fc.assert(
      fc.property(matrix, (confusion) => {
        const { perClass, accuracy } = classificationReport(confusion)
        for (const { precision, recall, f1 } of perClass) {
          for (const value of [precision, recall, f1]) expect(value >= 0 && value <= 1).toBe(true)
          if (precision + recall > 0) expect(f1).toBeCloseTo((2 * precision * recall) / (precision + recall), 12)
        }
        // Recall weighted by support is accuracy.
        const total = perClass.reduce((sum, one) => sum + one.support, 0)
        const weighted = perClass.reduce((sum, one) => sum + one.recall * one.support, 0)
        if (total > 0) expect(weighted / total).toBeCloseTo(accuracy, 12)
      }),
    )
  })

  it('refuses invalid confusion matrices', () => {
    expect(() => classificationReport([])).toThrow(expect.objectContaining({ code: 'shape' }))
    expect(() => classificationReport([[1, 2]])).toThrow(expect.objectContaining({ code: 'shape' }))
    for (const wrong of [-1, 0.5, Number.NaN]) {
      expect(() => classificationReport([[wrong]])).toThrow(expect.objectContaining({ code: 'argument' }))
    }
  })
})
