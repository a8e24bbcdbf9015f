/**
 * The time of a device that computes nothing: how long its dispatches take, when the host is told that they are done,
 * and what its timestamps say. Time passes only by what host and device do, so a test's results never depend on the
 * machine that runs it. For `performance.now()` to follow it, see `useClock`.
 */

import { afterEach, beforeEach, vi } from 'vitest'
import type { RecordedDispatch } from './recording-gpu.ts'

export interface SimulatedTimes {
  /** Milliseconds of one dispatch. */
  readonly dispatchMs: (dispatch: RecordedDispatch) => number
  /** Milliseconds to compile a shader text; 0 by default. */
  readonly compileMs?: (wgsl: string) => number
  /** The host is told that work is done at the next multiple of this; at once by default. */
  readonly pollMs?: number
  /** Timestamps are rounded down to multiples of this. */
  readonly timestampMs?: number
  /** A pass takes this many times as long as its dispatches: disturbances from outside. */
  readonly disturbance?: () => number
}

/** Milliseconds that the host needs for a submission. */
const submissionMs = 0.02

export class SimulatedClock {
  readonly #times: SimulatedTimes
  /** The host's time in milliseconds. */
  now = 0
  /** When the device has finished all it was given. */
  #idleAt = 0
  /** Milliseconds that the device worked. */
  busyMs = 0

  constructor(times: SimulatedTimes) {
    this.#times = times
  }

  compile(wgsl: string): void {
    this.now += this.#times.compileMs?.(wgsl) ?? 0
  }

  submit(): void {
    this.now += submissionMs
  }

  /** Runs a pass after all earlier ones. Returns its timestamps in nanoseconds. */
  run(dispatches: readonly RecordedDispatch[]): { readonly begin: bigint; readonly end: bigint } {
    const { dispatchMs, timestampMs = 1e-6, disturbance = () => 1 } = this.#times
    const begin = Math.max(this.now, this.#idleAt)
    const took = dispatches.reduce((sum, dispatch) => sum + dispatchMs(dispatch), 0) * disturbance()
    this.#idleAt = begin + took
    this.busyMs += took
    const stamp = (ms: number): bigint => BigInt(Math.round(Math.floor(ms / timestampMs) * timestampMs * 1e6))
    return { begin: stamp(begin), end: stamp(this.#idleAt) }
  }

  /** Resolves when the host is told that the device is idle. */
  async done(): Promise<undefined> {
    const { pollMs = 0 } = this.#times
    const until = Math.max(this.now, this.#idleAt)
    const told = pollMs === 0 ? until : (Math.floor(until / pollMs) + 1) * pollMs
    await Promise.resolve()
    this.now = Math.max(this.now, told)
    return undefined
  }
}

/** Lets `performance.now()` follow the clock that the returned function is given, in every test of the suite. */
export function useClock(): (times: SimulatedTimes) => SimulatedClock {
  let clock = new SimulatedClock({ dispatchMs: () => 0 })
  beforeEach(() => {
    vi.spyOn(performance, 'now').mockImplementation(() => clock.now)
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })
  return (times) => {
    clock = new SimulatedClock(times)
    return clock
  }
}
