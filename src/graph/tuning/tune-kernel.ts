/** Tunes one kernel: tries each candidate, rules out what is wrong or much slower, and compares the rest. */

import { WeftgradError } from '../../errors.ts'
import type { Command, Device } from '../../gpu/device.ts'
import type { KernelTask } from '../plan/choice.ts'
import { pieceOf, TaskBench } from './bench.ts'
import { baseOf, candidatesOf } from './candidates.ts'
import type { Clock } from './clock.ts'
import { contenders, Series, winnerOf } from './comparison.ts'

/** Rounds per series of samples. Each round measures all candidates in turn, so a slower device affects all of them. */
const usualRounds = 5
const fewestRounds = 3
/** Rounds after which what is left counts as equal. */
const mostRounds = 50
/** Time after which no more series begin: long runs vary less, and other kernels are waiting. */
const longestSamplingMs = 250
/** Samples that are submitted together, in ms of device time: a stop takes effect between. */
const batchMs = 100
/** Enough to fill a sample with a kernel of 5 us. */
const mostRepeats = 1024
/** A run this many times as long as the clock's resolution is measured well enough to derive `repeats` from. */
const readable = 10
/** A candidate that takes this many times as long as the best one is not measured further ... */
const hopeless = 10
/**
 * ... if that run took longer than this, or another run is as slow: a thread that waits for a core can lose this much.
 */
const hiccupMs = 50
/** A candidate that would take longer than twice the best one, and this, does not run as a whole. */
const affordableMs = 50
/**
 * CPU: the longest compilation. A driver on the CPU compiles at every start, for the first time, and no kernel of a step
 * saves more time than this. A GPU's driver keeps what it compiled, and its compiler takes no time of the device.
 */
const longestCompileMs = 1000

/** The measurement of one variant. */
export interface CandidateResult {
  /** Its name in the family. */
  readonly variant: string
  /**
   * Time of one run, on the device: the mean of the faster half of its samples, or a single run, or an estimate, if it
   * was given up. Undefined if it was not run.
   */
  readonly milliseconds?: number
  /** The reason it was ruled out. */
  readonly problem?: string
}

/** The tuning result of one kernel. */
export interface TunedKernel {
  /** The kernel. */
  readonly task: KernelTask
  /** The variant to use. */
  readonly chosen: string
  /** The measured variants. */
  readonly candidates: readonly CandidateResult[]
}

interface Entrant {
  readonly variant: string
  readonly commands: readonly Command[]
  readonly series: Series
  /** Runs per sample. */
  repeats: number
  /** Time of a run in ms, about. */
  milliseconds: number
}

/** Tunes one kernel; undefined if the budget was spent before a winner was found. */
export async function tuneKernel(
  device: Device,
  clock: Clock,
  task: KernelTask,
  isSpent: () => boolean,
): Promise<TunedKernel | undefined> {
  const { names, reference, finer } = candidatesOf(task, device)
  if (names.length + finer.length < 2) return { task, chosen: task.preferred, candidates: [] }
  let trials: Trials | undefined
  try {
    trials = new Trials(device, clock, task)
    for (const variant of names) {
      if (isSpent()) return undefined
      await trials.open(variant, variant === reference)
    }
    const field = await trials.ready()
    if (!(await sample(field, clock, isSpent))) return undefined
    let chosen = winnerOf(seriesOf(field), task.preferred)
    const measured = [...names]
    const base = field.find(({ variant }) => variant === chosen)
    const refined = finer.filter((variant) => baseOf(variant) === chosen)
    if (base !== undefined && refined.length > 0 && !isSpent()) {
      for (const variant of refined) if (!isSpent()) await trials.open(variant, false)
      const finals = (await trials.ready()).filter(({ variant }) => variant === chosen || refined.includes(variant))
      measured.push(...refined)
      if (await sample(finals, clock, isSpent)) chosen = winnerOf(seriesOf(finals), chosen)
    }
    return { task, chosen, candidates: trials.reported(measured) }
  } catch (error) {
    if (!device.usable) throw error
    return { task, chosen: task.preferred, candidates: [{ variant: task.preferred, problem: textOf(error) }] }
  } finally {
    trials?.dispose()
  }
}

