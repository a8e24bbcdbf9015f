/** `weftgrad eda`: explores the data: prints a table, writes pictures and JSON to a folder. */

import { join, resolve } from 'node:path'
import { edaFiles, loadEdaData, writeEda } from '../explore/explore.node.ts'
import {
  duplicatesText,
  type EdaPixel,
  type EdaResult,
  type EdaSet,
  edaSamples,
  explore,
  type PixelPair,
} from '../explore/explore.ts'
import { count } from '../numbers.ts'
import { openForCommand } from '../runs/device.node.ts'
import type { Task } from '../tasks/task.ts'
import { exitCodeAfter } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface EdaOptions {
  readonly dataDir?: string
  readonly csv?: string
  readonly dropMissing?: boolean
  readonly out?: string
  readonly json?: boolean
}

/** One folder for all runs: the same data give the same files. */
const usualFolder = join('runs', 'eda')

export async function edaCommand(
  task: Task,
  { dropMissing, out = usualFolder, json, ...data }: EdaOptions,
): Promise<void> {
  const terminal = openTerminal({ json })
  const interrupt = interruptible(
    () => terminal.interrupted('Stopping.'),
    () => {},
  )
  try {
    const { signal } = interrupt
    const missing = dropMissing === true ? 'drop' : 'refuse'
    const { parts, source, place } = await loadEdaData(task, { ...data, missing, signal, onNote: terminal.note })
    using device = await openForCommand(terminal.note)
    const eda = await explore(device, parts, { source, classNames: task.data.classNames, signal })
    await writeEda(out, eda)
    const { result } = eda
    terminal.say(`${terminal.colors.bold('Data')}  ${whatText(result)}, from ${place}`)
    terminal.say()
    show(result, task.data, terminal)
    terminal.say()
    terminal.say(
      `Wrote ${edaFiles.classes} (for each class: mean, variance, ${edaSamples} images), ${edaFiles.correlation} and ${edaFiles.result} to ${out}.`,
    )
    if (json) terminal.json({ ...result, out: resolve(out) })
  } catch (error) {
    process.exitCode = exitCodeAfter(error, interrupt)
  } finally {
    interrupt.release()
  }
}

function show(result: EdaResult, data: Task['data'], { say, colors }: Terminal): void {
  const { bold, dim } = colors
  const { sets, classNames, correlation, adapter } = result
  const rows: [string, (set: EdaSet) => number][] = [
    ['Rows', ({ rows }) => rows],
    ['Rows skipped for missing cells', ({ missing }) => missing.length],
    ['Images that repeat an earlier one', ({ duplicateImages }) => duplicateImages],
    ['... with the same label', ({ duplicateRows }) => duplicateRows],
    ['Identical images, different labels', ({ conflicts }) => conflicts],
    ...classNames.map((name, k): [string, (set: EdaSet) => number] => [name, (set) => set.classCounts[k] ?? 0]),
  ]
  const first = Math.max(...rows.map(([name]) => name.length)) + 2
  const widths = sets.map(({ name }) => Math.max(10, name.length + 2))
  const line = (name: string, cell: (set: EdaSet) => string): string =>
    `  ${name.padEnd(first)}${sets.map((set, i) => cell(set).padStart(widths[i] ?? 0)).join('')}`
  say(dim(line('', ({ name }) => name)))
  for (const [name, of] of rows) say(line(name, (set) => count(of(set))))
  say()
  say(duplicatesText(result, data))
  for (const { name, missing } of sets.filter((set) => set.missing.length > 0)) {
    const lines = missing.slice(0, 10).join(', ') + (missing.length > 10 ? ', ...' : '')
    say(`Skipped in ${name} for missing cells: line${missing.length === 1 ? '' : 's'} ${lines}.`)
  }
  say()
  say(
    `${bold('Correlations')} between ${result.height * result.width} pixels over ${count(correlation.rows)} images in ${correlation.set} ${dim(`(${correlation.seconds.toFixed(1)} s on ${adapter.driver})`)}`,
  )
  say(constantText(correlation.constant))
  for (const [title, pairs] of [
    ['strongest positive', correlation.strongestPositive],
    ['strongest negative', correlation.strongestNegative],
    ['weakest', correlation.weakest],
  ] as const)
    for (const [i, pair] of pairs.slice(0, 3).entries()) say(pairLine(i === 0 ? title : '', pair))
}

function whatText({ source, height, width, classNames }: EdaResult): string {
  const kind =
    source.kind === 'pictures'
      ? 'pictures'
      : source.kind === 'csv'
        ? 'CSV'
        : source.published
          ? 'IDX, as published'
          : 'IDX, not the published files'
  return `${kind}; images of ${height}x${width} in ${classNames.length} classes`
}

function constantText(constant: readonly EdaPixel[]): string {
  if (constant.length === 0) return '  no pixel is constant over all images'
  const named = constant.slice(0, 5).map(pixelText).join(' ') + (constant.length > 5 ? ' ...' : '')
  return `  ${constant.length} pixels are constant over all images and without correlation: ${named}`
}

function pairLine(title: string, { a, b, r }: PixelPair): string {
  // Not -0.0000.
  const value = Number(r.toFixed(4)).toFixed(4)
  return `  ${title.padEnd(20)}${value.padStart(9)}  ${pixelText(a)} and ${pixelText(b)}`
}

function pixelText({ row, column }: EdaPixel): string {
  return `(row ${row}, column ${column})`
}
