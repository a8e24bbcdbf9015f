/** Text in columns that never touch, and never wrap in the middle of a word. */

/** Pads the text to the column's width. Longer text is still followed by a gap of two spaces. */
export function column(text: string, width: number): string {
  return text.padEnd(Math.max(width, text.length + 2))
}

/** A column of a table: its title and its cells are right-aligned in `width` places, which include the gap before them. */
export interface TableColumn<Row> {
  readonly title: string
  readonly width: number
  readonly cell: (row: Row) => string
  /** Narrow terminals lose the column with the highest number first. Without one, it stays. */
  readonly spare?: number
}

/** The columns that fit: those that can be spared are left out, one by one. */
export function fitting<Row>(columns: readonly TableColumn<Row>[], room: number): readonly TableColumn<Row>[] {
  const width = columns.reduce((sum, one) => sum + one.width, 0)
  const [first] = [...columns].sort((a, b) => (b.spare ?? 0) - (a.spare ?? 0))
  if (width <= room || first?.spare === undefined) return columns
  return fitting(
    columns.filter((one) => one !== first),
    room,
  )
}

export const titleRow = (columns: readonly TableColumn<never>[]): string =>
  columns.map(({ title, width }) => title.padStart(width)).join('')

export const tableRow = <Row>(columns: readonly TableColumn<Row>[], row: Row): string =>
  columns.map(({ cell, width }) => cell(row).padStart(width)).join('')

// biome-ignore lint/suspicious/noControlCharactersInRegex: sequences that colour text take no room
const sequences = /\u001b\[[0-9;]*m/g

/** The columns that a line takes. */
export const widthOf = (text: string): number => text.replace(sequences, '').length

/**
 * Breaks a line between words. Further lines are indented as the first is, or by `indent`. A word wider than the room stays
 * whole.
 */
export function wrapped(line: string, columns: number, indent = line.search(/\S|$/)): string {
  if (widthOf(line) <= columns) return line
  const start = line.slice(0, line.search(/\S|$/))
  const lines: string[] = []
  let current = start
  for (const word of line.slice(start.length).split(' ')) {
    const isFirst = current.trim() === ''
    if (!isFirst && widthOf(current) + 1 + widthOf(word) > columns) {
      lines.push(current.trimEnd())
      current = ' '.repeat(indent) + word
    } else current += isFirst ? word : ` ${word}`
  }
  return [...lines, current].join('\n')
}
