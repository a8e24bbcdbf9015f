/** What commands print fits terminals of 60 and 80 columns. */

import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { fitting, tableRow, titleRow, widthOf, wrapped } from '../src/cli/columns.ts'
import { commandLine } from '../src/cli/main.ts'
import { resultsText } from '../src/cli/results.ts'
import { colorsFor } from '../src/cli/shown.ts'
import { openTerminal } from '../src/cli/terminal.ts'
import { EpochTable, fact } from '../src/cli/training-text.ts'
import { trialTable } from '../src/cli/trial-table.ts'
import { Outcomes } from '../src/search/search.ts'
import { fashionMnistLenet5 } from '../src/tasks/fashion-mnist-lenet5.node.ts'

const colors = colorsFor({}, { FORCE_COLOR: '1' })

/** A terminal of this width, and what was printed on it. */
function printedAt(columns: number) {
  const lines: string[] = []
  const say = (text = ''): void => void lines.push(...text.split('\n'))
  return { terminal: { ...openTerminal(), say, colors, columns }, lines }
}

const widest = (lines: readonly string[]): number => Math.max(...lines.map(widthOf))

describe.each([60, 80, 120])('at %i columns', (columns) => {
  it('no row of epochs wraps, and the best are marked', () => {
    const { terminal, lines } = printedAt(columns)
    const table = new EpochTable(terminal)
    const logs = { loss: 10.1234, accuracy: 1, validationLoss: 1234.5678, learningRate: 1, seconds: 12_345.6 }
    table.row({ ...logs, epoch: 10_000, validationAccuracy: 0.5 })
    table.row({ ...logs, epoch: 10_001, validationAccuracy: 0.4 })
    table.end()
    expect(widest(lines)).toBeLessThanOrEqual(columns)
    const text = lines.join('\n')
    expect(text.match(/\*/g)).toHaveLength(2)
    expect(text).toMatch(/\* best validation accuracy so far/)
    expect(/Seconds/.test(text)).toBe(columns >= 80)
  })

  it('results fit, with long class names and many classes too', () => {
    for (const classes of [10, 30]) {
      const one = { precision: 1, recall: 1, f1: 1, support: 1_234_567 }
      const perClass = Array.from({ length: classes }, (_, k) => ({
        class: `class number ${k}, with a long name`,
        ...one,
      }))
      const confusion = perClass.map((_, i) => perClass.map((_, j) => (i === j ? 999 : 0)))
      const text = resultsText({ test: { loss: 1, accuracy: 1 }, perClass, macro: one, confusion }, { colors, columns })
      expect(widest(text.split('\n'))).toBeLessThanOrEqual(columns)
      expect(text).toMatch(/Confusion/)
    }
  })

  it('no row of trials wraps, however a trial stands', () => {
    const hyperparameters = { units_1: 256, units_2: 128, learning_rate: 0.0001 }
    const ids = [1, 2, 3]
    const trials = ids.map((id) => ({ id, hyperparameters }))
    const rounds = [3, 2, 1].map((size, i) => ({ size, epochs: 10 ** (i + 1) }))
    const bracket = { bracket: 1, rounds, trials } as unknown as Parameters<typeof trialTable>[0]
    const outcomes = ids.map((trial) => ({
      ...{ trial, round: 1, epochs: 10, history: [] },
      score: { accuracy: 1 / trial, loss: 1234.5678, epoch: 1 },
    }))
    const progress = { epoch: 100, epochs: 100, step: 9, steps: 10, imagesPerSecond: 1, etaSeconds: 1 }
    const all = new Outcomes(outcomes as ConstructorParameters<typeof Outcomes>[0])
    const lines = trialTable(bracket, all, { colors, columns }, new Map([[2, { progress }]]))
    expect(widest(lines.slice(1))).toBeLessThanOrEqual(columns)
    expect(/stopped after round 1/.test(lines.join('\n'))).toBe(columns >= 80)
  })

  it('facts are broken between words, under their first word', () => {
    const { terminal, lines } = printedAt(columns)
    fact(
      terminal,
      'Data',
      'Fashion-MNIST: 60,000 images to train, 10,000 to test; limited to the first 3,000 images, and so on',
    )
    const printed = lines.flatMap((line) => line.split('\n'))
    expect(widest(printed)).toBeLessThanOrEqual(columns)
    expect(printed.slice(1).every((line) => /^ {13}\S/.test(line))).toBe(true)
  })
})

it('wrapping keeps words, colours and indentation', () => {
  expect(wrapped('  one two three', 9)).toBe('  one two\n  three')
  expect(wrapped('one two', 7)).toBe('one two')
  expect(wrapped('a/very/long/path b', 5)).toBe('a/very/long/path\nb')
  expect(
    wrapped(`${colors.bold('Name')}  ${colors.dim('some words')}`, 12, 6)
      .split('\n')
      .map(widthOf),
  ).toEqual([10, 11])
  expect(wrapped('', 5)).toBe('')
})

it('tables lose the columns that can be spared, the last one first', () => {
  const columns = [
    { title: 'A', width: 4, cell: (row: number) => String(row) },
    { title: 'B', width: 4, cell: (row: number) => String(row * 2), spare: 1 },
    { title: 'C', width: 4, cell: (row: number) => String(row * 3), spare: 2 },
  ]
  const shown = (room: number): string[] => [titleRow(fitting(columns, room)), tableRow(fitting(columns, room), 7)]
  expect(shown(12)).toEqual(['   A   B   C', '   7  14  21'])
  expect(shown(11)).toEqual(['   A   B', '   7  14'])
  expect(shown(1)).toEqual(['   A', '   7'])
})

it('the help of every command fits 80 columns, and of every job has an example', () => {
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)]
  for (const command of all(commandLine(fashionMnistLenet5))) {
    const written: string[] = []
    command.configureOutput({ writeOut: (text) => void written.push(text), getOutHelpWidth: () => 80 }).outputHelp()
    const help = written.join('')
    expect(help).not.toBe('')
    expect(help.split('\n').filter((line) => line.length > 80)).toEqual([])
    if (command.options.some(({ long }) => long === '--resume')) expect(help).toMatch(/Example:\n {2}npx weftgrad/)
  }
})
