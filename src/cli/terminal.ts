/**
 * Routes the command's output. Results go to standard output; notes, the progress bar and errors go to standard error.
 * With `--json`, standard output carries one JSON object and nothing else, and all text goes to standard error. Colours
 * are for terminals only; NO_COLOR and FORCE_COLOR (https://no-color.org) override that. Text may come from files, so
 * nothing but line ends and our own colours reaches the terminal unescaped.
 */
import type { WriteStream } from 'node:tty'
import { escaped } from '../printable.ts'
import { wrapped } from './columns.ts'
import { type Colors, colorsFor, shownLines } from './shown.ts'
import { eraseLine, Waiting } from './waiting.ts'

export interface Terminal {
  /** Prints lines of the result, and before it of what is done. */
  say(text?: string): void
  /** What is said from now on is the result: --quiet shows it. */
  results(): void
  /** Prints a note to standard error. */
  note(line: string): void
  /** Prints what people must know, also with --quiet, to standard error. */
  warn(line: string): void
  /** Warns that a signal was heard, in place of the '^C' that a terminal shows for the key. */
  interrupted(line: string): void
  /** Prints a note if details are wanted. */
  detail(line: string): void
  /** Shows on a terminal what the command waits for, until something is printed or drawn. */
  wait(what: string): void
  /** Ends `wait`, before something is drawn. */
  draws(): void
  /** Prints the object of `--json`. */
  json(value: unknown): void
  /** Colours for `say`. */
  readonly colors: Colors
  /** Colours for standard error. */
  readonly noteColors: Colors
  /** The width of what `say` prints on, in columns; Infinity if it is no terminal, where nothing wraps. */
  readonly columns: number
  /** Standard error, if it is a terminal where lines can be redrawn. */
  readonly live: WriteStream | undefined
}

/** Options of every command about what it prints. */
export interface OutputOptions {
  readonly json?: boolean | undefined
  /** Only results, warnings and errors. */
  readonly quiet?: boolean | undefined
  /** Details too. */
  readonly verbose?: boolean | undefined
}

export function openTerminal({ json = false, quiet = false, verbose = false }: OutputOptions = {}): Terminal {
  const answer = json ? process.stderr : process.stdout
  const colors = colorsFor(answer)
  const noteColors = colorsFor(process.stderr)
  const live = process.stderr.isTTY && process.env.TERM !== 'dumb' && !quiet ? process.stderr : undefined
  const waiting = live === undefined ? undefined : new Waiting(live, noteColors)
  let isMuted = quiet
  const warn = (line: string): void => {
    waiting?.end()
    process.stderr.write(`${shownLines(fitted(line, process.stderr), noteColors)}\n`)
  }
  const note = (line: string): void => {
    if (!quiet) warn(line)
  }
  return {
    say: (text = '') => {
      if (isMuted) return
      waiting?.end()
      answer.write(`${shownLines(fitted(text, answer), colors)}\n`)
    },
    results: () => {
      isMuted = false
    },
    note,
    warn,
    interrupted: (line) => {
      if (process.stderr.isTTY) process.stderr.write(eraseLine)
      warn(line)
    },
    detail: (line) => {
      if (verbose) note(noteColors.dim(line))
    },
    wait: (what) => waiting?.begin(what),
    draws: () => waiting?.end(),
    // JSON does not escape characters that reorder text.
    json: (value) => void process.stdout.write(`${escaped(JSON.stringify(value))}\n`),
    colors,
    noteColors,
    get columns() {
      return columnsOf(answer)
    },
    live,
  }
}

/** The width of a stream, in columns; Infinity if it is no terminal, where nothing wraps. */
function columnsOf({ isTTY, columns }: Partial<WriteStream>): number {
  return isTTY && columns ? columns : Number.POSITIVE_INFINITY
}

/** Lines that are too long are broken between words. */
function fitted(text: string, stream: Partial<WriteStream>): string {
  const columns = columnsOf(stream)
  return text
    .split('\n')
    .map((line) => wrapped(line, columns))
    .join('\n')
}

/** For Commander's `configureOutput`: its messages, which quote arguments, look like all others. */
export function writeUsageError(text: string, write: (text: string) => void): void {
  const colors = colorsFor(process.stderr)
  write(shownLines(text.replace(/^error:/, colors.red('weftgrad:')), colors))
}
