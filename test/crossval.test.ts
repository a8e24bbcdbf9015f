/**
 * Folds, cross-validation on a real adapter with small data, and the text about a model that was reused across folds.
 */

import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { othersOf, stratifiedFolds } from '../src/crossval/folds.ts'
import {
  type CrossValidationResult,
  carryOverOf,
  explainCarryOver,
  type FoldResult,
  summarizeFolds,
} from '../src/crossval/result.ts'
import { crossValidate } from '../src/crossval/run.node.ts'
import { Random } from '../src/random.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { throughCrashes } from './support/crashes.ts'
import { writeBars } from './support/fashion-files.ts'

describe('stratified folds', () => {
  const labelled = fc
    .tuple(fc.integer({ min: 2, max: 7 }), fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 200 }))
    .map(([folds, labels]) => {
      // Classes that are too small for the folds are left out.
      const large = labels.filter((label) => labels.filter((other) => other === label).length >= folds)
      return { folds, labels: Uint8Array.from(large.length > 0 ? large : Array(folds).fill(3)) }
    })

  it('are disjoint, complete and stratified, and differ in size by at most one', () => {
    fc.assert(
      fc.property(labelled, fc.nat(), ({ folds, labels }, seed) => {
        const held = stratifiedFolds(labels, folds, seed)
        expect(held).toHaveLength(folds)
        const all = held.flatMap((fold) => [...fold])
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from(labels, (_, i) => i))
        const spread = (counts: number[]) => Math.max(...counts) - Math.min(...counts)
        expect(spread(held.map(({ length }) => length))).toBeLessThanOrEqual(1)
        for (const label of new Set(labels))
          expect(spread(held.map((fold) => fold.filter((i) => labels[i] === label).length))).toBeLessThanOrEqual(1)
        for (const fold of held) {
          expect(fold).toEqual(fold.toSorted())
          expect([...fold, ...othersOf(fold, labels.length)].toSorted((a, b) => a - b)).toEqual(
            Array.from(labels, (_, i) => i),
          )
        }
      }),
    )
  })

  it('are the same for the same seed, different for another, and mix each class', () => {
    const labels = Uint8Array.from({ length: 1000 }, (_, i) => i % 10)
    expect(stratifiedFolds(labels, 5, 1)).toEqual(stratifiedFolds(labels, 5, 1))
    expect(stratifiedFolds(labels, 5, 1)).not.toEqual(stratifiedFolds(labels, 5, 2))
    const [fold = new Uint32Array()] = stratifiedFolds(labels, 5, 1)
    const gaps = new Set([...fold].filter((i) => i % 10 === 0).map((i, k, own) => i - (own[k - 1] ?? 0)))
    expect(gaps.size).toBeGreaterThan(3)
  })

  it('are refused if there are too few', () => {
    for (const folds of [1, 0, 2.5])
      expect(() => stratifiedFolds([0, 0, 0, 0], folds, 1)).toThrow(expect.objectContaining({ code: 'argument' }))
    for (const labels of [[], [0, 0, 0, 1, 1]])
      expect(() => stratifiedFolds(labels, 3, 1)).toThrow(expect.objectContaining({ code: 'data' }))
  })
})

describe('the explanation of a reused model', () => {
  const fold = (accuracy: number, i: number): FoldResult => ({
    ...{ fold: i + 1, trainCount: 8, validationCount: 2, loss: 1, history: [] },
    accuracy,
  })
  const honest = summarizeFolds([0.9, 0.91, 0.89].map(fold))
  const told = (carried: number[], test: number): string => {
    const carryOver = carryOverOf(honest, carried.map(fold), { loss: 1, accuracy: test, count: 10_000 })
    return explainCarryOver(honest, carryOver, 10, task.published).join(' ').replaceAll('\u00a0', ' ')
  }

  it('says how much reuse inflates the score, and what the model is worth', () => {
    const text = told([0.9, 0.95, 0.97], 0.905)
    expect(text).toContain('a mean accuracy of 94.00 %; fresh models have 90.00 %, 4.0 points less')
    expect(text).toContain('trained on in 2 of 3 folds, for 20 epochs')
    expect(text).toContain('on 10,000 test images the reused model reaches 90.50 %, after 97.00 % in its last fold')
  })

  it('stays true if nothing was inflated', () => {
    const text = told([0.88, 0.87, 0.86], 0.87)
    expect(text).toContain('87.00 %; fresh models have 90.00 %, 3.0 points more')
    expect(text).toContain('reaches 87.00 %, after 86.00 % in its last fold')
  })
})

let place = ''
let dataDir = ''
let whole: CrossValidationResult
const small = {
  folds: 3,
  epochs: 2,
  batchSize: 25,
  units: [16, 8],
  learningRate: 3e-3,
  seed: 4,
  carryOver: true,
} as const

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-crossval-'))
  dataDir = await writeBars(join(place, 'data'), 240, 40)
  whole = await crossValidate(task, { ...small, dataDir, out: join(place, 'whole') })
}, 300_000)
afterAll(() => rm(place, { recursive: true, force: true }))

/** The result without times and paths. */
function figures({ runDir: _, seconds: __, ...result }: CrossValidationResult): CrossValidationResult {
  return JSON.parse(JSON.stringify(result, (key, value) => (key === 'seconds' ? undefined : value)))
}

