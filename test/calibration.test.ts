/** Calibration: against torchmetrics, and on cases that can be counted by hand. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { calibrationOf } from '../src/runs/calibration.ts'

interface Fixture {
  readonly classes: number
  readonly labels: readonly number[]
  readonly probabilities: readonly number[]
  readonly errors: Readonly<Record<string, number>>
}

const file = new URL('fixtures/calibration/calibration.json', import.meta.url)
const { classes, labels, probabilities, errors } = JSON.parse(readFileSync(file, 'utf8')) as Fixture
const predictions = labels.map((_, i) => {
  const own = probabilities.slice(i * classes, (i + 1) * classes)
  return own.indexOf(Math.max(...own))
})

describe('the expected calibration error', () => {
  it("equals torchmetrics'", () => {
    for (const [bins, expected] of Object.entries(errors)) {
      const { expectedError } = calibrationOf({ labels, predictions, probabilities, classes }, Number(bins))
      expect(expectedError, `${bins} bins`).toBeCloseTo(expected, 6)
    }
  })

  it('is the distance between confidence and accuracy, and 0 if they agree', () => {
    // Four images at 0.75, three of them right: calibrated. With one right, 0.5 too confident.
    const four = { labels: [0, 0, 0, 1], predictions: [0, 0, 0, 0], classes: 2 }
    const sure = Array.from({ length: 4 }, () => [0.75, 0.25]).flat()
    expect(calibrationOf({ ...four, probabilities: sure }).expectedError).toBeCloseTo(0, 12)
    const wrong = { ...four, labels: [0, 1, 1, 1], probabilities: sure }
    expect(calibrationOf(wrong).expectedError).toBeCloseTo(0.5, 12)
    expect(calibrationOf(wrong).confidence).toBeCloseTo(0.75, 12)
  })

  it('has bins that hold every image once, from 0 to 1 with both ends', () => {
    const one = { labels: [0, 0], predictions: [0, 0], classes: 1 }
    const { bins } = calibrationOf({ ...one, probabilities: [0, 1.000001] }, 4)
    expect(bins.map(({ images }) => images)).toEqual([1, 0, 0, 1])
    expect(bins[3]).toMatchObject({ from: 0.75, to: 1, confidence: 1, accuracy: 1 })
    expect(bins[1]).toMatchObject({ confidence: null, accuracy: null })
    const all = calibrationOf({ labels, predictions, probabilities, classes }).bins
    expect(all.reduce((sum, { images }) => sum + images, 0)).toBe(labels.length)
  })
})
