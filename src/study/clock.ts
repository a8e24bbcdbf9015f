/** How long the parts of a study take: estimated beforehand, corrected by what they really took. */
import { type StudyPart, studyParts } from '../report/parts.ts'

/** Seconds by part. */
export type StudyEstimate = Readonly<Partial<Record<StudyPart, number>>>

export interface StudyProgress {
  readonly part: StudyPart
  /** Of the part, in [0, 1]. */
  readonly partShare: number
  /** Of the whole study. */
  readonly share: number
  /** To the end of the study. */
  readonly etaSeconds: number
}

export function totalSeconds(estimate: StudyEstimate): number {
  return studyParts.reduce((sum, part) => sum + (estimate[part] ?? 0), 0)
}

export class StudyClock {
  readonly #estimate: StudyEstimate
  readonly #now: () => number
  /** Estimated seconds of what is done, and what that took here. */
  #estimated = 0
  #taken = 0
  #began: number

  /** @param estimate of the parts that are left. `now` gives milliseconds; tests have their own. */
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

  /** A part is over. */
  end(part: StudyPart): void {
    this.#estimated += this.#estimate[part] ?? 0
    this.#taken += (this.#now() - this.#began) / 1000
  }

  /** Seconds that an estimated second takes. A tenth of the study says more than what was measured beforehand. */
  #pace(own: number): number {
    const estimated = this.#estimated + own
    if (estimated === 0 || estimated < totalSeconds(this.#estimate) / 10) return 1
    return (this.#taken + (this.#now() - this.#began) / 1000) / estimated
  }
}
