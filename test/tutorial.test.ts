/**
 * The tutorial is correct: the programs of each page, joined in order, type-check as strictly as the sources, run on
 * the real device and print what the page says.
 *
 * The format of a page: its ```ts blocks make up one program. Code that is only shown (it needs a download, or a
 * browser) is marked ```ts no-run: it is type-checked in place. ```text blocks are the output, in order. In them `...`
 * stands for output that differs between computers: whole lines if alone on a line, else the rest of the line. Decimal
 * numbers may differ by one in the last printed digit, or by what the block says: ```text within=0.05.
 */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'docs', 'tutorial')
const chapters = readdirSync(folder).filter((name) => /^\d.*\.md$/.test(name))

interface Block {
  readonly language: string
  /** The text after the language. */
  readonly mark: string
  readonly text: string
}

const textOf = (page: string): string => readFileSync(join(folder, page), 'utf8')

function blocksOf(page: string): Block[] {
  return [...textOf(page).matchAll(/^```(\w+) *([^\n]*)\n(.*?)^```$/gms)].map(
    ([, language = '', mark = '', text = '']): Block => ({ language, mark, text }),
  )
}

/**
 * The page's programs as one module. Code that is not run becomes the body of a function that nobody calls;
 * neighbouring blocks share one, so that a later block sees the declarations of an earlier one.
 */
function programOf(page: string): string {
  const program: string[] = []
  let shown: string[] = []
  const finish = (): void => {
    if (shown.length > 0) program.push(uncalled(shown.join(''), `shown${program.length}`))
    shown = []
  }
  for (const { language, mark, text } of blocksOf(page)) {
    if (language !== 'ts') continue
    if (mark === 'no-run') shown.push(text)
    else {
      finish()
      program.push(text)
    }
  }
  finish()
  return program.join('')
}

function uncalled(text: string, name: string): string {
  const imports = /^import .*\n/gm
  return `${(text.match(imports) ?? []).join('')}export async function ${name}(): Promise<void> {\n${text.replace(imports, '')}}\n`
}

interface ExpectedLine {
  readonly text: string
  /** How much a number may differ; undefined for one in its last printed digit. */
  readonly within: number | undefined
}

function expectedOutput(page: string): ExpectedLine[] {
  return blocksOf(page)
    .filter(({ language }) => language === 'text')
    .flatMap(({ mark, text }) => {
      const [, within] = /^within=([\d.]+)$/.exec(mark) ?? []
      if (mark !== '' && within === undefined) throw new Error(`${page}: a block of text is marked '${mark}'`)
      const lines = text.replace(/\n$/, '').split('\n')
      return lines.map((line) => ({ text: line, within: within === undefined ? undefined : Number(within) }))
    })
}

const decimal = /-?\d+\.\d+(?:e[+-]?\d+)?/g

/** One in the last digit: 0.001 for 0.250, 1e-5 for 1.5e-4. */
function lastDigit(number: string): number {
  const [digits = '', exponent = '0'] = number.split('e')
  return 1.001 * 10 ** (Number(exponent) - (digits.split('.')[1]?.length ?? 0))
}

function sameLine(expected: ExpectedLine, actual: string): boolean {
  const [start = '', ...rest] = expected.text.split('...')
  const isOpen = rest.length > 0
  const escaped = start
    .split(decimal)
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join(`(${decimal.source})`)
  const found = new RegExp(`^${escaped}${isOpen ? '' : '$'}`).exec(actual)
  if (found === null) return false
  return (start.match(decimal) ?? []).every((number, i) => {
    const difference = Math.abs(Number(number) - Number(found[i + 1]))
    return difference <= (expected.within ?? lastDigit(number))
  })
}

/** The first line of the page that the output lacks at that position; undefined if everything matches. */
function firstMisfit(expected: readonly ExpectedLine[], actual: readonly string[]): string | undefined {
  let at = 0
  let anything = false
  for (const line of expected) {
    if (line.text === '...') {
      anything = true
      continue
    }
    const found = anything ? actual.findIndex((text, i) => i >= at && sameLine(line, text)) : at
    const text = actual[found]
    if (text === undefined || !sameLine(line, text)) return `the page says '${line.text}', the program '${text}'`
    at = found + 1
    anything = false
  }
  return anything || at === actual.length ? undefined : `the page does not say '${actual[at]}'`
}

let scratch = ''
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'weftgrad-tutorial-'))
  for (const page of chapters) await writeFile(programFile(page), programOf(page))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

const programFile = (page: string): string => join(scratch, page.replace(/\.md$/, '.mts'))

describe('the tutorial', () => {
  test('has six chapters', () => {
    expect(chapters).toHaveLength(6)
  })

  test('type-checks as strictly as the sources', () => {
    const config = join(root, 'tsconfig.json')
    const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(config, ts.sys.readFile).config, ts.sys, root)
    const program = ts.createProgram(chapters.map(programFile), { ...options, configFilePath: config })
    const problems = chapters.flatMap((page) => {
      const source = program.getSourceFile(programFile(page))
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
        ({ messageText, start = 0 }) => {
          const line = source?.text.slice(0, start).split('\n').length ?? 0
          const shown = source?.text.split('\n')[line - 1]?.trim()
          return `${page}: ${shown}\n  ${ts.flattenDiagnosticMessageText(messageText, '\n  ')}`
        },
      )
    })
    expect(problems.join('\n')).toBe('')
  })

  test.each(chapters)('%s prints what it says', async (page) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', './scripts/tsx.mjs', programFile(page)],
      {
        cwd: root,
      },
    )
    const actual = stdout.replace(/\n$/, '').split('\n')
    expect(firstMisfit(expectedOutput(page), actual), stdout).toBeUndefined()
  })
})

describe('comparing output with a page', () => {
  const lines = (...texts: string[]): ExpectedLine[] => texts.map((text) => ({ text, within: undefined }))

  test('accepts a number that differs by one in the last digit, and no other difference', () => {
    expect(firstMisfit(lines('loss 0.250'), ['loss 0.251'])).toBeUndefined()
    expect(firstMisfit(lines('loss 0.250'), ['loss 0.252'])).toContain('0.252')
    expect(firstMisfit([{ text: 'loss 0.250', within: 0.01 }], ['loss 0.258'])).toBeUndefined()
    expect(firstMisfit(lines('4 dispatches'), ['5 dispatches'])).toContain('5 dispatches')
  })

  test('lets three dots stand for the rest of a line, or for whole lines', () => {
    expect(firstMisfit(lines('on ...', 'a', '...', 'z'), ['on a GPU', 'a', 'b', 'c', 'z'])).toBeUndefined()
    expect(firstMisfit(lines('a', '...', 'z'), ['a', 'b', 'c'])).toContain("'z'")
    expect(firstMisfit(lines('a'), ['a', 'b'])).toContain("'b'")
    expect(firstMisfit(lines('a', 'b'), ['a'])).toContain("'b'")
  })
})
