/**
 * The documentation site, as `npm run docs` writes it. Its API reference is complete: every public name has a comment, every
 * type that a public name mentions is public, and every link in a comment leads somewhere. (Only people can judge what a
 * comment says.) Every page of the guide is in it under its title, all links work, nothing comes from the network, and a
 * real Chromium finds it legible and usable by keyboard at any width, light and dark.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright'
import { Application, Logger, LogLevel, TSConfigReader, TypeDocReader } from 'typedoc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChromium } from './support/chromium.ts'
import { axeViolations } from './support/demo.ts'
import { type StaticServer, serveFolder } from './support/static-server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const site = mkdtempSync(join(tmpdir(), 'weftgrad-site-'))

/** Collects TypeDoc's messages. */
class Warnings extends Logger {
  readonly texts: string[] = []
  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) this.texts.push(message)
  }
}

const warnings = new Warnings()
let names: string[] = []

beforeAll(async () => {
  const options = {
    options: join(root, 'typedoc.json'),
    tsconfig: join(root, 'tsconfig.json'),
    logLevel: LogLevel.Warn,
  }
  const app = await Application.bootstrapWithPlugins(options, [new TypeDocReader(), new TSConfigReader()])
  app.logger = warnings
  const project = await app.convert()
  if (project === undefined) throw new Error(`TypeDoc could not read the sources:\n${warnings.texts.join('\n')}`)
  app.validate(project)
  names = Object.values(project.reflections).map((reflection) => reflection.getFullName())
  await app.generateDocs(project, site)
})

afterAll(() => rmSync(site, { recursive: true }))

const filesBelow = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' })
const textOf = (path: string): string => readFileSync(join(site, path), 'utf8')

/** Of each address in a page that is its own: the file, and what follows the `#`. */
function ownTargets(page: string, html: string): { readonly file: string; readonly anchor: string | undefined }[] {
  const addresses = [...html.matchAll(/\s(?:href|src)="([^"]*)"/g)].map(([, address = '']) => address)
  return addresses
    .filter((address) => !/^(https?:|data:)/.test(address))
    .map((address) => {
      const [path = '', anchor] = address.split('#').map(decodeURIComponent)
      return { file: path === '' ? page : join(dirname(page), path), anchor }
    })
}

/** Addresses in a page that no file, or no element of it, has. */
function deadLinks(page: string, html: string): string[] {
  return ownTargets(page, html)
    .filter(({ file, anchor }) => {
      const path = join(site, file)
      if (!existsSync(path) || statSync(path).isDirectory()) return true
      return Boolean(anchor) && file.endsWith('.html') && !textOf(file).includes(`id="${anchor}"`)
    })
    .map(({ file, anchor }) => (anchor === undefined ? file : `${file}#${anchor}`))
}

describe('the API reference', () => {
  test('has the names of both entry points, and of the namespaces', () => {
    expect(names).toContain('weftgrad.matmul')
    expect(names).toContain('weftgrad.nn.fit')
    expect(names).toContain('weftgrad/node.open')
    expect(names).toContain('weftgrad/node.weights.find')
  })

  test('documents every public name, and mentions no type, name, file or heading that is missing', () => {
    expect(warnings.texts.join('\n')).toBe('')
  })
})

