/**
 * Reads the CSV in which Kaggle publishes Fashion-MNIST: a header `label,pixel1,...,pixel784`, then one image per line.
 *
 * Works on bytes, so a file of 130 MB does not become strings: one tight loop reads lines of plain digits, and only unusual
 * lines (quotes, spaces, `12.0`, mistakes) are decoded and inspected. Promises: all lines are checked before anything is
 * returned, and the error lists the first problems with line numbers.
 */
import { WeftgradError } from '../errors.ts'

export interface LabelledCsvOptions {
  /** Whether a line with an empty cell (or `NaN`, `NA`, `null`) is an error ('refuse', the default) or is dropped ('drop'). */
  readonly missing?: 'refuse' | 'drop'
  /** Pixel columns; 784 for images of 28x28. */
  readonly pixels?: number
  /** Number of classes: labels are whole numbers below it; 10 by default. */
  readonly classes?: number
  /** Names the bytes in errors, for example the file's path. */
  readonly source?: string
}

export interface LabelledCsv {
  /** One label per image. */
  readonly labels: Uint8Array
  /** `count * pixels` values, image after image. */
  readonly images: Uint8Array
  readonly count: number
  /** Numbers of the lines dropped by `missing: 'drop'`; the header is line 1. */
  readonly droppedLines: readonly number[]
}

/** The number of problems listed in an error; the rest are counted. */
const problemsListed = 5
/** 784 cells of three digits take 3.1 kB; a longer line is not an image and is not decoded. */
const longestLineBytes = (pixels: number): number => 1024 + 16 * (pixels + 1)

const newline = 0x0a
const carriageReturn = 0x0d
const comma = 0x2c
const digit0 = 0x30

/**
 * Reads labelled images from CSV bytes.
 * @throws WeftgradError 'format' with the wrong lines; 'argument' for invalid options.
 */
export function parseLabelledCsv(bytes: Uint8Array, options: LabelledCsvOptions = {}): LabelledCsv {
  const { missing = 'refuse', pixels = 784, classes = 10, source = 'The CSV data' } = options
  if (!Number.isInteger(pixels) || pixels < 1 || !Number.isInteger(classes) || classes < 1 || classes > 256) {
    throw new WeftgradError('argument', 'pixels must be a positive integer and classes one from 1 to 256.', {
      pixels,
      classes,
    })
  }
  if (missing !== 'refuse' && missing !== 'drop') {
    throw new WeftgradError('argument', `missing must be 'refuse' or 'drop', not '${String(missing)}'.`, { missing })
  }

  const problems: string[] = []
  let problemCount = 0
  const report = (line: number, problem: string): void => {
    problemCount++
    if (problems.length < problemsListed) problems.push(`line ${line}: ${problem}`)
  }
  const refuse = (): never => {
    const more = problemCount - problems.length
    throw new WeftgradError(
      'format',
      `${source} cannot be read as labelled images: ${problems.join('; ')}${more > 0 ? `; and ${more} more` : ''}. ` +
        'Correct or remove these lines.',
      { source, problems, problemCount },
    )
  }

  const headerEnd = endOfLine(bytes, 0)
  const headerProblem = checkHeader(bytes.subarray(0, trimmedEnd(bytes, 0, headerEnd)), pixels)
  if (headerProblem !== undefined) {
    report(1, headerProblem)
    refuse()
  }

  // The shortest line of an image is all single digits, which bounds the number of rows by the file's size.
  const mostRows = Math.floor((bytes.length - headerEnd) / (2 * pixels + 2)) + 1
  let lines = 0
  for (let at = headerEnd + 1; at < bytes.length && lines < mostRows; at = endOfLine(bytes, at) + 1) lines++
  const labels = new Uint8Array(lines)
  const images = new Uint8Array(lines * pixels)
  const droppedLines: number[] = []

  let rows = 0
  let lineNumber = 2
  let blankLine = 0
  for (let start = headerEnd + 1; start < bytes.length; lineNumber++) {
    const end = endOfLine(bytes, start)
    const stop = trimmedEnd(bytes, start, end)
    if (stop === start) {
      // Blank lines at the end of the file are harmless; a blank line before an image is reported.
      if (blankLine === 0) blankLine = lineNumber
      start = end + 1
      continue
    }
    if (blankLine !== 0) {
      report(blankLine, 'the line is empty')
      blankLine = 0
    }
    // Only well-formed rows are counted, and there are at most `lines` of them, so the index stays within bounds.
    const label = readPlainRow(bytes, start, stop, images, rows * pixels, pixels)
    if (label >= 0 && label < classes) {
      labels[rows++] = label
    } else {
      const row = inspectRow(bytes.subarray(start, stop), pixels, classes)
      if (row.kind === 'values') {
        labels[rows] = row.values[0] ?? 0
        images.set(row.values.subarray(1), rows * pixels)
        rows++
      } else if (row.kind === 'missing' && missing === 'drop') {
        droppedLines.push(lineNumber)
      } else {
        report(lineNumber, row.problem)
      }
    }
    start = end + 1
  }

  if (problemCount > 0) refuse()
  if (rows === 0) {
    report(1, droppedLines.length > 0 ? 'every line after it was dropped for missing values' : 'no line follows it')
    refuse()
  }
  return { labels: labels.subarray(0, rows), images: images.subarray(0, rows * pixels), count: rows, droppedLines }
}

