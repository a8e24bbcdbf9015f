/** Exploring the data: statistics of pixels against float64, duplicates of all kinds, and misleading CSV files. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'fflate'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { edaCommand } from '../src/cli/eda.ts'
import type { LabelledBytes } from '../src/data/dataset.ts'
import { residentImages } from '../src/data/dataset.ts'
import { dropDuplicates, equalImages } from '../src/data/duplicates.ts'
import { fashionMnistClasses, type LabelledImages } from '../src/data/fashion-mnist.ts'
import { loadEdaData, readEda, writeEda } from '../src/explore/explore.node.ts'
import { duplicatesText, type EdaPart, explore } from '../src/explore/explore.ts'
import { correlationMatrix, pixelStatistics } from '../src/explore/pixel-statistics.ts'
import { decodePng } from '../src/format/png.ts'
import { greyRgb } from '../src/plots/colors.ts'
import { Random } from '../src/random.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const source = { kind: 'idx', published: false } as const
const classNames = fashionMnistClasses

/** Random images of 5x6 in 4 classes, the third of them empty; `pixel` computes pixel i. */
function randomSet(count: number, pixel: (random: Random, i: number, row: number) => number): LabelledBytes {
  const random = new Random(3, 'eda')
  const labels = Uint8Array.from({ length: count }, () => [0, 1, 3][random.below(3)] ?? 0)
  const images = Uint8Array.from({ length: count * 30 }, (_, at) => pixel(random, at % 30, Math.floor(at / 30)))
  return { images, labels, height: 5, width: 6, channels: 1, classes: 4 }
}

/** Mean, variance and correlation by the textbook formulas, in float64. */
function reference({ images, labels }: LabelledBytes, rows = Array.from(labels, (_, row) => row)) {
  const value = (row: number, pixel: number): number => images[row * 30 + pixel] ?? 0
  const meanOf = (of: readonly number[], f: (row: number) => number): number =>
    of.reduce((sum, row) => sum + f(row), 0) / Math.max(1, of.length)
  const pixels = Array.from({ length: 30 }, (_, i) => i)
  const covariance = (of: readonly number[], a: number, b: number): number => {
    const [meanA, meanB] = [meanOf(of, (row) => value(row, a)), meanOf(of, (row) => value(row, b))]
    return meanOf(of, (row) => (value(row, a) - meanA) * (value(row, b) - meanB))
  }
  const classRows = [0, 1, 2, 3].map((label) => rows.filter((row) => labels[row] === label))
  const scale = pixels.map((a) => Math.sqrt(covariance(rows, a, a)))
  return {
    classMeans: classRows.map((of) => pixels.map((a) => meanOf(of, (row) => value(row, a)))),
    classVariances: classRows.map((of) => pixels.map((a) => covariance(of, a, a))),
    mean: pixels.map((a) => meanOf(rows, (row) => value(row, a))),
    standardDeviation: scale,
    correlation: pixels.flatMap((a) =>
      pixels.map((b) => {
        const product = (scale[a] ?? 0) * (scale[b] ?? 0)
        return product === 0 ? 0 : covariance(rows, a, b) / product
      }),
    ),
  }
}

