/**
 * Shows progress on standard error: a bar that is redrawn in place on a terminal, an occasional plain line elsewhere.
 */

import { SingleBar } from 'cli-progress'
import { megabytes, timeLeft } from '../numbers.ts'
import { shownLines } from './shown.ts'
import type { Terminal } from './terminal.ts'

/** Time between plain lines, in ms: a log of a training has its epochs, and little else. */
const plainLineMs = 60 * 1000

export interface BarState {
  /** The share that is done, in [0, 1]; undefined if unknown, which hides the bar. */
  readonly share: number | undefined
  readonly before: string
  readonly after: string
  /** Figures beside the bar, the most important first. */
  readonly told: readonly string[]
  /** Figures for a plain line. */
  readonly plain: string
}

export class BarLine {
  readonly #terminal: Terminal
  #bar: SingleBar | undefined
  #lastPlain = performance.now()
  #closed = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  show(state: BarState): void {
    if (this.#closed) return
    this.#terminal.draws()
    const { live } = this.#terminal
    if (live === undefined) {
      this.#plain(state)
      return
    }
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        stream: live,
        format: (_options, _params, payload: BarState) => this.#draw(live.columns, payload),
        fps: 10,
        clearOnComplete: true,
        hideCursor: true,
        gracefulExit: false, // src/cli/interrupt.ts handles the signals
        forceRedraw: true,
      })
      this.#bar.start(1, state.share ?? 0, state)
    }
    this.#bar.update(state.share ?? 0, state)
  }

  /** Removes the bar and shows the cursor again, so that lines can be printed. */
  clear(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }

  /** Clears the bar for good. */
  close(): void {
    this.clear()
    this.#closed = true
  }

  #plain({ plain }: BarState): void {
    const now = performance.now()
    if (now - this.#lastPlain < plainLineMs) return
    this.#lastPlain = now
    this.#terminal.note(this.#terminal.noteColors.dim(plain))
  }

  #draw(columns: number, state: BarState): string {
    const { cyan, dim } = this.#terminal.noteColors
    const { share, before, after } = state
    const told = [...state.told]
    // Narrow terminals: the last figures go first, then the bar gets shorter.
    const room = (): number => columns - 1 - `  ${before}    ${after}  ${told.join('  ')}`.length
    while (told.length > 1 && room() < 12) told.pop()
    const cells = share === undefined ? 0 : Math.min(32, Math.max(0, room()))
    const done = Math.round(cells * (share ?? 0))
    const bar = cyan('━'.repeat(done)) + dim('─'.repeat(cells - done))
    return shownLines(`  ${before}  ${bar}  ${after}  ${dim(told.join('  '))}`, this.#terminal.noteColors)
  }
}

/** A bar for bytes, with rate and remaining time. */
export class BytesBar {
  readonly #bar: BarLine
  readonly #title: string
  #start: { readonly bytes: number; readonly ms: number } | undefined

  /** @param title what is transferred. */
  constructor(terminal: Terminal, title: string) {
    this.#bar = new BarLine(terminal)
    this.#title = title
  }

  update(bytes: number, totalBytes: number | undefined): void {
    const now = performance.now()
    this.#start ??= { bytes, ms: now }
    const perSecond = (1000 * (bytes - this.#start.bytes)) / (now - this.#start.ms)
    const left = totalBytes === undefined ? Number.NaN : (totalBytes - bytes) / perSecond
    const after = totalBytes === undefined ? megabytes(bytes) : `${megabytes(bytes)} of ${megabytes(totalBytes)}`
    const isMoving = perSecond > 0 && Number.isFinite(perSecond)
    const told = isMoving ? [`${megabytes(perSecond)}/s`, ...timeLeft(left)] : []
    this.#bar.show({
      share: totalBytes === undefined ? undefined : bytes / totalBytes,
      before: this.#title,
      after,
      told,
      plain: `${this.#title}: ${[after, ...told].join(', ')}`,
    })
  }

  close(): void {
    this.#bar.close()
  }
}
