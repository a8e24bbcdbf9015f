/** `bench scaling`: the fit, the options, the picture. Nothing is timed. */
import { expect, it, vi } from 'vitest'
import { deviation, fitLine } from '../bench/linearity.ts'
import { main } from '../bench/main.ts'
import { benchScaling, scalingSizes } from '../bench/scaling.ts'
import { scalingPicture } from '../bench/scaling-picture.ts'
import { curveOf, type ScalingReport } from '../bench/scaling-report.ts'

vi.mock('../bench/scaling.ts', async (original) => ({
  ...(await original<typeof import('../bench/scaling.ts')>()),
  benchScaling: vi.fn(),
}))

const line = { fixed: 3, perWork: 0.5 }
const onLine = (work: number) => ({ work, milliseconds: line.fixed + line.perWork * work })

it('finds the line that costs lie on, and no deviation from it', () => {
  const fitted = fitLine([8, 64, 4096].map(onLine))
  expect(fitted.fixed).toBeCloseTo(3, 9)
  expect(fitted.perWork).toBeCloseTo(0.5, 12)
  expect(deviation(onLine(1000), fitted)).toBeCloseTo(0, 9)
})

it('gives the share by which a cost exceeds the line or falls short', () => {
  expect(deviation({ work: 10, milliseconds: 10 }, line)).toBeCloseTo(0.25, 12)
  expect(deviation({ work: 10, milliseconds: 6 }, line)).toBeCloseTo(-0.25, 12)
})

it('weighs relative errors: a large size does not decide alone', () => {
  // By absolute errors, the line would meet the largest cost almost exactly.
  const costs = [onLine(10), onLine(20), onLine(40), { work: 4000, milliseconds: 1.1 * onLine(4000).milliseconds }]
  expect(deviation(costs[3] ?? onLine(0), fitLine(costs))).toBeGreaterThan(0.02)
})

it('refuses costs that no line can be fitted to', () => {
  expect(() => fitLine([onLine(8), onLine(8)])).toThrow(/two amounts of work/)
  expect(() => fitLine([onLine(8), { work: 16, milliseconds: 0 }])).toThrow(/relative error/)
})

const spread = { minimum: 1, lowerQuartile: 1, upperQuartile: 1 }
const pointsOf = (sizes: readonly number[], cost: (size: number) => number) =>
  sizes.map((size) => ({ size, milliseconds: cost(size), spread, samples: 3 }))

it('leaves the two smallest sizes out of the fit', () => {
  const names = { name: 'a step', unit: 'images a batch', power: 1 } as const
  const curve = curveOf(
    names,
    pointsOf([8, 16, 32, 64, 128], (size) => (size < 32 ? 60 : size)),
  )
  expect(curve.fittedFrom).toBe(32)
  expect(curve.largestDeviation).toBeCloseTo(0, 9)
  expect(curve.points.map((point) => 'deviation' in point)).toEqual([false, false, true, true, true])
})

it('takes the area of an image for its work', () => {
  const names = { name: 'features', unit: 'pixels a side', power: 2 } as const
  const curve = curveOf(
    names,
    pointsOf([32, 64, 96, 128], (side) => 7 + 2 * side * side),
  )
  expect(curve.line.perWork).toBeCloseTo(2, 5)
  expect(curve.line.fixed).toBeCloseTo(7, 3)
})

it('stops at smaller sizes with --quick', () => {
  expect(scalingSizes(false).epoch.at(-1)).toBe(600_000)
  expect(scalingSizes(true).epoch.at(-1)).toBe(60_000)
  expect(scalingSizes(true).batch.every((size) => scalingSizes(false).batch.includes(size))).toBe(true)
})

it('takes its own options, though the benchmark has options of the same name', async () => {
  expect(await main(['scaling', '--quick', '--json', 'a.json', '--picture', 'b.svg'])).toBe(0)
  expect(vi.mocked(benchScaling).mock.lastCall?.[0]).toEqual({ quick: true, json: 'a.json', picture: 'b.svg' })
  expect(await main(['scaling', '--json'])).toBe(2)
  expect(await main(['scaling', '--variant', '3'])).toBe(2)
})

it('draws one panel below the other, with the memory of curves that have it', () => {
  const names = { name: 'an epoch', unit: 'images an epoch', power: 1 } as const
  const memory = { device: 50e6, process: 600e6 }
  const points = pointsOf([6000, 12_000, 60_000, 600_000], (size) => size / 10)
  const report: ScalingReport = {
    ...{ adapter: 'made up', driver: 'none', hardware: false, clock: 'processor', date: '', quick: false },
    curves: [
      curveOf(names, points),
      curveOf(
        names,
        points.map((point) => ({ ...point, memory })),
      ),
    ],
  }
  const panels = [...scalingPicture(report).matchAll(/<svg x="(\d+)" y="(\d+)"/g)]
  expect(panels.map(([, x]) => x)).toEqual(['20', '20', '20'])
  expect(new Set(panels.map(([, , y]) => y)).size).toBe(3)
})
