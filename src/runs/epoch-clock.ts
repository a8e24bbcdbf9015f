/** How much of a job of many trainings is done, in epochs, and how long the rest takes at the rate of this process. */
import type { Progress } from '../nn/contract.ts'

export interface EpochProgress {
  /** Epochs trained, with fractions, those of earlier processes included. */
  readonly done: number
  readonly total: number
  /** NaN until there is a rate. */
  readonly etaSeconds: number
}

export class EpochClock {
  readonly #total: number
  readonly #now: () => number
  /** Epochs by training. */
  readonly #reached = new Map<string | number, number>()
  #worked = 0
  #began: number | undefined

  /** `now` gives milliseconds; tests have their own. */
  constructor(total: number, now: () => number = () => performance.now()) {
    this.#total = total
    this.#now = now
  }

  /** A training has reached this many epochs. What it has at the first call was trained before. */
  reach(training: string | number, epochs: number): void {
    const before = this.#reached.get(training)
    this.#began ??= this.#now()
    // Steps that are reported twice, as around an epoch's end, do not count back.
    if (before !== undefined) this.#worked += Math.max(0, epochs - before)
    this.#reached.set(training, Math.max(before ?? 0, epochs))
  }

  /** As `reach`, from what `fit` tells. */
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