describe('a finished cross-validation', () => {
  it('has a fold for each part, validated after its last epoch, and keeps nothing else', async () => {
    expect(
      whole.honest.folds.map(({ fold, trainCount, validationCount }) => [fold, trainCount, validationCount]),
    ).toEqual([1, 2, 3].map((fold) => [fold, 160, 80]))
    for (const { loss, accuracy, history } of whole.honest.folds) {
      expect(history.map(({ epoch }) => epoch)).toEqual([1, 2])
      expect(history[1]).toMatchObject({ validationLoss: loss, validationAccuracy: accuracy })
    }
    const mean = whole.honest.folds.reduce((sum, { accuracy }) => sum + accuracy / 3, 0)
    expect(whole.honest.accuracy.mean).toBeCloseTo(mean, 12)
    expect(whole).toMatchObject({ epochs: 10, images: { count: 240, duplicates: 0 } })
    expect((await readdir(join(place, 'whole'))).sort()).toEqual(['config.json', 'folds.jsonl', 'report.json'])
    expect(JSON.parse(await readFile(join(place, 'whole', 'report.json'), 'utf8'))).toEqual(whole)
  })

  it('reuses one model from the first fold on, which has trained for longer in each', () => {
    const { honest, carryOver } = whole
    expect(carryOver?.folds).toHaveLength(3)
    expect(carryOver?.folds[0]).toEqual(honest.folds[0])
    for (const i of [1, 2])
      expect(carryOver?.folds[i]?.history[0]?.loss).toBeLessThan(honest.folds[i]?.history[0]?.loss ?? 0)
    expect(carryOver?.inflation).toBe((carryOver?.accuracy.mean ?? 0) - honest.accuracy.mean)
    expect(carryOver?.test.count).toBe(40)
    expect(whole.explanation).toHaveLength(3)
  })

  it('has the same fresh folds if no model is reused', async () => {
    const out = join(place, 'honest')
    const result = await crossValidate(task, { ...small, carryOver: false, dataDir, out })
    expect(figures(result).honest).toEqual(figures(whole).honest)
    expect(result).toMatchObject({ carryOver: null, explanation: [] })
  }, 120_000)
})

describe('a cross-validation with more folds than a class has images', () => {
  it('is refused, and leaves no folder behind', async () => {
    const refused = crossValidate(task, { ...small, folds: 25, dataDir, out: join(place, 'never') })
    await expect(refused).rejects.toMatchObject({ code: 'data', message: expect.stringContaining('24 examples') })
    expect(await readdir(place)).not.toContain('never')
  })
})

describe('a stopped cross-validation', () => {
  it('at any moment resumes to the same figures, bit for bit', async () => {
    const run = join(place, 'crashed')
    const { result, crashes } = await throughCrashes(
      new Random(3, 'crashes'),
      (reporter, attempt) =>
        crossValidate(task, attempt === 0 ? { ...small, dataDir, out: run } : { resume: run, dataDir }, reporter),
      () => appendFile(join(run, 'folds.jsonl'), '{"kind":"hon'),
    )
    expect(crashes).toBeGreaterThan(2)
    expect(figures(result)).toEqual(figures(whole))
  }, 300_000)

  it('by its signal resumes after the completed steps', async () => {
    const run = join(place, 'aborted')
    const controller = new AbortController()
    const stopping = crossValidate(
      task,
      { ...small, dataDir, out: run, signal: controller.signal },
      { onProgress: ({ kind, fold }) => (kind === 'carried' && fold === 3 ? controller.abort() : undefined) },
    )
    await expect(stopping).rejects.toMatchObject({ code: 'aborted', details: { runDir: run, resumable: true } })
    // Early runs name no task.
    const path = join(run, 'config.json')
    const { task: _, ...early } = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify(early))
    expect(figures(await crossValidate(task, { resume: run, dataDir }))).toEqual(figures(whole))
  }, 120_000)

  it('refuses the log of another run, and the folder of another job or another task', async () => {
    const run = join(place, 'kept')
    const crash = { onFold: () => expect.fail('stop here') }
    await expect(crossValidate(task, { ...small, dataDir, out: run }, crash)).rejects.toThrow('stop here')
    const log = join(run, 'folds.jsonl')
    const text = await readFile(log, 'utf8')
    for (const wrong of ['{}', '{"kind":"honest","fold":4}', text.replace(/"accuracy":[\d.]+/, '"accuracy":2')]) {
      await writeFile(log, `${wrong.trim()}\n`)
      await expect(crossValidate(task, { resume: run, dataDir })).rejects.toMatchObject({
        code: 'format',
        message: expect.stringContaining('folds.jsonl, line 1'),
      })
    }
    const config = JSON.parse(await readFile(join(run, 'config.json'), 'utf8'))
    await writeFile(join(run, 'config.json'), JSON.stringify({ ...config, job: 'search' }))
    await expect(crossValidate(task, { resume: run, dataDir })).rejects.toMatchObject({ code: 'format' })
    await writeFile(join(run, 'config.json'), JSON.stringify({ ...config, task: 'shoes' }))
    await expect(crossValidate(task, { resume: run, dataDir })).rejects.toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('task shoes'),
    })
  }, 120_000)
})