describe('the documentation site', () => {
  const guide = filesBelow(join(root, 'docs')).filter((path) => path.endsWith('.md'))
  const programs = readdirSync(join(root, 'examples')).filter((path) => path.endsWith('.ts'))

  test.each(guide)('has %s under its title', (path) => {
    const [, title] = /^# (.*)$/m.exec(readFileSync(join(root, 'docs', path), 'utf8')) ?? []
    const page = textOf(join('guide', path.replace(/\.md$/, '.html')))
    expect(page).toContain(`<title>${title} | weftgrad</title>`)
    expect(page.match(/<h1/g)).toHaveLength(1)
  })

  test.each(programs)('shows the whole program %s', (program) => {
    const page = textOf(join('examples', program.replace(/\.ts$/, '.html')))
    const [, code = ''] = /<code class="ts">(.*?)<\/code>/s.exec(page) ?? []
    const text = code.replace(/<br\/>/g, '\n').replace(/<[^>]*>/g, '')
    const [last] = readFileSync(join(root, 'examples', program), 'utf8')
      .trimEnd()
      .split('\n')
      .slice(-1)
    const plain = text
      .replaceAll('&#39;', "'")
      .replaceAll('&quot;', '"')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
    expect(plain.replaceAll('&amp;', '&').trimEnd().split('\n').at(-1)).toBe(last)
  })

  test('has no dead link, and takes nothing from the network', () => {
    const pages = filesBelow(site).filter((path) => path.endsWith('.html') && !path.startsWith('media'))
    expect(pages.length).toBeGreaterThan(300)
    expect(pages.flatMap((page) => deadLinks(page, textOf(page)).map((link) => `${page}: ${link}`))).toEqual([])
    const loaded = pages.flatMap((page) => textOf(page).match(/\ssrc="https?:[^"]*"|<link [^>]*https?:[^>]*>/g) ?? [])
    expect(loaded).toEqual([])
  })

  test('is checked for dead links by a check that finds them', () => {
    const planted =
      '<a href="guide/README.html"> <a href="none.html"> <img src="media/none.png"> <a href="index.html#none">'
    expect(deadLinks('index.html', planted)).toEqual(['none.html', 'media/none.png', 'index.html#none'])
  })
})

describe('the documentation site in a browser', () => {
  let browser: Browser
  let server: StaticServer
  beforeAll(async () => {
    ;[browser, server] = await Promise.all([openChromium(), serveFolder(site)])
  })
  afterAll(async () => {
    await browser.close()
    await server.close()
  })

  /** A page, whose navigation is there. */
  async function openPage(path: string, colorScheme: 'light' | 'dark', problems: string[] = []): Promise<Page> {
    const page = await browser.newPage({ colorScheme })
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('requestfailed', (request) => problems.push(`failed: ${request.url()}`))
    page.on('request', (request) => {
      if (!request.url().startsWith(server.url)) problems.push(`from the network: ${request.url()}`)
    })
    await page.goto(server.url + path)
    await page.locator('#tsd-nav-container summary').first().waitFor({ state: 'attached' })
    return page
  }

  const kinds = [
    'index.html',
    'guide/architecture.html',
    'examples/arrays.html',
    'interfaces/weftgrad.nn.FitOptions.html',
    'classes/weftgrad.nn.Model.html',
  ]

  test.each(kinds)('shows %s without violations of accessibility, at any width, light and dark', async (path) => {
    const problems: string[] = []
    for (const [width, scheme] of [
      [360, 'light'],
      [768, 'dark'],
      [1440, 'light'],
    ] as const) {
      const page = await openPage(path, scheme, problems)
      await page.setViewportSize({ width, height: 900 })
      // What scrolls gets its tab stop in the next frame.
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50))))
      expect(await page.evaluate(() => document.documentElement.scrollWidth), `${width} ${scheme}`).toBe(width)
      expect(await axeViolations(page), `${width} ${scheme}`).toEqual([])
      await page.close()
    }
    expect(problems).toEqual([])
  })

  test('finds a page by a word in its text, with the keyboard alone', async () => {
    const page = await openPage('functions/weftgrad.nn.fit.html', 'dark')
    await page.keyboard.press('/')
    await page.keyboard.type('proxy')
    await page.locator('#tsd-search-results li').filter({ hasText: 'Environment variables' }).waitFor()
    expect(await axeViolations(page)).toEqual([])
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.waitForURL(/guide\/environment\.html$/)
    await page.close()
  })

  test('opens and closes a section of its navigation with the keyboard', async () => {
    const page = await openPage('index.html', 'light')
    const section = page.locator('#tsd-nav-container details').filter({ hasText: 'Performance' }).first()
    expect(await section.getAttribute('open')).not.toBeNull()
    await section.locator('summary').first().press('Enter')
    expect(await section.getAttribute('open')).toBeNull()
    await page.close()
  })
})
