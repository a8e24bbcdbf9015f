/**
 * Measures how long a device works on a kernel: by its own timestamps if it has them, else by wall-clock time without
 * the time that submitting and waiting take.
 */

import type { Device, Run } from '../../gpu/device.ts'

/**
 * The shortest sample in ms. Browsers round timestamps to 0.07 or 0.1 ms and the wall clock to 0.1 ms: 2 % of this.
 */
const shortestSampleMs = 5
/** Without timestamps, a sample takes this many times as long as an empty submission: its own wait varies as much. */
const samplesPerWait = 10
/** The longest empty submission with which tuning by wall-clock time gets anywhere: samples then take 50 ms. */
const longestWaitMs = 5
/** Empty submissions to measure; the middle one counts. */
const emptySubmissions = 3

export class Clock {
  /** Aim for the device's time in one sample, in ms. */
  readonly sampleMs: number
  /** Why measuring makes no sense, in a sentence. */
  readonly problem: string | undefined
  /** How closely it measures one short run, in ms: browsers round to this much. */
  readonly resolutionMs = 0.1
  readonly #device: Device
  /** Time of an empty submission in ms. */
  readonly #emptyMs: number

  private constructor(device: Device, emptyMs: number) {
    this.#device = device
    this.#emptyMs = emptyMs
    this.sampleMs = Math.max(shortestSampleMs, samplesPerWait * emptyMs)
    if (emptyMs > longestWaitMs)
      this.problem = `The device has no timestamps, and reports finished work ${Math.round(emptyMs)} ms late.`
  }

  static async of(device: Device): Promise<Clock> {
    if (device.timestamps) return new Clock(device, 0)
    const times: number[] = []
    for (let i = 0; i < emptySubmissions; i++) times.push(await wallTime(device, { commands: [], repeats: 1 }))
    return new Clock(device, times.sort((a, b) => a - b)[emptySubmissions >> 1] ?? 0)
  }

  /** Runs each of `runs` after the other, and returns the milliseconds that the device took for each. */
  async times(runs: readonly Run[]): Promise<number[]> {
    if (this.#device.timestamps) return this.#device.timeRuns(runs)
    const times: number[] = []
    for (const run of runs) times.push(Math.max(0, (await wallTime(this.#device, run)) - this.#emptyMs))
    return times
  }

  /** `times` for one run. */
  async time(run: Run): Promise<number> {
    const [milliseconds = 0] = await this.times([run])
    return milliseconds
  }
}

/** Milliseconds until the host is told that the run has finished. */
async function wallTime(device: Device, { commands, repeats }: Run): Promise<number> {
  const start = performance.now()
  device.submitNow(commands, repeats)
  await device.idle()
  return performance.now() - start
}
