/** Text from files on its way to a terminal: escaped and shortened, wherever it comes from. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { resultsText } from '../src/cli/results.ts'
import { colorsFor, shownLines } from '../src/cli/shown.ts'
import { WeftgradError } from '../src/errors.ts'
import { type SafeTensor, writeSafetensors } from '../src/format/safetensors.ts'
import { escaped, printable } from '../src/printable.ts'
import { builtCommand } from './support/built-package.ts'
import { runCommand } from './support/command.ts'

const esc = '\u001b'
const rightToLeft = '\u202e'
const hostile = `a${esc}[2J${esc}]0;title\u0007\r\u009b31m${rightToLeft}gpj.b\u2028c\ud800`

/** Whether a terminal would show all of it unchanged, except for line ends. */
const isPlain = (text: string): boolean => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text.replaceAll('\n', ''))

describe('printable text', () => {
  test('contains no terminal controls or reordering characters, and shows what was there', () => {
    expect(escaped(hostile)).toBe('a\\u001b[2J\\u001b]0;title\\u0007\\u000d\\u009b31m\\u202egpj.b\\u2028c\\ud800')
    expect(escaped('T-shirt, größer, 日本語, 👩‍🔬, می‌خواهم')).toBe('T-shirt, größer, 日本語, 👩‍🔬, می‌خواهم')
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => isPlain(escaped(text).replaceAll(/[\u200c\u200d]/g, ''))),
    )
  })

  test('is never longer than asked for, before escaping, and keeps both ends', () => {
    const long = `begin${'x'.repeat(170_000)}end`
    expect(printable(long, 40)).toMatch(/^begin.*\.\.\..*end$/)
    expect(printable(long, 40)).toHaveLength(40)
    expect(printable('short')).toBe('short')
  })
})

test('an error quotes its input in one line of bounded length, and keeps its advice', () => {
  const { message } = new WeftgradError(
    'format',
    `'${hostile}\nweftgrad: all is well${'x'.repeat(170_000)}'. Download it again.`,
  )
  expect(isPlain(message)).toBe(true)
  expect(message).not.toContain('\n')
  expect(message.length).toBeLessThan(2500)
  expect(message).toMatch(/Download it again\.$/)
})

test('lines for a terminal keep our own colours, and no other sequence', () => {
  const colors = colorsFor({ isTTY: true }, { FORCE_COLOR: '1' })
  const line = `${colors.red('red')} ${colors.bold(colors.dim('faint'))}`
  expect(shownLines(`${line}\n${line}`, colors)).toBe(`${line}\n${line}`)
  expect(shownLines(colors.red(hostile), colors)).toBe(colors.red(escaped(hostile)))
  expect(isPlain(shownLines(line, colorsFor({}, { NO_COLOR: '1' })))).toBe(true)
})

test('results show class names escaped and shortened', () => {
  const one = { class: hostile.repeat(1000), precision: 1, recall: 1, f1: 1, support: 1 }
  const macro = { precision: 1, recall: 1, f1: 1, support: 1 }
  const text = resultsText(
    { test: { loss: 1, accuracy: 1 }, perClass: [one], macro, confusion: [[1]] },
    { colors: colorsFor({}, {}), columns: Number.POSITIVE_INFINITY },
  )
  expect(isPlain(text)).toBe(true)
  expect(text.length).toBeLessThan(5000)
})

test('results of 400 classes have a table, and no confusion matrix that nobody could read', () => {
  const classes = 400
  const one = { precision: 1, recall: 1, f1: 1, support: 1 }
  const perClass = Array.from({ length: classes }, (_, k) => ({ class: `class ${k}`, ...one }))
  const confusion = perClass.map((_, i) => perClass.map((_, j) => (i === j ? 12_345 : 0)))
  const text = resultsText(
    { test: { loss: 1, accuracy: 1 }, perClass, macro: one, confusion },
    { colors: colorsFor({}, {}), columns: 80 },
  )
  expect(text.match(/^ {2}class \d+ /gm)).toHaveLength(classes)
  expect(text).toMatch(/Confusion is in report.json/)
})

describe('the command', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-printable-'))
    await builtCommand()
  })
  afterAll(() => rm(folder, { recursive: true }))

  const names = [`${hostile.replace('\ud800', '')}\nfake line`, 'y'.repeat(170_000)]
  const tensors = new Map(
    names.map((name): [string, SafeTensor] => [name, { dtype: 'F32', shape: [1], data: Float32Array.of(1) }]),
  )

  test.each(['', '1'])('escapes tensor names, with FORCE_COLOR=%s', async (FORCE_COLOR) => {
    const from = join(folder, 'names.safetensors')
    await writeFile(from, writeSafetensors(tensors))
    const args = ['convert', from, join(folder, 'out.safetensors'), '--force']
    const { code, stdout } = await runCommand(args, { env: { FORCE_COLOR } })
    expect(code).toBe(0)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: our own colours
    expect(isPlain(stdout.replaceAll(/\u001b\[\d+m/g, ''))).toBe(true)
    expect(stdout).toContain('\\u001b[2J')
    expect(stdout).not.toContain(`\nfake line`)
    expect(stdout.length).toBeLessThan(5000)
    const json = (await runCommand([...args, '--json'])).stdout
    expect(isPlain(json)).toBe(true)
    expect(JSON.parse(json).tensors).toHaveLength(names.length)
    expect(JSON.stringify(JSON.parse(json))).toContain(rightToLeft)
  })

  test('escapes file names and arguments', async () => {
    for (const args of [
      ['convert', join(folder, `${rightToLeft}${esc}[2J.h5`), join(folder, 'x.safetensors')],
      ['predict', join(folder, `${rightToLeft}${esc}[2J`), 'x.png'],
      [`tr${esc}[2Jain${rightToLeft}`],
      ['weights', 'get', `${esc}[2J${rightToLeft}`],
    ]) {
      const { code, stdout, stderr } = await runCommand(args)
      expect(code).not.toBe(0)
      expect(isPlain(stdout + stderr), stderr).toBe(true)
    }
  })
})
