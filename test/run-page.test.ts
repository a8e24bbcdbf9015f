/** Pages of single runs: complete, small, legible on any screen and on paper, written again from a finished run's folder. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StudyPart } from '../src/report/parts.ts'
import { writeRunPage } from '../src/report/run-page.node.ts'
import { type FinishedRun, renderRun } from '../src/report/run-page.ts'
import { resultOf, type StudyResults } from '../src/report/study-report.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { axeViolations } from './support/axe.ts'
import { openChromium } from './support/chromium.ts'
import { layoutProblems, paperWidth } from './support/layout.ts'
import { hostile, wholeStudy } from './support/study-report.ts'

const { report: study } = wholeStudy()
/** A part's result; this study has them all. */
const resultIn = <Part extends StudyPart>(part: Part): StudyResults[Part] => {
  const result = resultOf(study.parts, part)
  if (result === undefined) throw new Error(`the study has no ${part}`)
  return result
}
const { report: training, pictures } = resultIn('best')
const { report: head } = resultIn('vgg16')

const config = {
  job: 'lenet5',
  startedAt: '2025-01-01T10:00:00.000Z',
  settings: { epochs: 5, split: 'official', units: [256, 32], limit: null },
  recipe: { recipe: 'best', flips: true },
  data: { folder: '/data', fingerprint: 'published', train: 60_000, test: 10_000, duplicates: 0 },
  adapter: { driver: hostile, name: 'name', hardware: false },
  kernels: {},
  versions: study.versions,
}
const origin = { ...config, settings: { ...config.settings, ...config.recipe } }

const runs: Readonly<Record<FinishedRun['kind'], FinishedRun>> = {
  training: { kind: 'training', report: training, pictures },
  transfer: { kind: 'transfer', report: { ...head, meaningless: true }, pictures },
  'cross-validation': { kind: 'cross-validation', report: resultIn('crossval') },
  search: { kind: 'search', report: resultIn('tune') },
}
const pages = Object.entries(runs).map(([kind, run]) => ({ kind, text: renderRun(run, origin, task) }))
const pageOf = (kind: FinishedRun['kind']): string => pages.find((page) => page.kind === kind)?.text ?? ''

const wordsOf = (text: string): string =>
  text
    .replace(/<style>.*?<\/style>/s, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')

describe('the page of a run', () => {
  it('says first what was done, what came out and how sure that is', () => {
    for (const { text } of pages) {
      const words = wordsOf(text)
      expect(words.indexOf('What was done?')).toBeLessThan(words.indexOf('How sure is that?'))
      expect(words).toContain('confidence interval')
      expect(words).toContain('To copy')
      expect(words).not.toMatch(/NaN|undefined|Infinity|null|\[object/)
    }
    expect(wordsOf(pageOf('training'))).toContain('LeNet-5 is right on 93.00 % of 1,000 test images')
    expect(wordsOf(pageOf('training'))).toContain('guessing the most frequent class would be right on 10.00 %')
    expect(wordsOf(pageOf('transfer'))).toContain('made-up weights: these figures mean nothing')
    expect(wordsOf(pageOf('cross-validation'))).toContain('90.00 % ± 1.00 %')
    expect(wordsOf(pageOf('search'))).toContain('reach a validation accuracy of 89.00 %')
  })

  it('has the sections of a study that belong to its kind', () => {
    const plots = { training: 4, transfer: 4, 'cross-validation': 3, search: 1 }
    for (const [kind, count] of Object.entries(plots)) {
      const text = pages.find((page) => page.kind === kind)?.text ?? ''
      expect(text.match(/<svg [^>]*class="plot"/g), kind).toHaveLength(count)
    }
    expect(pageOf('training').match(/<img /g)?.length).toBeGreaterThan(12)
    expect(wordsOf(pageOf('training'))).toContain('Worst errors')
  })

  it('escapes what comes from data, and loads nothing', () => {
    for (const { text } of pages) {
      expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
      expect(text).not.toMatch(/<(script|link|iframe|object)\b|@import|url\(/)
      for (const [, address = ''] of text.matchAll(/(?:src|href)="([^"]*)"/g))
        expect(address).toMatch(/^(#|data:image\/png;base64,)/)
    }
  })

  it('of a run from before errors, pictures and calibration were kept shows the rest', () => {
    const { errors: _, calibration: __, ...early } = head
    const words = wordsOf(renderRun({ kind: 'transfer', report: early, pictures: [] }, origin, task))
    expect(words).toContain('its calibration is unknown')
    expect(words).not.toContain('Worst errors')
    expect(words).not.toMatch(/NaN|undefined/)
  })

  it('stays below a megabyte with many classes, and does not draw a matrix that nobody could read', () => {
    const classes = 200
    const row = { precision: 0.5, recall: 0.5, f1: 0.5, support: 1 }
    const confusion = Array.from({ length: classes }, (_, k) =>
      Array.from({ length: classes }, (_, i) => Number(i === k)),
    )
    const perClass = confusion.map((_, k) => ({ class: `class ${k}`, ...row }))
    const text = renderRun({ kind: 'training', report: { ...training, confusion, perClass }, pictures }, origin, task)
    expect(text.length).toBeLessThan(1e6)
    expect(wordsOf(text)).toContain('of 200 classes is too large to draw')
  })
})

describe('the page in a run folder', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-page-'))
    await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('needs a finished run', async () => {
    await expect(writeRunPage(task, folder)).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('--resume'),
    })
  })

  it('is written from the files of the run alone, and again the same', async () => {
    await writeFile(join(folder, 'report.json'), JSON.stringify(training))
    await writeFile(join(folder, 'pictures.json'), JSON.stringify(pictures))
    const path = await writeRunPage(task, folder)
    expect(path).toBe(join(folder, 'report.html'))
    expect(await readFile(path, 'utf8')).toBe(pageOf('training'))
    await rm(path)
    expect(await readFile(await writeRunPage(task, folder), 'utf8')).toBe(pageOf('training'))
  })

  it('refuses damaged pictures, which would become markup', async () => {
    const bad = [{ position: 0, index: 0, png: '"><script>' }]
    await writeFile(join(folder, 'pictures.json'), JSON.stringify(bad))
    await expect(writeRunPage(task, folder)).rejects.toMatchObject({ code: 'format' })
  })
})

describe('the page of a run in Chromium', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await openChromium()
  })
  afterAll(() => browser?.close())

  for (const { kind, text } of pages)
    it(`fits phones, screens and paper, and is accessible: ${kind}`, async () => {
      const context = await browser.newContext({ bypassCSP: true })
      const tab = await context.newPage()
      await tab.setContent(text)
      for (const width of [320, 360, 768, 1440]) {
        await tab.setViewportSize({ width, height: 900 })
        expect(await layoutProblems(tab), `${width} pixels`).toEqual([])
      }
      expect(await axeViolations(tab)).toEqual([])
      await tab.setViewportSize({ width: paperWidth, height: 1000 })
      await tab.emulateMedia({ media: 'print' })
      expect(await layoutProblems(tab), 'on paper').toEqual([])
      await context.close()
    })
})
