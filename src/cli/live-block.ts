/** Lines at the end of a terminal's standard error that are redrawn in place. Does nothing without a terminal. */
import { type Colors, shownLines } from './shown.ts'
import type { Terminal } from './terminal.ts'

/** Least time between two drawings, in ms: nobody reads faster. */
const leastMs = 100

const hideCursor = '\u001b[?25l'
const showCursor = '\u001b[?25h'
/** Turns wrapping off, so that each line takes one row even on a narrow terminal. */
const wrapOff = '\u001b[?7l'
const wrapOn = '\u001b[?7h'
const eraseAbove = (lines: number): string => (lines > 0 ? `\u001b[${lines}A\r\u001b[J` : '')

export class LiveBlock {
  readonly #terminal: Terminal
  readonly #live: Terminal['live']
  readonly #colors: Colors
  #drawn = 0
  #lastMs = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#live = terminal.live
    this.#colors = terminal.noteColors
  }

  get isLive(): boolean {
    return this.#live !== undefined && !this.#closed
  }

  /**
   * Replaces the lines. On a shorter terminal, shows the last ones. Limits how often it draws, so it may be called
   * often.
   */
  show(lines: () => readonly string[]): void {
    if (this.#live === undefined || this.#closed || performance.now() - this.#lastMs < leastMs) return
    this.#lastMs = performance.now()
    this.#terminal.draws()
    const shown = lines()
      .slice(-Math.max(1, this.#live.rows - 1))
      .map((line) => shownLines(line, this.#colors))
    this.#live.write(`${hideCursor}${eraseAbove(this.#drawn)}${wrapOff}${shown.join('\n')}\n${wrapOn}`)
    this.#drawn = shown.length
  }

  /** Removes the lines and shows the cursor again, so that others can be printed. */
  clear(): void {
    if (this.#drawn > 0) this.#live?.write(`${eraseAbove(this.#drawn)}${showCursor}`)
    this.#drawn = 0
    this.#lastMs = Number.NEGATIVE_INFINITY
  }

  /** Clears the lines for good. */
  close(): void {
    this.clear()
    this.#closed = true
  }
}
