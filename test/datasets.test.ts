/** Data sets on a device, and the steps that prepare them: splits and the search for duplicates. */
import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { dropDuplicates } from '../src/data/duplicates.ts'
import { fashionMnistClasses, parseFashionMnistPair } from '../src/data/fashion-mnist.ts'
import { randomSplit } from '../src/data/split.ts'
import { writeIdx } from '../src/format/idx.ts'
import { classes, pictures } from './support/pictures.ts'
import { useTraining } from './support/training.ts'

const { device, pictureSet } = useTraining()

describe('data sets', () => {
  it('refuse bytes that are not labelled images, and keep nothing', () => {
    const before = device().memory()
    const good = pictures(3)
    const cases: readonly [code: string, Partial<ReturnType<typeof pictures>>][] = [
      ['data', { images: good.images.subarray(1) }],
      ['data', { labels: new Uint8Array(0), images: new Uint8Array(0) }],
      ['data', { labels: Uint8Array.of(0, 1, classes) }],
      ['argument', { height: 0, images: new Uint8Array(0) }],
      ['argument', { classes: 0 }],
      ['argument', { classes: Number.NaN }],
      ['argument', { width: 7.5, images: good.images.subarray(0, 180) }],
    ]
    for (const [code, changes] of cases)
      expect(() => residentImages(device(), { ...good, ...changes })).toThrow(expect.objectContaining({ code }))
    expect(device().memory()).toEqual(before)
  })

  it('refuse empty subsets, and subsets of unknown images', () => {
    using data = pictureSet(3)
    for (const positions of [[], [3], [-1], [0.5]])
      expect(() => data.subset(positions)).toThrow(expect.objectContaining({ code: 'argument' }))
    expect([...data.subset([2, 0]).indices]).toEqual([2, 0])
    expect(data.subset([2, 0]).subset([1]).indices).toEqual(Uint32Array.of(0))
  })

  it('of Fashion-MNIST name its classes', () => {
    const idx = (shape: number[], data: Uint8Array) => ({ bytes: writeIdx({ shape, data }), source: 'test' })
    const parsed = parseFashionMnistPair(idx([2, 28, 28], new Uint8Array(2 * 784)), idx([2], Uint8Array.of(9, 0)))
    using data = residentImages(device(), parsed)
    expect(data.subset([1]).classNames).toEqual(fashionMnistClasses)
  })

  it('are released with the set they were taken from, not by a subset', async () => {
    const before = device().memory().liveBytes
    const data = pictureSet(3)
    data.subset([1]).dispose()
    expect((await data.images.data())[0]).toBe(pictures(3).images[0])
    data.dispose()
    expect(device().memory().liveBytes).toBe(before)
    await expect(data.images.data()).rejects.toMatchObject({ code: 'disposed' })
  })
})

describe('splits', () => {
  it('hold out a random share by seed, each position on one side, in ascending order', () => {
    for (const [count, share, held] of [
      [100, 0.1, 10],
      [7, 0.5, 4],
      [3, 0.01, 1],
      [3, 0.99, 2],
    ] as const) {
      const split = randomSplit(count, share, 5)
      expect(split.held).toHaveLength(held)
      const isRising = (positions: Uint32Array): boolean =>
        positions.every((p, i) => i === 0 || p > (positions[i - 1] ?? 0))
      expect(isRising(split.held) && isRising(split.rest)).toBe(true)
      expect([...split.rest, ...split.held].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
      expect(randomSplit(count, share, 5)).toEqual(split)
    }
    expect(randomSplit(100, 0.3, 6)).not.toEqual(randomSplit(100, 0.3, 5))
    // No position is favoured: over many seeds, each is held out about equally often.
    const times = new Array<number>(10).fill(0)
    for (let seed = 0; seed < 2000; seed++)
      for (const position of randomSplit(10, 0.3, seed).held) times[position] = (times[position] ?? 0) + 1
    // 600 expected, 20 is a standard deviation.
    expect(Math.min(...times)).toBeGreaterThan(510)
    expect(Math.max(...times)).toBeLessThan(690)
  })

  it('refuse shares and counts that leave nothing on a side', () => {
    for (const [count, share] of [
      [10, 0],
      [10, 1],
      [10, Number.NaN],
      [1, 0.5],
      [2.5, 0.5],
    ] as const)
      expect(() => randomSplit(count, share, 1)).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('find exact duplicates, and keep the first of each', () => {
    const images = Uint8Array.of(1, 2, 3, 4, 1, 2, 1, 3, 3, 4, 2, 1)
    expect([...dropDuplicates(images, 2)]).toEqual([0, 1, 3, 5])
    expect([...dropDuplicates(images, 12)]).toEqual([0])
    expect([...dropDuplicates(new Uint8Array(0), 2)]).toEqual([])
    for (const size of [0, 5, -2, 1.5, Number.NaN])
      expect(() => dropDuplicates(images, size)).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