describe('statistics of pixels', () => {
  /**
   * Pixel 0 is 0, pixel 7 is 137, pixel 8 differs in one image, 9 nearly equals 10, 11 opposes 12; the others are
   * noise.
   */
  const bytes = randomSet(137, (random, i, row) => {
    const noise = random.below(256)
    const wave = Math.round(120 + 100 * Math.sin(row))
    if (i === 0) return 0
    if (i === 7) return 137
    if (i === 8) return row === 50 ? 201 : 200
    if (i === 9) return wave + (noise % 3)
    if (i === 10 || i === 11) return wave
    return i === 12 ? 255 - wave : noise
  })
  const tolerance = { rtol: 2e-6, atol: 2e-6 }

  it('agree with float64 for any chunk size, and find constant pixels', async () => {
    using set = residentImages(device(), bytes)
    const expected = reference(bytes)
    for (const chunk of [5000, 50]) {
      const statistics = await pixelStatistics(set, { chunk })
      expect(statistics.classCounts[2]).toBe(0)
      expect(statistics.constant).toEqual([0, 7])
      for (const name of ['mean', 'standardDeviation'] as const)
        expect(disagreement(statistics[name], expected[name], tolerance), name).toBeUndefined()
      for (const name of ['classMeans', 'classVariances'] as const)
        for (const label of [0, 1, 2, 3])
          expect(
            disagreement(statistics[name][label] ?? [], expected[name][label] ?? [], { rtol: 1e-5, atol: 1e-4 }),
            `${name} ${label}`,
          ).toBeUndefined()
      const matrix = await correlationMatrix(set, statistics, { chunk })
      // Pixel 8 has a deviation of 0.085 at a mean of 200: in float32 it keeps four digits.
      expect(disagreement(matrix, expected.correlation, { rtol: 0, atol: 1e-3 })).toBeUndefined()
      const steady = (i: number): boolean => i % 30 !== 8 && Math.floor(i / 30) !== 8
      expect(
        disagreement(
          matrix.filter((_, i) => steady(i)),
          expected.correlation.filter((_, i) => steady(i)),
          tolerance,
        ),
      ).toBeUndefined()
      for (let a = 0; a < 30; a++) {
        expect(matrix[a * 30 + a]).toBe(statistics.constant.includes(a) ? 0 : 1)
        for (let b = 0; b < 30; b++) expect(matrix[a * 30 + b]).toBe(matrix[b * 30 + a])
      }
    }
  })

  it('can be taken over a subset only', async () => {
    using set = residentImages(device(), bytes)
    const rows = [3, 5, 8, 13, 21, 34, 55, 89, 136]
    const part = set.subset(rows)
    const statistics = await pixelStatistics(part)
    const expected = reference(bytes, rows)
    expect(statistics.constant).toEqual([0, 7, 8])
    expect(disagreement(statistics.mean, expected.mean, tolerance)).toBeUndefined()
    expect(disagreement(await correlationMatrix(part, statistics), expected.correlation, tolerance)).toBeUndefined()
  })

  it('leave no memory behind, even when stopped', async () => {
    const before = device().memory().liveBytes
    {
      using set = residentImages(device(), bytes)
      const signal = AbortSignal.abort('enough')
      const held = device().memory().liveBytes
      await expect(pixelStatistics(set, { signal })).rejects.toMatchObject({ code: 'aborted' })
      const statistics = await pixelStatistics(set)
      await expect(correlationMatrix(set, statistics, { signal })).rejects.toMatchObject({ code: 'aborted' })
      await correlationMatrix(set, statistics)
      expect(device().memory().liveBytes).toBe(held)
      for (const chunk of [0, -1, 1.5, Number.NaN])
        await expect(pixelStatistics(set, { chunk })).rejects.toMatchObject({ code: 'argument' })
    }
    expect(device().memory().liveBytes).toBe(before)
  })
})

