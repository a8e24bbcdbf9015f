/** Data sets from tables: CSV with named columns, some of them features, one or more of them the target. */

import { WeftgradError } from '../errors.ts'
import { parseTable, type Table } from '../format/table.ts'
import type { Device } from '../gpu/device.ts'
import { nameHint } from '../near-names.ts'
import { anArray, anything, aString, checkOptions, checkValue, countFrom1, type Kind, required } from '../options.ts'
import type { ArrayDataset } from './array-dataset.ts'
import { aDevice, arrays } from './arrays.ts'

/** What the columns of a table are. */
export interface CsvOptions {
  /** The column of the targets; several columns make targets of as many numbers. */
  readonly target: string | readonly string[]
  /** The columns of the examples' numbers, in this order: by default all others, in the table's order. */
  readonly features?: readonly string[] | undefined
  /** Number of classes, if the target holds class numbers. */
  readonly classes?: number | undefined
  /**
   * The classes' names, in the order of their numbers, if the target holds names: by default those that occur, sorted. Give
   * those of the training set for other sets, so that numbers mean the same.
   */
  readonly classNames?: readonly string[] | undefined
  /** What separates cells: by default the one of comma, semicolon, tab and `|` that gives most columns. */
  readonly delimiter?: string | undefined
  /** The most bytes of a block of the numbers on the device: by default the adapter's largest binding. */
  readonly blockBytes?: number | undefined
  /** Where the numbers go: by default the device opened last. */
  readonly device?: Device | undefined
}

/** Cells that say that there is no value. */
const missing = /^(|na|nan|null)$/i
/** Problems listed in an error; the rest are counted. */
const problemsListed = 5

const names: Kind = ['a list of column names', (value) => Array.isArray(value) && value.every(aString[1])]
const nameOrNames: Kind = ['the name of a column, or several', (value) => aString[1](value) || names[1](value)]

/**
 * Puts the rows of a table on the device, flat examples of its features. The first line names the columns. A target of texts
 * becomes class numbers; one of numbers stays numbers unless `classes` is given. Features are not scaled: see
 * {@link ArrayDataset.statistics}.
 * @throws WeftgradError 'format' for a text that is no table; 'data' with lines and columns for missing values, features that
 * are no numbers, and classes without a name or out of range; 'argument' for columns that there are not, and other options that
 * are not what they must be; 'limit' if there is no memory for the numbers.
 */
export function csv(text: string, options: CsvOptions): ArrayDataset {
  checkValue('csv: the text', text, aString)
  checkOptions<object>('csv', options, {
    ...{ target: required(nameOrNames), features: names, classes: anything, classNames: anArray },
    ...{ delimiter: aString, blockBytes: countFrom1, device: aDevice },
  })
  const { target, classes, classNames, delimiter, blockBytes, device } = options
  const table = parseTable(text, delimiter)
  const targets = typeof target === 'string' ? [target] : target
  const features = options.features ?? table.columns.filter((name) => !targets.includes(name))
  if (features.length === 0 || targets.length === 0)
    throw new WeftgradError('argument', 'A data set needs at least one column of features, and one as target.')
  if (table.rows.length === 0) throw new WeftgradError('data', 'The table has a header and no rows.')
  const both = features.find((name) => targets.includes(name))
  if (both !== undefined) throw new WeftgradError('argument', `The column ${both} is a feature and the target.`)

  const reader = new CellReader(table)
  const x = reader.numbers(features)
  const named = typeof target === 'string' ? reader.classes(target, classNames) : undefined
  const y = named === undefined ? { y: reader.numbers(targets), classNames } : named
  reader.refuseProblems()
  return arrays({ x, shape: [features.length], ...y, classes, blockBytes, device })
}

/** Reads cells by column, and collects what is wrong with them. */
class CellReader {
  readonly #table: Table
  readonly #problems: string[] = []
  #problemCount = 0

  constructor(table: Table) {
    this.#table = table
  }

  /** The numbers of these columns, row by row. */
  numbers(columns: readonly string[]): Float64Array {
    const numbers = new Float64Array(this.#table.rows.length * columns.length)
    for (const [i, column] of columns.entries())
      for (const [row, { line, cell }] of this.#column(column).entries()) {
        const number = Number(cell)
        if (missing.test(cell)) this.#report(line, column, 'holds no value')
        else if (!Number.isFinite(number)) this.#report(line, column, `holds '${cell}', which is no number`)
        numbers[row * columns.length + i] = number
      }
    return numbers
  }

  /** The class numbers of a column of names; undefined for one of numbers that are no names. */
  classes(
    column: string,
    known: readonly string[] | undefined,
  ): { readonly y: Uint32Array; readonly classNames: readonly string[] } | undefined {
    const rows = this.#column(column)
    const present = rows.map(({ cell }) => cell).filter((cell) => !missing.test(cell))
    const isNamed = present.some((cell) => !Number.isFinite(Number(cell)))
    if (!isNamed && (known === undefined || !present.every((cell) => known.includes(cell)))) return undefined
    const classNames = known ?? [...new Set(present)].sort()
    const numberOf = new Map(classNames.map((name, i) => [name, i]))
    const y = Uint32Array.from(rows, ({ line, cell }) => {
      const number = numberOf.get(cell)
      if (missing.test(cell)) this.#report(line, column, 'holds no value')
      else if (number === undefined) this.#report(line, column, `holds '${cell}', which is none of the classes`)
      return number ?? 0
    })
    return { y, classNames }
  }

  /** Throws 'data' with the first problems that were found. */
  refuseProblems(): void {
    const more = this.#problemCount - this.#problems.length
    if (this.#problemCount === 0) return
    throw new WeftgradError(
      'data',
      `The table has cells that cannot be used: ${this.#problems.join('; ')}${more > 0 ? `; and ${more} more` : ''}. Correct or remove these lines, or choose other columns.`,
      { problems: this.#problems, problemCount: this.#problemCount },
    )
  }

  /** The cells of a column. Throws 'argument' if there is no such column. */
  #column(name: string): { readonly line: number; readonly cell: string }[] {
    const { columns, rows } = this.#table
    const at = columns.indexOf(name)
    if (at < 0)
      throw new WeftgradError('argument', `The table has no column ${name}${nameHint(name, columns)}`, { name })
    return rows.map(({ line, cells }) => ({ line, cell: cells[at] ?? '' }))
  }

  #report(line: number, column: string, problem: string): void {
    this.#problemCount++
    if (this.#problems.length < problemsListed) this.#problems.push(`line ${line}, column ${column}: it ${problem}`)
  }
}
