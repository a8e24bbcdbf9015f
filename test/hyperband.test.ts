/** Hyperband's schedule, compared with the paper's table and KerasTuner's, and properties of any schedule. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Random } from '../src/random.ts'
import { epochsIn, type HyperbandOptions, hyperbandSchedule } from '../src/search/hyperband.ts'
import { Space } from '../src/tasks/space.ts'

const pairs = (options: HyperbandOptions) =>
  hyperbandSchedule(options).map(({ bracket, rounds }) => [bracket, ...rounds.map((r) => [r.size, r.epochs])])

describe("Hyperband's schedule", () => {
  it("matches the paper's table for 81 epochs and a factor of 3", () => {
    expect(pairs({ maxEpochs: 81, factor: 3, sizes: 'paper' })).toEqual([
      [4, [81, 1], [27, 3], [9, 9], [3, 27], [1, 81]],
      [3, [34, 3], [11, 9], [3, 27], [1, 81]],
      [2, [15, 9], [5, 27], [1, 81]],
      [1, [8, 27], [2, 81]],
      [0, [5, 81]],
    ])
  })

  it("matches KerasTuner's for the same numbers", () => {
    expect(pairs({ maxEpochs: 81, factor: 3 })).toEqual([
      [4, [81, 1], [27, 3], [9, 9], [3, 27], [1, 81]],
      [3, [34, 3], [12, 9], [4, 27], [2, 81]],
      [2, [15, 9], [5, 27], [2, 81]],
      [1, [8, 27], [3, 81]],
      [0, [5, 81]],
    ])
  })

  it("matches KerasTuner's for 10 epochs and a factor of 3", () => {
    const schedule = pairs({ maxEpochs: 10, factor: 3 })
    expect(schedule).toEqual([
      [2, [12, 2], [4, 4], [2, 10]],
      [1, [6, 4], [2, 10]],
      [0, [4, 10]],
    ])
    expect(hyperbandSchedule({ maxEpochs: 10, factor: 3 }).map(epochsIn)).toEqual([44, 36, 40])
  })

  it('tolerates logarithms that round to just below a whole number', () => {
    // Math.log(243) / Math.log(3) is 4.999999999999999.
    expect(pairs({ maxEpochs: 243, factor: 3, sizes: 'paper' })[0]).toEqual([
      5,
      ...[243, 81, 27, 9, 3, 1].map((size, i) => [size, 3 ** i]),
    ])
    expect(pairs({ maxEpochs: 125, factor: 5 })[0]).toEqual([3, [125, 1], [25, 5], [5, 25], [1, 125]])
  })

  it('starts no bracket with more trials than there are points, and reduces from there', () => {
    expect(pairs({ maxEpochs: 81, factor: 3, spaceSize: 18 }).slice(0, 2)).toEqual([
      [4, [18, 1], [6, 3], [2, 9], [1, 27], [1, 81]],
      [3, [18, 3], [6, 9], [2, 27], [1, 81]],
    ])
    expect(pairs({ maxEpochs: 81, factor: 3, spaceSize: 18, sizes: 'paper' })[0]).toEqual([
      4,
      [18, 1],
      [6, 3],
      [2, 9],
      [1, 27],
      [1, 81],
    ])
  })

  it('never grows, always ends with all epochs, and shares the budget about equally', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 2, max: 6 }),
        fc.constantFrom('keras', 'paper'),
        (maxEpochs, factor, sizes) => {
          const brackets = hyperbandSchedule({ maxEpochs, factor, sizes })
          for (const { bracket, rounds } of brackets) {
            expect(rounds).toHaveLength(bracket + 1)
            expect(rounds.at(-1)?.epochs).toBe(maxEpochs)
            expect(rounds[0]?.epochs).toBeGreaterThanOrEqual(1)
            for (const [i, { size, epochs }] of rounds.entries()) {
              expect(size).toBeGreaterThanOrEqual(1)
              expect(size).toBeLessThanOrEqual(rounds[i - 1]?.size ?? Number.POSITIVE_INFINITY)
              expect(epochs).toBeGreaterThan(rounds[i - 1]?.epochs ?? 0)
            }
          }
          expect(brackets.map(({ bracket }) => bracket)).toEqual(brackets.map((_, i) => brackets.length - 1 - i))
        },
      ),
    )
  })

  it('refuses invalid settings', () => {
    for (const wrong of [{ maxEpochs: 0 }, { maxEpochs: 2.5 }, { factor: 1 }, { factor: Number.NaN }, { spaceSize: 0 }])
      expect(() => hyperbandSchedule({ maxEpochs: 10, factor: 3, ...wrong })).toThrow(
        expect.objectContaining({ code: 'argument' }),
      )
  })
})

describe('a space', () => {
  const space = new Space({ units: [128, 256], activation: ['relu', 'tanh', 'elu'], bias: [true, false] })

  it('numbers its points, the last dimension changing fastest', () => {
    expect(space.size).toBe(12)
    expect([0, 1, 2, 11].map((i) => space.at(i))).toEqual([
      { units: 128, activation: 'relu', bias: true },
      { units: 128, activation: 'relu', bias: false },
      { units: 128, activation: 'tanh', bias: true },
      { units: 256, activation: 'elu', bias: false },
    ])
    expect(new Set(Array.from({ length: 12 }, (_, i) => JSON.stringify(space.at(i)))).size).toBe(12)
  })

  it('draws distinct points, the same ones for the same seed, and no more than exist', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 20 }), (seed, count) => {
        const drawn = space.sample(count, new Random(seed))
        expect(drawn).toHaveLength(Math.min(count, 12))
        expect(new Set(drawn.map((point) => JSON.stringify(point))).size).toBe(drawn.length)
        expect(space.sample(count, new Random(seed))).toEqual(drawn)
      }),
    )
  })

  it('draws every point about equally often', () => {
    const counts = new Map<string, number>()
    for (let seed = 0; seed < 1200; seed++) {
      const [point] = space.sample(1, new Random(seed))
      const key = JSON.stringify(point)
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    // 100 expected; five standard deviations are 48.
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThan(48)
    expect(counts.size).toBe(12)
  })

  it('refuses invalid dimensions and unknown points', () => {
    for (const dimensions of [{}, { units: [] }, { units: [1, 1] }])
      expect(() => new Space(dimensions)).toThrow(expect.objectContaining({ code: 'argument' }))
    for (const index of [-1, 12, 0.5])
      expect(() => space.at(index)).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
