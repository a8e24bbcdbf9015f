/** Estimates the time of a study's parts, and corrects the estimate by what finished parts took. */
import type { StudyPart } from '../report/parts.ts'

/** Estimated seconds by part. */
export type StudyEstimate = Readonly<Partial<Record<StudyPart, number>>>

export interface StudyProgress {
  readonly part: StudyPart
  /** Share of the part that is done, in [0, 1]. */
  readonly partShare: number
  /** Share of the whole study that is done. */
  readonly share: number
  /** Remaining seconds of the study. */
  readonly etaSeconds: number
}

export function totalSeconds(estimate: StudyEstimate): number {
  return Object.values(estimate).reduce((sum, seconds) => sum + seconds, 0)
}

export class StudyClock {
  readonly #estimate: StudyEstimate
  readonly #now: () => number
  /** Estimated seconds of the finished work, and the actual ones. */
  #estimated = 0
  #taken = 0
  #began: number

  /** @param estimate of the remaining parts. `now` returns milliseconds; tests pass their own. */
  constructor(estimate: StudyEstimate, now: () => number = () => performance.now()) {
    this.#estimate = estimate
    this.#now = now
    this.#began = now()
  }

  begin(): void {
    this.#began = this.#now()
  }

  progress(part: StudyPart, partShare: number): StudyProgress {
    const total = totalSeconds(this.#estimate)
    const own = (this.#estimate[part] ?? 0) * partShare
    const done = Math.min(total, this.#estimated + own)
    const share = total > 0 ? done / total : 0
    return { part, partShare, share, etaSeconds: (total - done) * this.#pace(own) }
  }

  /** Records the end of a part. */
  end(part: StudyPart): void {
    this.#estimated += this.#estimate[part] ?? 0
    this.#taken += (this.#now() - this.#began) / 1000
  }

  /**
   * Actual seconds per estimated second. After a tenth of the study, this is more reliable than the measurement at the
   * start.
   */
  #pace(own: number): number {
    const estimated = this.#estimated + own
    if (estimated === 0 || estimated < totalSeconds(this.#estimate) / 10) return 1
    return (this.#taken + (this.#now() - this.#began) / 1000) / estimated
  }
}