describe('equal images', () => {
  it('are found within sets and across them, in order', () => {
    const first = Uint8Array.of(1, 2, 3, 4, 1, 2, 5, 6)
    const second = Uint8Array.of(5, 6, 1, 2, 7, 8, 7, 8)
    expect(equalImages([first, second], 2)).toEqual([
      [
        { set: 0, index: 0 },
        { set: 0, index: 2 },
        { set: 1, index: 1 },
      ],
      [
        { set: 0, index: 3 },
        { set: 1, index: 0 },
      ],
      [
        { set: 1, index: 2 },
        { set: 1, index: 3 },
      ],
    ])
    expect(equalImages([], 2)).toEqual([])
    expect(() => equalImages([first, Uint8Array.of(1)], 2)).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('are compared by their bytes, not only by their hashes', () => {
    const [one, other] = collision()
    expect(equalImages([Uint8Array.of(...one, ...other)], 4)).toEqual([])
    expect(equalImages([Uint8Array.of(...one, ...other, ...one)], 4)).toHaveLength(1)
    expect([...dropDuplicates(Uint8Array.of(...one, ...other, ...one), 4)]).toEqual([0, 1])
  })
})

/** Two images of four bytes with the same FNV-1a hash of 32 bits. */
function collision(): [number[], number[]] {
  const seen = new Map<number, number[]>()
  const random = new Random(1, 'collision')
  for (;;) {
    const bytes = [0, 1, 2, 3].map(() => random.below(256))
    const hash = bytes.reduce((h, byte) => Math.imul(h ^ byte, 0x01000193), 0x811c9dc5) >>> 0
    const earlier = seen.get(hash)
    if (earlier !== undefined && earlier.join() !== bytes.join()) return [earlier, bytes]
    seen.set(hash, bytes)
  }
}

/** Images of 28x28 that differ in a few pixels; equal numbers give equal images. */
function imagesOf(numbers: readonly number[], labels: readonly number[]): LabelledImages {
  const images = new Uint8Array(numbers.length * 784)
  for (const [k, number] of numbers.entries()) {
    images[k * 784 + 100] = number
    images[k * 784 + 101] = number
    images[k * 784 + 500] = 255 - number
    images[k * 784 + 501] = (number * 37) % 256
  }
  const count = numbers.length
  return { images, labels: Uint8Array.from(labels), count, height: 28, width: 28, channels: 1, classes: 10 }
}

describe('exploring the data', () => {
  const train: EdaPart = { name: 'train', images: imagesOf([1, 2, 2, 3, 3, 3, 4, 9], [0, 1, 1, 2, 2, 5, 3, 9]) }
  const test: EdaPart = { name: 'test', images: imagesOf([4, 4, 7, 1, 8], [3, 6, 7, 0, 8]) }

  it('counts rows, classes, duplicates, conflicting labels and images in both sets', async () => {
    const before = device().memory().liveBytes
    const { result } = await explore(device(), [train, test], { source, classNames })
    expect(device().memory().liveBytes).toBe(before)
    expect(result.sets).toMatchObject([
      { name: 'train', rows: 8, missing: [], duplicateRows: 2, duplicateImages: 3, conflicts: 1 },
      { name: 'test', rows: 5, missing: [], duplicateRows: 0, duplicateImages: 1, conflicts: 1 },
    ])
    expect(result.sets.map(({ classCounts }) => classCounts)).toEqual([
      [1, 2, 2, 1, 0, 1, 0, 0, 0, 1],
      [1, 0, 0, 1, 0, 0, 1, 1, 1, 0],
    ])
    // Image 4 is in train once and in test twice, once with another label; image 1 is in both with the same label.
    expect(result.duplicates.across).toEqual({ rows: 3, conflicts: 1 })
    expect(result.duplicates.groupCount).toBe(4)
    expect(
      result.duplicates.groups.map((group) => group.map(({ set, row, label }) => `${set} ${row}: ${label}`)),
    ).toEqual([
      ['train 3: 2', 'train 4: 2', 'train 5: 5'],
      ['train 6: 3', 'test 0: 3', 'test 1: 6'],
      ['train 0: 0', 'test 3: 0'],
      ['train 1: 1', 'train 2: 1'],
    ])
    expect(duplicatesText(result, task.data)).toBe(
      'Images in train that repeat an earlier one: 3; with the same label: 2; identical images with different labels: 1. ' +
        'Images in test that repeat an earlier one: 1; with the same label: 0; identical images with different labels: 1. ' +
        'Images in test that are also in train, which inflates test results: 3; with different labels: 1.',
    )
  })

  it('lists the strongest and weakest pairs by position, and leaves out constant pixels', async () => {
    const { result, pictures } = await explore(device(), [train], { source, classNames })
    const { correlation } = result
    expect(correlation.constant).toHaveLength(780)
    const [a, b, c] = [
      { row: 3, column: 16 },
      { row: 3, column: 17 },
      { row: 17, column: 24 },
    ]
    expect(correlation.strongestPositive[0]).toEqual({ a, b, r: expect.closeTo(1, 6) })
    expect(correlation.strongestNegative.slice(0, 2)).toEqual([
      { a, b: c, r: expect.closeTo(-1, 6) },
      { a: b, b: c, r: expect.closeTo(-1, 6) },
    ])
    const strengths = correlation.weakest.map(({ r }) => Math.abs(r))
    expect(strengths).toEqual(strengths.toSorted((x, y) => x - y))
    expect(duplicatesText(result, task.data)).not.toContain('test')
    const picture = decodePng(pictures.correlation)
    expect(picture).toMatchObject({ width: 784, height: 784, channels: 3 })
    expect([...picture.data.subarray(0, 3)]).toEqual([...greyRgb])
    // Two statistics and ten images of each of ten classes, twice as large.
    expect(decodePng(pictures.classes)).toMatchObject({ width: (12 * 30 - 2) * 2, height: (10 * 30 - 2) * 2 })
  })

  it('contains no NaN if all pixels are constant and classes are empty', async () => {
    const { result } = await explore(device(), [{ name: 'one', images: imagesOf([5], [4]) }], { source, classNames })
    expect(result.correlation).toMatchObject({
      ...{ meanAbsolute: null, strongestPositive: [], strongestNegative: [], weakest: [] },
    })
    expect(result.correlation.constant).toHaveLength(784)
    const numbers = result.classes.flatMap(({ mean, variance }) => [...mean, ...variance])
    expect(numbers).toHaveLength(10 * 784 * 2)
    expect(numbers.every(Number.isFinite)).toBe(true)
    expect(JSON.parse(JSON.stringify(result))).toEqual(result)
  })

  it('refuses an empty set, and images of different sizes', async () => {
    const small: EdaPart = { name: 'small', images: { ...imagesOf([1], [1]), height: 14, width: 56 } }
    for (const parts of [[], [train, small]])
      await expect(explore(device(), parts, { source, classNames })).rejects.toMatchObject({ code: 'argument' })
  })
})

describe('CSV files', () => {
  let place = ''
  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), 'weftgrad-eda-'))
  })
  afterAll(() => rm(place, { recursive: true, force: true }))

  const header = ['label', ...Array.from({ length: 784 }, (_, i) => `pixel${i + 1}`)].join(',')
  const line = (label: string | number, change: Readonly<Record<number, string>> = {}, length = 784): string =>
    [label, ...Array.from({ length }, (_, i) => change[i + 1] ?? String((i * 7) % 256))].join(',')
  const write = async (name: string, lines: readonly string[]): Promise<string> => {
    const path = join(place, name)
    const bytes = new TextEncoder().encode(`${[header, ...lines].join('\n')}\n`)
    await writeFile(path, name.endsWith('.gz') ? gzipSync(bytes) : bytes)
    return path
  }

  it('are refused as a whole if cells are missing, wrong or too many, with their lines', async () => {
    const csv = await write('wrong.csv', [
      line(1),
      line(2, { 5: '' }),
      line(3, {}, 783),
      line(4, { 784: '256' }),
      line(10),
      line(5, { 2: '-3' }),
      line(6, { 2: '1e2' }),
    ])
    await expect(loadEdaData(task, { csv })).rejects.toMatchObject({
      code: 'format',
      message: expect.stringMatching(
        /line 3: pixel5 is missing.*line 4: 784 columns.*line 5: pixel784 is 256.*line 6: the label is 10.*line 7: pixel2 is '-3'.*1 more/,
      ),
    })
    // Wrong cells are refused even if missing cells are allowed.
    await expect(loadEdaData(task, { csv, missing: 'drop' })).rejects.toMatchObject({
      message: expect.stringMatching(/^(?!.*line 3:).*line 4: 784 columns/),
    })
  })

  it('lose rows with missing cells if asked to, and the result lists them', async () => {
    const csv = await write('missing.csv.gz', [
      line(1),
      line(2, { 5: '' }),
      line(1),
      line('', {}),
      line(3, { 1: 'NaN' }),
    ])
    await expect(loadEdaData(task, { csv })).rejects.toMatchObject({ message: expect.stringContaining('line 3') })
    const notes: string[] = []
    const data = await loadEdaData(task, { csv, missing: 'drop', onNote: (note) => notes.push(note) })
    expect(notes.join()).toContain('lines 3, 5, 6')
    const { result } = await explore(device(), data.parts, { source: data.source, classNames })
    expect(result.source).toEqual({ kind: 'csv', published: false })
    expect(result.sets).toMatchObject([
      { name: 'missing.csv.gz', rows: 2, missing: [3, 5, 6], duplicateRows: 1, duplicateImages: 1 },
    ])
    expect(duplicatesText(result, task.data)).not.toContain('Kaggle')
    const known = { ...result.sets[0], rows: 60000, duplicateRows: 43, duplicateImages: 43 }
    expect(duplicatesText({ ...result, sets: [known as (typeof result.sets)[number]] }, task.data)).toContain(
      'known for Kaggle',
    )
  })

  it('in a folder count as train and test', async () => {
    await write('fashion-mnist_train.csv', [line(1), line(2, { 1: '' }), line(3, { 1: '9' })])
    await write('fashion-mnist_test.csv', [line(4, { 1: '9' })])
    const { parts, source: from } = await loadEdaData(task, { dataDir: place, missing: 'drop' })
    expect(parts.map(({ name, images }) => [name, images.count, images.droppedLines])).toEqual([
      ['train', 2, [3]],
      ['test', 1, []],
    ])
    expect(from).toEqual({ kind: 'csv', published: false })
  })

  it('are either a folder or a file, and the file must exist', async () => {
    await expect(loadEdaData(task, { dataDir: place, csv: 'a.csv' })).rejects.toMatchObject({ code: 'argument' })
    await expect(loadEdaData(task, { csv: join(place, 'absent.csv') })).rejects.toMatchObject({ code: 'file' })
  })

  it('produce a folder that can be read again, and other folders are refused', async () => {
    const data = await loadEdaData(task, { csv: await write('two.csv', [line(1), line(2, { 3: '99' })]) })
    const eda = await explore(device(), data.parts, { source: data.source, classNames })
    const folder = join(place, 'folder')
    await writeEda(folder, eda)
    const again = await readEda(folder)
    expect(again.result).toEqual(eda.result)
    for (const name of ['classes', 'correlation'] as const)
      expect(Buffer.from(again.pictures[name]).equals(eda.pictures[name])).toBe(true)
    await rm(join(folder, 'classes.png'))
    await expect(readEda(folder)).rejects.toMatchObject({ code: 'file' })
    for (const text of ['', '{"sets": []}', '[]']) {
      await writeFile(join(folder, 'eda.json'), text)
      await expect(readEda(folder)).rejects.toMatchObject({ code: 'format' })
    }
  })

  it('are reported by the command, which writes the pictures', async () => {
    const csv = await write('told.csv', [line(1), line(1), line(7, { 9: '' }), line(2, { 3: '99', 4: '0' })])
    const out = join(place, 'out')
    const said: string[] = []
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => said.push(String(text)) > 0)
    try {
      await edaCommand(task, { csv, out, dropMissing: true })
    } finally {
      spy.mockRestore()
    }
    const text = said.join('')
    expect(text).toMatch(/Rows +3\n.*missing cells +1\n.*earlier one +1\n.*same label +1\n/)
    expect(text).toContain('line 4.')
    expect(text).toMatch(/strongest positive +\S+ {2}\(row \d+, column \d+\) and/)
    expect(JSON.parse(await readFile(join(out, 'eda.json'), 'utf8'))).toMatchObject({ sets: [{ rows: 3 }] })
    for (const name of ['classes.png', 'correlation.png']) decodePng(await readFile(join(out, name)))
  })
})
