/** Lines at the end of a terminal's standard error that are drawn again in place. Does nothing where there is no terminal. */
import { shownLines, type Terminal } from './terminal.ts'

/** Between two drawings, in ms: faster than this nobody reads. */
const leastMs = 100

const hideCursor = '\u001b[?25l'
const showCursor = '\u001b[?25h'
/** Without wrapping, a line is a line, however narrow the terminal. */
const wrapOff = '\u001b[?7l'
const wrapOn = '\u001b[?7h'
const eraseAbove = (lines: number): string => (lines > 0 ? `\u001b[${lines}A\r\u001b[J` : '')

export class LiveBlock {
  readonly #live: Terminal['live']
  readonly #colors: Terminal['noteColors']
  #drawn = 0
  #lastMs = Number.NEGATIVE_INFINITY
  #closed = false

  constructor({ live, noteColors }: Terminal) {
    this.#live = live
    this.#colors = noteColors
  }

  get isLive(): boolean {
    return this.#live !== undefined && !this.#closed
  }

  /** Replaces the lines. Where the terminal has fewer, the last ones are shown. Often called, it draws now and then. */
  show(lines: () => readonly string[]): void {
    if (this.#live === undefined || this.#closed || performance.now() - this.#lastMs < leastMs) return
    this.#lastMs = performance.now()
    const shown = lines()
      .slice(-Math.max(1, this.#live.rows - 1))
      .map((line) => shownLines(line, this.#colors))
    this.#live.write(`${hideCursor}${eraseAbove(this.#drawn)}${wrapOff}${shown.join('\n')}\n${wrapOn}`)
    this.#drawn = shown.length
  }

  /** Takes the lines away and gives the cursor back, so that others can be printed. */
  clear(): void {
    if (this.#drawn > 0) this.#live?.write(`${eraseAbove(this.#drawn)}${showCursor}`)
    this.#drawn = 0
    this.#lastMs = Number.NEGATIVE_INFINITY
  }

  /** Clears, and draws no more. */
  close(): void {
    this.clear()
    this.#closed = true
  }
}
