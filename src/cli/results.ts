/** Test results as text: loss and accuracy, per-class results, the confusion matrix. */

import type { ClassMetrics } from '../classification-report.ts'
import { count, percent } from '../numbers.ts'
import { printable } from '../printable.ts'
import type { ErrorAnalysis } from '../runs/error-analysis.ts'
import { largest } from '../statistics.ts'
import { fitting, type TableColumn, tableRow, titleRow } from './columns.ts'
import type { Colors } from './shown.ts'
import type { Terminal } from './terminal.ts'

export interface TestResults {
  readonly test: { readonly loss: number; readonly accuracy: number }
  readonly perClass: readonly (ClassMetrics & { readonly class: string })[]
  readonly macro: ClassMetrics
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

/** The longest class names, and shorter ones for narrow terminals. */
const [longestName, shortName] = [40, 16]
const narrow = 80
/** Wider confusion matrices are left to files, in logs too. */
const widest = 160

/** Results as text. Class names come from files, so they are escaped and shortened. */
export function resultsText(given: TestResults, { colors, columns }: Pick<Terminal, 'colors' | 'columns'>): string {
  const longest = columns <= narrow ? shortName : longestName
  const results = {
    ...given,
    perClass: given.perClass.map((one) => ({ ...one, class: printable(one.class, longest) })),
  }
  const room = Math.min(columns, widest)
  return [
    headline(results, colors),
    '',
    classTable(results, colors, room),
    '',
    confusionText(results, colors, room),
  ].join('\n')
}

/** The worst errors by file: where to look first. Empty if images have no files. */
export function errorsText(errors: ErrorAnalysis | undefined, names: readonly string[], { bold, dim }: Colors): string {
  const name = (k: number): string => printable(names[k] ?? String(k), 40)
  const lines = (errors?.worst ?? []).slice(0, errorsShown).flatMap(({ name: file, label, predicted, top }) => {
    if (file === undefined) return []
    const sure = percent(top[0]?.probability ?? Number.NaN, 1)
    return `  ${printable(file)}  ${dim(`${name(label)} taken for ${name(predicted)} (${sure})`)}`
  })
  return lines.length === 0 ? '' : ['', `  ${bold('Worst errors')}`, ...lines].join('\n')
}

const errorsShown = 5

function headline({ test, macro }: TestResults, { bold, dim }: Colors): string {
  return `${bold('Test')}  loss ${bold(test.loss.toFixed(4))}  accuracy ${bold(percent(test.accuracy))}  ${dim(`on ${count(macro.support)} images`)}`
}

function classTable({ perClass, macro }: TestResults, { dim }: Colors, room: number): string {
  type Row = ClassMetrics & { readonly class: string }
  const rows: readonly Row[] = [...perClass, { class: 'mean', ...macro }]
  const width = largest(rows.map((one) => one.class.length))
  const three = (value: number): string => value.toFixed(3)
  const all: readonly TableColumn<Row>[] = [
    { title: 'Class'.padEnd(width), width: width + 2, cell: (row) => row.class.padEnd(width) },
    { title: 'Precision', width: 11, cell: ({ precision }) => three(precision) },
    { title: 'Recall', width: 11, cell: ({ recall }) => three(recall) },
    { title: 'F1', width: 11, cell: ({ f1 }) => three(f1), spare: 1 },
    { title: 'Images', width: 9, cell: ({ support }) => count(support), spare: 2 },
  ]
  const columns = fitting(all, room)
  const lines = rows.map((row) => tableRow(columns, row))
  const rule = `  ${'─'.repeat(titleRow(columns).length - 2)}`
  return [dim(titleRow(columns)), ...lines.slice(0, -1), dim(rule), ...lines.slice(-1)].join('\n')
}

/** The confusion matrix: numbered columns, numbered and named rows, a green diagonal, frequent confusions in yellow. */
function confusionText(
  { perClass, confusion }: TestResults,
  { dim, green, yellow, bold }: Colors,
  room: number,
): string {
  const nameWidth = largest(perClass.map((one) => one.class.length))
  // Room for three digits at least.
  const cellWidth = String(largest(confusion.flat(), 100)).length + 2
  const indexWidth = String(perClass.length - 1).length
  const width = indexWidth + 3 + nameWidth + cellWidth * perClass.length
  if (width > room) return `  ${bold('Confusion')} ${dim(`is in report.json (${width} columns)`)}`
  const columns = perClass.map((_, k) => String(k).padStart(cellWidth)).join('')
  const rows = confusion.map((row, k) => {
    const { class: name = '', support = 0 } = perClass[k] ?? {}
    const cells = row.map((images, j) => {
      const text = (images === 0 ? '·' : String(images)).padStart(cellWidth)
      if (j === k) return green(text)
      // Highlight confusions of at least one in twenty of a class.
      if (images > 0 && images >= support / 20) return yellow(text)
      return images === 0 ? dim(text) : text
    })
    return `  ${dim(String(k).padStart(indexWidth))} ${name.padEnd(nameWidth)}${cells.join('')}`
  })
  const title = `  ${bold('Confusion')} ${dim('(rows: true class, columns: predicted)')}`
  return [title, dim(`  ${' '.repeat(indexWidth + 1 + nameWidth)}${columns}`), ...rows].join('\n')
}
