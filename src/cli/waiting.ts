/**
 * What a command waits for, on the terminal's last line: a bar without a measure and the seconds so far. It appears only
 * if the wait is not over at once.
 */
import { clock } from '../numbers.ts'
import { type Colors, shownLines } from './shown.ts'

/** Shorter waits are not worth a line. */
const patienceMs = 300
const redrawMs = 100
const cells = 24
const movingCells = 6

const hideCursor = '\u001b[?25l'
const showCursor = '\u001b[?25h'
export const eraseLine = '\r\u001b[2K'

export class Waiting {
  readonly #live: NodeJS.WritableStream
  readonly #colors: Colors
  #timer: NodeJS.Timeout | undefined
  #isShown = false

  constructor(live: NodeJS.WritableStream, colors: Colors) {
    this.#live = live
    this.#colors = colors
  }

  /** @param what such as 'Compiling 24 kernels'. */
  begin(what: string): void {
    this.end()
    const started = performance.now()
    this.#timer = setInterval(() => {
      const waited = performance.now() - started
      if (waited < patienceMs) return
      const line = `  ${what}  ${this.#bar(waited)}  ${this.#colors.dim(clock(waited / 1000))}`
      this.#live.write(`${this.#isShown ? '' : hideCursor}${eraseLine}${shownLines(line, this.#colors)}`)
      this.#isShown = true
    }, redrawMs)
    this.#timer.unref()
  }

  /** Removes the line. */
  end(): void {
    clearInterval(this.#timer)
    if (this.#isShown) this.#live.write(`${eraseLine}${showCursor}`)
    this.#isShown = false
  }

  /** A piece that goes back and forth. */
  #bar(waitedMs: number): string {
    const { cyan, dim } = this.#colors
    const way = cells - movingCells
    const place = Math.floor(waitedMs / redrawMs) % (2 * way)
    const before = place < way ? place : 2 * way - place
    return dim('─'.repeat(before)) + cyan('━'.repeat(movingCells)) + dim('─'.repeat(way - before))
  }
}
