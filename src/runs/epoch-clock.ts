/** Progress of a job with many trainings in epochs, and the remaining time at this process's rate. */
import type { Progress } from '../nn/contract.ts'

export interface EpochProgress {
  /** Epochs trained, with fractions, including those of earlier processes. */
  readonly done: number
  readonly total: number
  /** Remaining time; NaN until the rate is known. */
  readonly etaSeconds: number
}

export class EpochClock {
  readonly #total: number
  readonly #now: () => number
  /** Epochs of each training. */
  readonly #reached = new Map<string | number, number>()
  #worked = 0
  /** When the first work was done, which includes compiling: the rate is that of what follows. */
  #began: number | undefined

  /** Starts the clock. `now` returns milliseconds; tests pass their own. */
  constructor(total: number, now: () => number = () => performance.now()) {
    this.#total = total
    this.#now = now
  }

  /**
   * Records that a training has reached this many epochs. The first call for a training sets what was trained before.
   */
  reach(training: string | number, epochs: number): void {
    const before = this.#reached.get(training)
    // A step may be reported twice around an epoch's end; progress never goes back.
    const worked = before === undefined ? 0 : Math.max(0, epochs - before)
    if (this.#began !== undefined) this.#worked += worked
    else if (worked > 0) this.#began = this.#now()
    this.#reached.set(training, Math.max(before ?? 0, epochs))
  }

  /** Calls `reach` with the progress that `fit` reports. */
  report(training: string | number, { epoch, step, steps }: Progress): void {
    if (!this.#reached.has(training)) this.reach(training, epoch - 1)
    this.reach(training, epoch - 1 + step / steps)
  }

  get progress(): EpochProgress {
    const done = [...this.#reached.values()].reduce((sum, epochs) => sum + epochs, 0)
    const seconds = (this.#now() - (this.#began ?? this.#now())) / 1000
    const etaSeconds = this.#worked > 0 ? (seconds * (this.#total - done)) / this.#worked : Number.NaN
    return { done, total: this.#total, etaSeconds }
  }
}
