/** The study's report: for any results, a page that is complete, escaped and legible, checked in a real Chromium. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, BrowserContextOptions } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { count, decimal, duration, listed, millions, percent, probability } from '../src/numbers.ts'
import { compareModels } from '../src/report/comparison.ts'
import { html } from '../src/report/html.ts'
import { renderReport } from '../src/report/page.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { axeViolations } from './support/axe.ts'
import { openChromium } from './support/chromium.ts'
import { layoutProblems, paperWidth } from './support/layout.ts'
import { emptyStudy, hostile, measured, wholeStudy } from './support/study-report.ts'

const { report, pictures } = wholeStudy()
const command = 'npx weftgrad study'
const page = renderReport(report, { task, pictures, command })
/**
 * Class counts, classes, correlation; trials; three of the folds; two of each recipe; two of VGG16; accuracies; costs; two
 * curves of all models; confusion and reliability of each.
 */
const plots = 3 + 1 + 3 + 4 + 2 + 1 + 2 + 2 + 3 * 2

const wordsOf = (text: string): string =>
  text
    .replace(/<style>.*?<\/style>/s, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')

describe('the report', () => {
  it('has every section, every plot and the figures of each part', () => {
    const ids = ['summary', 'data', 'tuning', 'crossval', 'lenet', 'transfer', 'comparison', 'models', 'method']
    for (const id of ids) {
      expect(page).toContain(`<section id="${id}"`)
      expect(page).toContain(`href="#${id}"`)
    }
    expect(page.match(/<svg [^>]*class="plot"/g)).toHaveLength(plots)
    const words = wordsOf(page)
    for (const text of [
      'vgg16 is the most accurate: 94.00 % on 1,000 test images',
      '89.00 %',
      '90.00 % ± 1.00 %',
      'What reusing one model across folds would have shown',
      'a driver',
      'Xception',
      'expected calibration error 0.',
    ])
      expect(words).toContain(text)
  })

  it('names no winner if the test finds no difference, and says how many images an accuracy is based on', () => {
    const comparison = compareModels([measured('lenet-seed', 1000, 62), measured('vgg16', 1000, 60)], task)
    const words = wordsOf(renderReport({ ...report, comparison }, { task, pictures, command }))
    expect(words).not.toContain('is the most accurate')
    expect(words).toContain('Best model undecided')
    // In the lead, beside the best model, and in the text to copy.
    expect(words.match(/cannot separate lenet-seed and vgg16/g)).toHaveLength(3)
    expect(words).toContain('test accuracy 94.00 % on 1,000 images')
  })

  it('shows no figure without a value', () => {
    for (const text of [page, renderReport(emptyStudy(), { task, pictures: null, command })])
      expect(wordsOf(text)).not.toMatch(/NaN|undefined|Infinity|null|\[object/)
  })

  it('escapes everything that comes from data', () => {
    expect(page).not.toContain('<script')
    expect(page).not.toContain('<b>')
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;')
    expect(String(html`<p title="${hostile}">${hostile}</p>`.text)).not.toContain('<script')
  })

  it('loads nothing: no script, no address except embedded images', () => {
    expect(page).not.toMatch(/<(script|link|iframe|object)\b|@import|url\(/)
    const addresses = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address = '']) => address)
    expect(addresses.length).toBeGreaterThan(10)
    for (const address of addresses) expect(address).toMatch(/^(#|data:image\/png;base64,)/)
  })

  it('says why parts were not run', () => {
    const words = wordsOf(renderReport(emptyStudy(), { task, pictures: null, command }))
    expect(words.match(/It was skipped on request/g)?.length).toBeGreaterThan(8)
    expect(words).toContain('No model of this study was tested.')
  })
})

describe('formatted figures', () => {
  it('are dashes if there is no number', () => {
    for (const text of [count, decimal, percent, duration, probability])
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, null, undefined]) expect(text(value)).toBe('–')
  })

  it('are grouped, rounded and have units', () => {
    expect(count(1234567)).toBe('1,234,567')
    expect(decimal(-0.00001)).toBe('0.0000')
    expect(percent(0.98765)).toBe('98.77\u00a0%')
    expect([416_520, 15_346_630_656].map(millions)).toEqual(['0.42\u00a0million', '15,347\u00a0million'])
    expect([9.94, 94, 3660].map(duration)).toEqual(['9.9\u00a0s', '1\u00a0min 34\u00a0s', '1\u00a0h 1\u00a0min'])
    expect([0.00001, 0.0312].map(probability)).toEqual(['< 0.0001', '0.0312'])
    expect([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map(listed)).toEqual(['', 'a', 'a and b', 'a, b and c'])
  })
})

describe('the report in Chromium', () => {
  let browser: Browser
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-report-'))
    await writeFile(join(folder, 'whole.html'), page)
    await writeFile(join(folder, 'empty.html'), renderReport(emptyStudy(), { task, pictures: null, command }))
    browser = await openChromium()
  })

  afterAll(async () => {
    await browser?.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** A tab with a page open; close its context. */
  async function opened(name: string, options: BrowserContextOptions) {
    const context = await browser.newContext({ bypassCSP: true, ...options })
    const tab = await context.newPage()
    await tab.goto(pathToFileURL(join(folder, `${name}.html`)).href)
    return { context, tab }
  }

  for (const [colorScheme, width] of [
    ['light', 390],
    ['dark', 1280],
  ] as const)
    it(`is legible, ${colorScheme} and ${width} pixels wide`, async () => {
      for (const [name, figures] of [
        ['whole', plots],
        ['empty', 0],
      ] as const) {
        const problems: string[] = []
        const { context, tab } = await opened(name, { colorScheme, viewport: { width, height: 900 } })
        tab.on('console', (message) => problems.push(message.text()))
        tab.on('pageerror', (error) => problems.push(error.message))
        tab.on('request', (request) => {
          if (!/^(file|data):/.test(request.url())) problems.push(request.url())
        })
        await tab.reload()
        const seen = await tab.evaluate(() => ({
          plots: [...document.querySelectorAll('svg.plot')].filter((svg) => svg.getBoundingClientRect().width > 200)
            .length,
          broken: [...document.images].filter((image) => image.naturalWidth === 0).length,
          tables: [...document.querySelectorAll('table')].filter((one) => one.closest('.scroll') === null).length,
        }))
        expect(seen).toEqual({ plots: figures, broken: 0, tables: 0 })
        expect(await axeViolations(tab)).toEqual([])
        expect(problems).toEqual([])
        await context.close()
      }
    })

  it('fits every width from a small phone to a wide screen: nothing is cut off or on top of something else', async () => {
    for (const name of ['whole', 'empty']) {
      const { context, tab } = await opened(name, {})
      for (const width of [320, 360, 480, 768, 1440]) {
        await tab.setViewportSize({ width, height: 900 })
        expect(await layoutProblems(tab), `${name}, ${width} pixels`).toEqual([])
      }
      await context.close()
    }
  })

  it('fits paper, black on white, also from a dark screen', async () => {
    for (const name of ['whole', 'empty']) {
      const { context, tab } = await opened(name, {
        colorScheme: 'dark',
        viewport: { width: paperWidth, height: 1000 },
      })
      await tab.emulateMedia({ media: 'print' })
      expect(await layoutProblems(tab), name).toEqual([])
      const { ink, paper, height } = await tab.evaluate(() => ({
        ink: getComputedStyle(document.body).color,
        paper: getComputedStyle(document.body).backgroundColor,
        height: document.documentElement.scrollHeight,
      }))
      expect([ink, paper]).toEqual(['rgb(0, 0, 0)', 'rgb(255, 255, 255)'])
      const pdf = (await tab.pdf({ preferCSSPageSize: true })).toString('latin1')
      expect(pdf).toContain('/MediaBox [0 0 594.95996 841.91998]')
      const sheets = pdf.match(/\/Type \/Page\b/g)?.length ?? 0
      const full = height / (((297 - 2 * 16) / 25.4) * 96)
      // Figures are not split, so sheets are not all full; a wrong page size or a figure per sheet would need far more.
      expect(sheets).toBeGreaterThanOrEqual(Math.floor(full))
      expect(sheets).toBeLessThan(1.5 * full + 2)
      await context.close()
    }
  })

  it('measures what is cut off or on top of something else', async () => {
    const { context, tab } = await opened('empty', { viewport: { width: 360, height: 900 } })
    const planted = async (markup: string): Promise<string[]> => {
      await tab.evaluate((text) => {
        document.querySelector('#planted')?.remove()
        document.querySelector('main')?.insertAdjacentHTML('beforeend', `<div id="planted">${text}</div>`)
      }, markup)
      return await layoutProblems(tab)
    }
    expect(await planted('<p>short</p>')).toEqual([])
    for (const [markup, problem] of [
      [`<p style="overflow-wrap:normal">${'long'.repeat(40)}</p>`, 'text beyond the page'],
      ['<p style="width:500px">wide</p>', 'beyond'],
      ['<p>one</p><p style="margin-top:-30px">two</p>', 'overlaps'],
      ['<figure style="width:100px"><svg width="200" height="20"></svg></figure>', 'a plot beyond its figure'],
      [
        '<div style="width:60px"><table style="table-layout:fixed;width:60px"><tr><td style="overflow-wrap:normal">unbreakable</td></tr></table></div>',
        'text beyond its cell',
      ],
    ] as const)
      expect((await planted(markup)).join('\n'), markup).toContain(problem)
    await context.close()
  })
})