function endOfLine(bytes: Uint8Array, start: number): number {
  const at = bytes.indexOf(newline, start)
  return at < 0 ? bytes.length : at
}

function trimmedEnd(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === carriageReturn ? end - 1 : end
}

/**
 * Reads a line of exactly `pixels + 1` cells of 1 to 3 digits from 0 to 255. Returns the label, or -1 for any other line,
 * whose pixels the next line overwrites.
 */
function readPlainRow(
  bytes: Uint8Array,
  start: number,
  stop: number,
  images: Uint8Array,
  offset: number,
  pixels: number,
): number {
  let label = -1
  let column = 0
  let value = 0
  let digits = 0
  for (let at = start; at <= stop; at++) {
    const byte = at < stop ? (bytes[at] ?? 0) : comma
    if (byte === comma) {
      if (digits === 0 || digits > 3 || value > 255 || column > pixels) return -1
      if (column === 0) label = value
      else images[offset + column - 1] = value
      column++
      value = 0
      digits = 0
    } else {
      const digit = byte - digit0
      if (digit < 0 || digit > 9) return -1
      value = value * 10 + digit
      if (++digits > 3) return -1
    }
  }
  return column === pixels + 1 ? label : -1
}

type InspectedRow =
  | { readonly kind: 'values'; readonly values: Uint8Array }
  | { readonly kind: 'missing' | 'wrong'; readonly problem: string }

/** Reads one line slowly and thoroughly: returns its values or its problem. */
function inspectRow(line: Uint8Array, pixels: number, classes: number): InspectedRow {
  if (line.length > longestLineBytes(pixels)) {
    return { kind: 'wrong', problem: `the line has ${line.length} bytes, too many for ${pixels + 1} cells` }
  }
  const cells = new TextDecoder().decode(line).split(',')
  if (cells.length !== pixels + 1) {
    return { kind: 'wrong', problem: `${cells.length} columns instead of ${pixels + 1}` }
  }
  const values = new Uint8Array(pixels + 1)
  let absent: string | undefined
  for (const [column, raw] of cells.entries()) {
    const cell = unquoted(raw)
    const name = column === 0 ? 'the label' : `pixel${column}`
    if (cell === '' || /^(nan|na|null)$/i.test(cell)) {
      absent ??= `${name} is missing`
      continue
    }
    // pandas writes integers as 12.0 in a column with missing values.
    if (!/^[0-9]+(\.0*)?$/.test(cell)) {
      const kind = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(cell)
        ? cell.startsWith('-')
          ? 'negative'
          : 'not a plain integer'
        : 'not a number'
      return { kind: 'wrong', problem: `${name} is '${shortened(cell)}', which is ${kind}` }
    }
    const value = Number(cell)
    const last = column === 0 ? classes - 1 : 255
    if (value > last) return { kind: 'wrong', problem: `${name} is ${shortened(cell)}, outside 0 to ${last}` }
    values[column] = value
  }
  return absent === undefined ? { kind: 'values', values } : { kind: 'missing', problem: absent }
}

function checkHeader(line: Uint8Array, pixels: number): string | undefined {
  const expected = `label,pixel1,...,pixel${pixels}`
  if (line.length === 0) return `the header '${expected}' is missing`
  if (line.length > longestLineBytes(pixels)) return `the line is too long (${line.length} bytes) for '${expected}'`
  // TextDecoder removes the byte order mark that some spreadsheets write.
  const cells = new TextDecoder().decode(line).split(',').map(unquoted)
  for (let column = 0; column <= Math.min(pixels, cells.length - 1); column++) {
    const name = column === 0 ? 'label' : `pixel${column}`
    const cell = cells[column] ?? ''
    if (cell !== name) {
      return `the header must be '${expected}', but column ${column + 1} is '${shortened(cell)}' and not '${name}'`
    }
  }
  if (cells.length !== pixels + 1)
    return `the header has ${cells.length} columns instead of ${pixels + 1} ('${expected}')`
  return undefined
}

function unquoted(cell: string): string {
  const bare = cell.trim()
  return bare.length >= 2 && bare.startsWith('"') && bare.endsWith('"') ? bare.slice(1, -1).trim() : bare
}

function shortened(cell: string): string {
  return cell.length > 20 ? `${cell.slice(0, 20)}...` : cell
}
