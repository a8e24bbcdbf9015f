/** Test results as text: loss and accuracy, per-class results, the confusion matrix. */

import type { ClassMetrics } from '../classification-report.ts'
import { count, percent } from '../numbers.ts'
import { printable } from '../printable.ts'
import type { ErrorAnalysis } from '../runs/error-analysis.ts'
import { largest } from '../statistics.ts'
import type { Colors } from './terminal.ts'

export interface TestResults {
  readonly test: { readonly loss: number; readonly accuracy: number }
  readonly perClass: readonly (ClassMetrics & { readonly class: string })[]
  readonly macro: ClassMetrics
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

/** Results as text. Class names come from files, so they are escaped and shortened. */
export function resultsText(given: TestResults, colors: Colors): string {
  const results = { ...given, perClass: given.perClass.map((one) => ({ ...one, class: printable(one.class, 40) })) }
  return [headline(results, colors), '', classTable(results, colors), '', confusionTable(results, colors)].join('\n')
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

function classTable({ perClass, macro }: TestResults, { dim }: Colors): string {
  const names = [...perClass.map((one) => one.class), 'mean']
  const width = largest(names.map((name) => name.length))
  const line = (name: string, { precision, recall, f1, support }: ClassMetrics): string =>
    `  ${name.padEnd(width)}${[precision, recall, f1].map((value) => value.toFixed(3).padStart(11)).join('')}${count(support).padStart(9)}`
  const header = `  ${'Class'.padEnd(width)}${['Precision', 'Recall', 'F1'].map((title) => title.padStart(11)).join('')}${'Images'.padStart(9)}`
  return [
    dim(header),
    ...perClass.map((one) => line(one.class, one)),
    dim(`  ${'─'.repeat(width + 42)}`),
    line('mean', macro),
  ].join('\n')
}

/** The confusion matrix: numbered columns, numbered and named rows, a green diagonal, frequent confusions in yellow. */
function confusionTable({ perClass, confusion }: TestResults, { dim, green, yellow, bold }: Colors): string {
  const nameWidth = largest(perClass.map((one) => one.class.length))
  // Room for three digits at least.
  const cellWidth = String(largest(confusion.flat(), 100)).length + 2
  const indexWidth = String(perClass.length - 1).length
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
