/**
 * Keeps submissions short. Windows resets a GPU that works on one for two seconds, a screen stands still meanwhile, and a
 * stop takes effect between submissions only. Work is counted in operations, and the rate is learned from how long
 * submissions take.
 */

import type { Command } from './device.ts'

/** Aim for one submission. */
const submissionMs = 100
/** Aim for one dispatch. */
const dispatchMs = 50
/** A submission that took longer than this was cut too large. Browsers may report the end of one 100 ms late. */
const tooLongMs = 500
/** Shorter submissions say nothing: submitting and waiting take part of the time. */
const telling = 5
/**
 * Operations per ms before any was measured. GPU, a guess: 200 GFLOP/s, which integrated ones reach; at a twentieth of
 * it a submission is still within Windows' limit. CPU: 10 GFLOP/s, what lavapipe reaches on two cores.
 */
const firstRate = { cpu: 1e7, gpu: 2e8 } as const

/** Commands to encode into one submission. */
export interface Portion {
  readonly commands: readonly Command[]
  /** How many times in a row. */
  readonly repeats: number
  /** Operations. */
  readonly work: number
}

export class Pace {
  readonly #cutsDispatches: boolean
  #rate: number

  constructor(kind: 'cpu' | 'gpu') {
    // A CPU has no such limit, and its dispatches have just enough workgroups to fill the cores.
    this.#cutsDispatches = kind === 'gpu'
    this.#rate = firstRate[kind]
  }

  /** The most operations of one dispatch. */
  get mostPerDispatch(): number {
    return this.#cutsDispatches ? this.#rate * dispatchMs : Number.POSITIVE_INFINITY
  }

  /** Cuts commands that run `repeats` times in a row into portions. A single command is never cut. */
  *portions(commands: readonly Command[], repeats: number): Generator<Portion> {
    const most = this.#rate * submissionMs
    const round = commands.reduce((sum, { work }) => sum + work, 0)
    const roundsAtOnce = Math.max(1, Math.floor(most / Math.max(1, round)))
    if (round <= most) {
      for (let done = 0; done < repeats; done += roundsAtOnce) {
        const rounds = Math.min(roundsAtOnce, repeats - done)
        yield { commands, repeats: rounds, work: rounds * round }
      }
      return
    }
    for (let done = 0; done < repeats; done++) {
      let first = 0
      let work = 0
      for (const [i, command] of commands.entries()) {
        if (i > first && work + command.work > most) {
          yield { commands: commands.slice(first, i), repeats: 1, work }
          first = i
          work = 0
        }
        work += command.work
      }
      yield { commands: commands.slice(first), repeats: 1, work }
    }
  }

  /** Whether this work takes no longer than a submission should. */
  isShort(work: number): boolean {
    return work <= (this.#rate * submissionMs) / 2
  }

  /** Learns from a portion that took this long. */
  learn(work: number, milliseconds: number): void {
    const rate = work / milliseconds
    const isTelling = milliseconds >= telling && rate > this.#rate
    if (isTelling || milliseconds > tooLongMs) this.#rate = rate
  }
}
