/** The whole study on small data: every part, its report, stopped and resumed anywhere, parts left out. */

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type StudyPart, studyParts } from '../src/report/parts.ts'
import type { StudyPlan } from '../src/report/study-report.ts'
import { FolderLock } from '../src/runs/folder-lock.node.ts'
import { searchHyperparameters } from '../src/search/run.node.ts'
import { fullPlan } from '../src/study/plan.ts'
import type { FinishedStudy } from '../src/study/report.node.ts'
import { runStudy, type StudyOptions, type StudyReporter } from '../src/study/run.node.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { train } from '../src/train/run.node.ts'
import { trainTransfer } from '../src/transfer/run.node.ts'
import { writeBars } from './support/fashion-files.ts'

let place = ''
let shared: Pick<StudyOptions, 'dataDir' | 'featureDir' | 'plan'> = {}
let whole: FinishedStudy

const plan: StudyPlan = {
  ...fullPlan(task),
  seeds: 2,
  tune: { maxEpochs: 2, factor: 2 },
  crossval: { folds: 2, epochs: 1 },
  train: { seed: 2, best: 2 },
  transfer: { networks: ['vgg16'], epochs: 2, limitTrain: 60, limitTest: 30, weights: 'hashed' },
}

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-study-'))
  shared = { dataDir: await writeBars(join(place, 'data'), 120, 40), featureDir: join(place, 'features'), plan }
  whole = await runStudy(task, { ...shared, out: join(place, 'whole') })
})
afterAll(() => rm(place, { recursive: true, force: true }))

