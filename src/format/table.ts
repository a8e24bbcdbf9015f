/** Tables as CSV with a header of column names, read by Papa Parse: quotes, line ends and delimiters of all kinds. */

import Papa from 'papaparse'
import { WeftgradError } from '../errors.ts'

/** A table of texts. */
export interface Table {
  readonly columns: readonly string[]
  readonly rows: readonly TableRow[]
}

export interface TableRow {
  /** The number of its first line in the text; the header is line 1. */
  readonly line: number
  /** One cell a column, without surrounding space. */
  readonly cells: readonly string[]
}

/**
 * Reads a table. Empty lines are left out. Without a delimiter, it is the one of comma, semicolon, tab and `|` that gives the header
 * most columns.
 * @throws WeftgradError 'format' with the line for broken quotes or a row that has not one cell a column; for no header, or
 * names that are empty or occur twice.
 */
export function parseTable(text: string, delimiter = delimiterOf(text)): Table {
  const { data, errors } = Papa.parse<string[]>(text, { delimiter, skipEmptyLines: false })
  // Quoted cells may hold line ends, so a row may take several lines.
  let next = 1
  const lines = data.map((cells) => {
    const line = next
    next += 1 + cells.reduce((sum, cell) => sum + (cell.match(/\r\n|\r|\n/g)?.length ?? 0), 0)
    return line
  })
  const broken = errors.find(({ type }) => type === 'Quotes')
  if (broken !== undefined)
    throw refusal(`line ${lines[broken.row ?? 0] ?? next}`, `${broken.message}. Correct the quotes.`)
  const rows = data
    .map((cells, i) => ({ line: lines[i] ?? 0, cells: cells.map((cell) => cell.trim()) }))
    .filter(({ cells }) => cells.length > 1 || cells[0] !== '')
  const [header, ...rest] = rows
  if (header === undefined) throw refusal('the text', 'is empty.')
  const columns = header.cells
  const bad = columns.findIndex((name, i) => name === '' || columns.indexOf(name) !== i)
  if (bad >= 0)
    throw refusal(
      `column ${bad + 1}`,
      `is named '${columns[bad]}'. Columns need names, each its own, in the first line.`,
    )
  const odd = rest.find(({ cells }) => cells.length !== columns.length)
  if (odd !== undefined)
    throw refusal(`line ${odd.line}`, `has ${odd.cells.length} cells, and the header names ${columns.length} columns.`)
  return { columns, rows: rest }
}

/** Papa Parse's own guess gives up at an empty line. */
function delimiterOf(text: string): string {
  const [header = ''] = text.split(/[\r\n]/, 1)
  const columns = (delimiter: string): number => Papa.parse<string[]>(header, { delimiter }).data[0]?.length ?? 0
  return [',', ';', '\t', '|'].reduce((best, other) => (columns(other) > columns(best) ? other : best))
}

function refusal(where: string, problem: string): WeftgradError {
  return new WeftgradError('format', `The CSV cannot be read: ${where} ${problem}`, { where })
}
