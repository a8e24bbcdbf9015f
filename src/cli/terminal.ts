/**
 * Routes the command's output. Results go to standard output; notes, the progress bar and errors go to standard error.
 * With `--json`, standard output carries one JSON object and nothing else, and all text goes to standard error. Colours
 * are for terminals only; NO_COLOR and FORCE_COLOR (https://no-color.org) override that. Text may come from files, so
 * nothing but line ends and our own colours reaches the terminal unescaped.
 */
import type { WriteStream } from 'node:tty'
import pc from 'picocolors'
import { escaped } from '../printable.ts'

export type Colors = ReturnType<typeof pc.createColors>

export interface Terminal {
  /** Prints lines of the result. */
  say(text?: string): void
  /** Prints a note to standard error. */
  note(line: string): void
  /** Prints the object of `--json`. */
  json(value: unknown): void
  /** Colours for `say`. */
  readonly colors: Colors
  /** Colours for standard error. */
  readonly noteColors: Colors
  /** Standard error, if it is a terminal where lines can be redrawn. */
  readonly live: WriteStream | undefined
}

export function openTerminal({ json = false }: { readonly json?: boolean | undefined } = {}): Terminal {
  const answer = json ? process.stderr : process.stdout
  return {
    say: (text = '') => void answer.write(`${shownLines(text, colorsFor(answer))}\n`),
    note: (line) => void process.stderr.write(`${shownLines(line, colorsFor(process.stderr))}\n`),
    // JSON does not escape characters that reorder text.
    json: (value) => void process.stdout.write(`${escaped(JSON.stringify(value))}\n`),
    colors: colorsFor(answer),
    noteColors: colorsFor(process.stderr),
    live: process.stderr.isTTY && process.env.TERM !== 'dumb' ? process.stderr : undefined,
  }
}

export function colorsFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Colors {
  if (env.NO_COLOR) return pc.createColors(false)
  if (env.FORCE_COLOR) return pc.createColors(env.FORCE_COLOR !== '0')
  return pc.createColors(stream.isTTY === true && env.TERM !== 'dumb')
}

const sequenceStart = '\u001b'
/** Sequences that switch bold, dim and our colours on and off; the group makes `split` keep them. */
const ownColors = new RegExp(`(${sequenceStart}\\[(?:1|2|22|31|32|33|36|39)m)`)

/** Escapes text for a stream with these colours. */
export function shownLines(text: string, { isColorSupported }: Colors): string {
  const line = (own: string): string =>
    isColorSupported
      ? own
          .split(ownColors)
          .map((part, i) => (i % 2 === 1 ? part : escaped(part)))
          .join('')
      : escaped(own)
  // No-break spaces are meant for HTML.
  return text.replaceAll('\u00a0', ' ').split('\n').map(line).join('\n')
}

/** For Commander's `configureOutput`: its messages, which quote arguments, look like all others. */
export function writeUsageError(text: string, write: (text: string) => void): void {
  const colors = colorsFor(process.stderr)
  write(shownLines(text.replace(/^error:/, colors.red('weftgrad:')), colors))
}
