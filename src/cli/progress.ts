/**
 * Training progress on standard error: a bar that is drawn again in place on a terminal, elsewhere a plain line now and
 * then.
 */
import { SingleBar } from 'cli-progress'
import type { Progress } from '../nn/contract.ts'
import { clock, grouped, percent, type Terminal } from './terminal.ts'

/** Between plain lines, in ms. */
const plainLineMs = 10_000

export class ProgressLine {
  readonly #terminal: Terminal
  #bar: SingleBar | undefined
  #lastPlain = performance.now()
  #closed = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  update(progress: Progress): void {
    if (this.#closed) return
    const { live } = this.#terminal
    if (live === undefined) {
      this.#plain(progress)
      return
    }
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        stream: live,
        format: (_options, { progress: share }, payload: Progress) => this.#draw(live.columns, share, payload),
        fps: 10,
        clearOnComplete: true,
        hideCursor: true,
        gracefulExit: false, // src/cli/interrupt.ts has the signals
        forceRedraw: true,
      })
      this.#bar.start(progress.steps, progress.step, progress)
    }
    this.#bar.setTotal(progress.steps)
    this.#bar.update(progress.step, progress)
  }

  /** Takes the bar away and gives the cursor back, so that lines can be printed. */
  clear(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }

  /** Clears, and draws no more. */
  close(): void {
    this.clear()
    this.#closed = true
  }

  #plain(progress: Progress): void {
    const now = performance.now()
    if (now - this.#lastPlain < plainLineMs) return
    this.#lastPlain = now
    const where = `epoch ${progress.epoch}/${progress.epochs}, step ${progress.step}/${progress.steps}`
    this.#terminal.note(this.#terminal.noteColors.dim(`${where}, ${measures(progress).join(', ')}`))
  }

  #draw(columns: number, share: number, progress: Progress): string {
    const { cyan, dim } = this.#terminal.noteColors
    const epoch = `${String(progress.epoch).padStart(String(progress.epochs).length)}/${progress.epochs}`
    const step = `${String(progress.step).padStart(String(progress.steps).length)}/${progress.steps}`
    const told = measures(progress)
    // Narrow terminals: the last measures go first, then the bar gets shorter.
    const room = (): number => columns - 1 - `  ${epoch}    ${step}  ${told.join('  ')}`.length
    while (told.length > 1 && room() < 12) told.pop()
    const cells = Math.min(32, Math.max(0, room()))
    const done = Math.round(cells * share)
    const bar = cyan('━'.repeat(done)) + dim('─'.repeat(cells - done))
    return `  ${epoch}  ${bar}  ${step}  ${dim(told.join('  '))}`
  }
}

function measures({ imagesPerSecond, etaSeconds, loss, accuracy }: Progress): string[] {
  const told = [`${grouped(imagesPerSecond)} images/s`, `${clock(etaSeconds)} left`]
  if (loss !== undefined) told.push(`loss ${loss.toFixed(4)}`)
  if (accuracy !== undefined) told.push(`accuracy ${percent(accuracy, 1)}`)
  return told
}