/** The report without what differs between runs: times and rates. */
function figuresOf({ report }: FinishedStudy): unknown {
  const varying = new Set([
    ...['seconds', 'secondsPerEpoch', 'millisecondsPerStep', 'firstStepSeconds', 'imagesPerSecond', 'computeSeconds'],
    ...['startedAt', 'finishedAt', 'resumed', 'computed', 'cached'],
  ])
  return JSON.parse(JSON.stringify(report, (key, value) => (varying.has(key) ? undefined : value)))
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

describe('a study', () => {
  it('runs every part and compares the models', () => {
    const { parts, comparison, commentary } = whole.report
    const states = studyParts(task).map((part) => parts[part]?.state)
    expect(states).toEqual(['done', 'done', 'done', 'done', 'done', 'done', 'skipped', 'skipped'])
    expect(comparison?.models.map(({ id }) => id)).toEqual(['lenet-seed', 'lenet-best', 'vgg16'])
    expect(comparison?.models.map(({ ownTestImages }) => ownTestImages)).toEqual([40, 40, 30])
    expect(comparison?.models.map(({ testImages }) => testImages)).toEqual([30, 30, 30])
    expect(comparison?.pairs.map(({ images }) => images)).toEqual([30, 30, 30])
    expect(commentary.join(' ')).toContain('made-up weights')
  })

  it('trains the final LeNet-5 and the folds with the best settings found', () => {
    const { parts } = whole.report
    if (parts.tune.state !== 'done' || parts.crossval.state !== 'done' || parts.seed.state !== 'done')
      throw new Error('these parts are done')
    const { units_1, units_2, learning_rate } = parts.tune.result.best.hyperparameters
    const found = { units: [units_1, units_2], learningRate: learning_rate }
    expect(parts.crossval.result.settings).toMatchObject(found)
    expect(parts.seed.result).toMatchObject({ ...found, trainImages: 108 })
    expect(parts.best.state === 'done' && parts.best.result).toMatchObject({ trainImages: 120 })
  })

  it('trains each model with every seed, and reports the spread beside the first', async () => {
    const { parts, comparison, commentary } = whole.report
    if (parts.seed.state !== 'done' || parts.vgg16?.state !== 'done') throw new Error('these parts are done')
    for (const { report, repeats = [] } of [parts.seed.result, parts.vgg16.result]) {
      expect(repeats.map(({ seed }) => seed)).toEqual([2])
      expect(repeats[0]?.test.loss).not.toBe(report.test.loss)
    }
    expect(comparison?.models.map(({ otherSeeds }) => otherSeeds.length)).toEqual([1, 1, 1])
    expect(comparison?.models[0]?.otherSeeds).toEqual(parts.seed.result.repeats?.map(({ test }) => test.accuracy))
    expect(commentary.join(' ')).toContain('in 2 trainings')
    expect(await readFile(whole.page, 'utf8')).toContain('Over several seeds')
  })

  it('writes a page and JSON that name no folder of this computer', async () => {
    for (const name of ['report.html', 'report.json']) {
      const text = await readFile(join(whole.runDir, name), 'utf8')
      expect(text).not.toContain(place)
      expect(text).not.toMatch(/\bNaN\b|Infinity/)
    }
    expect(whole.page).toBe(join(whole.runDir, 'report.html'))
  })

  it('that is stopped anywhere resumes to the same figures', async () => {
    const out = join(place, 'stopped')
    // In the search, in the folds, in a training, between parts, in the features or in the head.
    const stops: readonly (StudyPart | 'begin')[] = ['tune', 'crossval', 'begin', 'best', 'vgg16']
    for (const [i, stop] of stops.entries()) {
      const controller = new AbortController()
      const reporter: StudyReporter = {
        onProgress: ({ part }) => {
          if (part === stop) controller.abort()
        },
        onPartBegin: () => {
          if (stop === 'begin') controller.abort()
        },
      }
      const folder = i === 0 ? { out } : { resume: out }
      const running = runStudy(task, { ...shared, ...folder, signal: controller.signal }, reporter)
      await expect(running).rejects.toMatchObject({ code: 'aborted' })
      expect(await isThere(join(out, 'report.html'))).toBe(false)
    }
    const begun: StudyPart[] = []
    const finished = await runStudy(task, { ...shared, resume: out }, { onPartBegin: (part) => void begun.push(part) })
    expect(begun).toEqual(['vgg16'])
    expect(figuresOf(finished)).toEqual(figuresOf(whole))
  }, 240_000)

  it('that is finished writes its report again without running anything', async () => {
    const page = await readFile(whole.page, 'utf8')
    await rm(whole.page)
    const again = await runStudy(
      task,
      { ...shared, resume: whole.runDir },
      {
        onPartBegin: (part) => {
          throw new Error(`${part} ran again`)
        },
      },
    )
    expect(figuresOf(again)).toEqual(figuresOf(whole))
    expect(await readFile(whole.page, 'utf8')).toBe(page)
  })

  it('without weights leaves the network out and says why', async () => {
    const transfer = { ...plan.transfer, weights: join(place, 'nowhere.h5') }
    const smaller = { ...task, transfer: { vgg16: task.transfer.vgg16 } }
    const skip = studyParts(smaller).filter((part) => part !== 'vgg16')
    const { report, page } = await runStudy(smaller, {
      ...shared,
      plan: { ...plan, transfer },
      skip,
      out: join(place, 'bare'),
    })
    expect(report.parts.vgg16).toMatchObject({ state: 'skipped', reason: expect.stringContaining('weights of VGG16') })
    expect(report.comparison).toBeNull()
    const text = await readFile(page, 'utf8')
    expect(text).toContain('The weights of VGG16')
    // A network that the task does not have.
    expect(text).not.toContain('Xception')
  })

  it('keeps a second process out of its folder, and out of those of its parts', async () => {
    for (const [folder, run] of [
      [whole.runDir, () => runStudy(task, { ...shared, resume: whole.runDir })],
      [join(place, 'new'), () => searchHyperparameters(task, { dataDir: shared.dataDir, out: join(place, 'new') })],
      [join(place, 'newer'), () => train(task, { dataDir: shared.dataDir, out: join(place, 'newer') })],
      [
        join(place, 'head'),
        () =>
          trainTransfer(task, { model: 'vgg16', weights: 'hashed', dataDir: shared.dataDir, out: join(place, 'head') }),
      ],
    ] as const) {
      const lock = await FolderLock.take(join(folder, 'lock'))
      if (typeof lock === 'string') throw new Error(lock)
      const before = (await readdir(folder)).sort()
      await expect(run()).rejects.toMatchObject({ code: 'argument', message: expect.stringContaining('is using') })
      expect((await readdir(folder)).sort()).toEqual(before)
      await lock.release()
    }
  })

  it('refuses to resume with other settings, other data or a damaged part', async () => {
    const refused = (options: StudyOptions, code: string) =>
      expect(runStudy(task, { ...shared, resume: whole.runDir, ...options })).rejects.toMatchObject({ code })
    await refused({ seed: 2 }, 'mismatch')
    await refused({ seeds: 3 }, 'mismatch')
    await refused({ quick: true }, 'mismatch')
    await refused({ dataDir: await writeBars(join(place, 'other'), 120, 40, 'other') }, 'mismatch')
    await refused({ resume: join(whole.runDir, 'tune') }, 'format')
    await refused({ out: join(place, 'elsewhere') }, 'argument')
    const part = join(whole.runDir, 'parts', 'tune.json')
    const text = await readFile(part, 'utf8')
    await writeFile(part, text.slice(0, 100))
    await refused({}, 'format')
    await writeFile(part, text)
  })
})