const seriesOf = (entrants: readonly Entrant[]): Series[] => entrants.map(({ series }) => series)

/** The candidates of one kernel: those that can be sampled, and what is wrong with the others. */
class Trials {
  readonly #device: Device
  readonly #clock: Clock
  readonly #task: KernelTask
  readonly #bench: TaskBench
  readonly #entrants: Entrant[] = []
  readonly #problems = new Map<string, CandidateResult>()
  /** The results of the reference variant, or of the preferred one until then. */
  #expected: readonly ArrayBuffer[] | undefined

  constructor(device: Device, clock: Clock, task: KernelTask) {
    this.#device = device
    this.#clock = clock
    this.#task = task
    this.#bench = new TaskBench(device, task)
  }

  get #best(): number {
    return Math.min(...this.#entrants.map(({ milliseconds }) => milliseconds))
  }

  /** Compiles and runs a variant for the first times, and checks its results. */
  async open(variant: string, isReference: boolean): Promise<void> {
    const isPreferred = variant === this.#task.preferred
    try {
      const began = performance.now()
      const commands = await this.#bench.bind(variant)
      const estimate = await this.#estimated(commands)
      const limit = 2 * this.#best + affordableMs
      if (!isPreferred && estimate !== undefined && estimate > limit) {
        this.#refuse({ variant, milliseconds: estimate, problem: 'is much slower' })
        return
      }
      const run = { commands, repeats: 1 }
      // The first run is slower than others. If it takes long, the estimate has prepared for it.
      const timing = this.#clock.times(estimate !== undefined && estimate > affordableMs ? [run] : [run, run])
      // Read after the first run, which is submitted by now, to wait once for both.
      const [times, results] = await Promise.all([timing, this.#bench.results()])
      const milliseconds = times.at(-1) ?? 0
      const compileMs = performance.now() - began - milliseconds * times.length
      if (this.#device.facts.class === 'cpu' && !isPreferred && compileMs > longestCompileMs) {
        this.#refuse({ variant, problem: `took ${Math.round(compileMs)} ms to compile` })
        return
      }
      if (this.#isRight(variant, isReference, results))
        this.#entrants.push({ variant, commands, series: new Series(variant), repeats: 1, milliseconds })
    } catch (error) {
      if (!this.#device.usable) throw error
      this.#refuse({ variant, problem: textOf(error) })
    }
  }

  #refuse(problem: CandidateResult): void {
    this.#problems.set(problem.variant, problem)
  }

  /** Time of a run in ms, from a part of its workgroups; undefined for one that is short anyway, or on a CPU. */
  async #estimated(commands: readonly Command[]): Promise<number | undefined> {
    // A CPU's dispatches have few workgroups: a part of them says little about all.
    if (this.#device.facts.class === 'cpu') return undefined
    const piece = pieceOf(commands)
    if (piece === undefined) return undefined
    const run = { commands: [piece.command], repeats: 1 }
    const [, milliseconds = 0] = await this.#clock.times([run, run])
    return milliseconds / piece.share
  }

  /** Compares the variant that ran last with the reference variant, or the preferred one. */
  #isRight(variant: string, isReference: boolean, results: readonly ArrayBuffer[]): boolean {
    const expected = this.#expected
    if (isReference || (expected === undefined && variant === this.#task.preferred)) this.#expected = results
    if (expected === undefined) {
      if (this.#expected !== undefined) return true
      this.#refuse({ variant, problem: 'has nothing to be compared with' })
      return false
    }
    const difference = isReference
      ? this.#bench.difference(expected, results)
      : this.#bench.difference(results, expected)
    if (difference === undefined) return true
    // Against the reference, the preferred variant is the one that is wrong.
    const wrong = isReference ? this.#task.preferred : variant
    this.#refuse({ variant: wrong, problem: `is wrong: ${difference}` })
    if (isReference) this.#entrants.length = 0
    return isReference
  }

  /** Those that are worth sampling, ready for it. */
  async ready(): Promise<readonly Entrant[]> {
    // A best time of 0, below the clock's resolution, would make all others hopeless.
    const limit = hopeless * Math.max(this.#best, this.#clock.resolutionMs)
    for (const entrant of [...this.#entrants]) {
      const { variant, commands } = entrant
      if (entrant.milliseconds > limit && entrant.milliseconds <= hiccupMs) {
        const again = await this.#clock.time({ commands, repeats: 1 })
        entrant.milliseconds = Math.min(entrant.milliseconds, again)
      }
      if (entrant.milliseconds <= limit) continue
      this.#refuse({ variant, milliseconds: entrant.milliseconds, problem: 'is much slower' })
      this.#entrants.splice(this.#entrants.indexOf(entrant), 1)
    }
    await this.#calibrate()
    return this.#entrants
  }

  /** Finds out how many runs make a sample: measures more and more of them, until the clock can tell how long they take. */
  async #calibrate(): Promise<void> {
    const { sampleMs, resolutionMs } = this.#clock
    let short = this.#entrants.filter(({ series }) => series.length === 0)
    for (let repeats = 1; short.length > 0; repeats = Math.min(mostRepeats, repeats * 16)) {
      if (repeats > 1) {
        const times = await this.#clock.times(short.map(({ commands }) => ({ commands, repeats })))
        short.forEach((entrant, i) => {
          entrant.milliseconds = (times[i] ?? 0) / repeats
        })
      }
      for (const entrant of short)
        entrant.repeats = Math.max(1, Math.min(mostRepeats, Math.ceil(sampleMs / entrant.milliseconds)))
      if (repeats === mostRepeats) break
      short = short.filter(({ milliseconds }) => milliseconds * repeats < readable * resolutionMs)
    }
    if (short.some(({ milliseconds }) => milliseconds <= 0))
      throw new WeftgradError('limit', "The device's clock stands still.")
  }

  reported(names: readonly string[]): CandidateResult[] {
    return names.flatMap((variant): CandidateResult[] => {
      const series = this.#entrants.find((one) => one.variant === variant)?.series
      if (series !== undefined) return [{ variant, milliseconds: series.milliseconds }]
      const problem = this.#problems.get(variant)
      return problem === undefined ? [] : [problem]
    })
  }

  dispose(): void {
    this.#bench.dispose()
  }
}

/** Samples until it is decided which are equal to the fastest. False if the budget was spent before enough rounds. */
async function sample(entrants: readonly Entrant[], clock: Clock, isSpent: () => boolean): Promise<boolean> {
  const began = performance.now()
  const msOf = ({ milliseconds, repeats }: Entrant): number => milliseconds * repeats
  const roundMs = entrants.reduce((sum, entrant) => sum + msOf(entrant), 0)
  let left = entrants
  let rounds = roundMs * usualRounds > longestSamplingMs ? fewestRounds : usualRounds
  for (let done = 0; done < mostRounds; rounds = usualRounds) {
    const turns = Array.from({ length: rounds }, () => left).flat()
    for (const batch of batches(turns, msOf)) {
      if (isSpent()) return done > 0
      const times = await clock.times(batch)
      batch.forEach(({ series, repeats }, i) => {
        series.add([(times[i] ?? Number.NaN) / repeats])
      })
    }
    done += rounds
    const { left: close, isDecided } = contenders(seriesOf(left))
    if (isDecided || performance.now() - began > longestSamplingMs) return true
    left = left.filter(({ series }) => close.includes(series))
  }
  return true
}

/** Cuts a list into pieces of about 100 ms each. */
function* batches(turns: readonly Entrant[], msOf: (one: Entrant) => number): Generator<readonly Entrant[]> {
  let batch: Entrant[] = []
  let total = 0
  for (const turn of turns) {
    if (batch.length > 0 && total + msOf(turn) > batchMs) {
      yield batch
      batch = []
      total = 0
    }
    batch.push(turn)
    total += msOf(turn)
  }
  if (batch.length > 0) yield batch
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
