/** Where a classifier errs, checked by hand on a few made-up predictions. */
import { describe, expect, test } from 'vitest'
import { analyseErrors, type Classified } from '../src/runs/error-analysis.ts'

/** Rows of (label, probabilities); the most likely class is the prediction. */
function classified(rows: readonly (readonly [number, readonly number[]])[]): Classified {
  return {
    labels: rows.map(([label]) => label),
    predictions: rows.map(([, shares]) => shares.indexOf(Math.max(...shares))),
    probabilities: rows.flatMap(([, shares]) => shares),
    classes: rows[0]?.[1].length ?? 1,
  }
}

const rows = [
  [0, [0.9, 0.05, 0.05]], // right
  [0, [0.2, 0.5, 0.3]], // 0 as 1
  [1, [0.75, 0.125, 0.125]], // 1 as 0
  [2, [0.25, 0.5, 0.25]], // 2 as 1
  [0, [0, 1, 0]], // 0 as 1
  [2, [0.1, 0.1, 0.8]], // right
  [0, [0.125, 0.625, 0.25]], // 0 as 1
] as const

describe('the analysis of errors', () => {
  const { images, errors, confusion, pairs, worst } = analyseErrors(classified(rows))

  test('counts predictions by true class', () => {
    expect([images, errors]).toEqual([7, 5])
    expect(confusion).toEqual([
      [1, 3, 0],
      [1, 0, 0],
      [0, 1, 1],
    ])
  })

  test('lists the class pairs with the most errors, both ways, and the most confident errors of each', () => {
    expect(pairs.map(({ examples, ...pair }) => ({ ...pair, examples: examples.map((one) => one.position) }))).toEqual([
      { classes: [0, 1], count: 4, firstAsSecond: 3, secondAsFirst: 1, examples: [4, 2, 6, 1] },
      { classes: [1, 2], count: 1, firstAsSecond: 0, secondAsFirst: 1, examples: [3] },
    ])
  })

  test('sorts errors by loss, and equal ones by image', () => {
    expect(worst.map((error) => [error.position, error.labelProbability])).toEqual([
      [4, 0],
      [2, 0.125],
      [6, 0.125],
      [1, 0.2],
      [3, 0.25],
    ])
    expect(worst[3]).toEqual({
      position: 1,
      label: 0,
      predicted: 1,
      labelProbability: 0.2,
      top: [
        { class: 1, probability: 0.5 },
        { class: 2, probability: 0.3 },
        { class: 0, probability: 0.2 },
      ],
    })
  })

  test('returns no more than asked for, and survives JSON', () => {
    const few = analyseErrors(classified(rows), { pairs: 1, examples: 2, worst: 3, top: 1 })
    expect(few.pairs.map((pair) => pair.examples.length)).toEqual([2])
    expect(few.worst.map((error) => error.top)).toEqual([4, 2, 6].map(() => [expect.anything()]))
    expect(JSON.parse(JSON.stringify(few))).toEqual(few)
  })

  test('of a classifier that is always right has no pairs and no errors', () => {
    expect(analyseErrors(classified([[1, [0, 1]]]))).toEqual({
      images: 1,
      errors: 0,
      confusion: [
        [0, 0],
        [0, 1],
      ],
      pairs: [],
      worst: [],
    })
  })

  test('refuses lists of different lengths, unknown classes, and invalid probabilities', () => {
    const right = classified(rows)
    for (const bad of [
      { labels: [0] },
      { predictions: [0, 1] },
      { probabilities: [1] },
      { labels: [3, 0, 0, 0, 0, 0, 0] },
      { predictions: [0, 0, 0, 0, 0, 0, 0.5] },
      { probabilities: Array(21).fill(Number.NaN) },
      { probabilities: Array(21).fill(2) },
    ])
      expect(() => analyseErrors({ ...right, ...bad }), JSON.stringify(bad)).toThrow(
        expect.objectContaining({ code: 'argument' }),
      )
  })
})
