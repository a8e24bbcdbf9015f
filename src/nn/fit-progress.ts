/** Reports the progress of a training: its speed, the time left, and the epoch's means so far. */

import type { Callbacks, Progress } from './contract.ts'

const progressEveryMs = 200
const recordEveryMs = 1000

interface Means {
  readonly loss: number
  readonly accuracy?: number
}

export class ProgressReporter {
  readonly #training: { readonly epochs: number; readonly steps: number; readonly batch: number }
  readonly #listeners: readonly Callbacks[]
  readonly #readMeans: (steps: number) => Promise<Means>
  #lastProgress = 0
  #lastRecord = 0
  #means: Means | undefined
  #reading: Promise<void> | undefined
  /** The start of the speed measurement: the epoch's start, or the end of the first step, which compiles. */
  #rateFrom = { ms: 0, step: 0 }
  #isFirstReport = true

  /** `readMeans` reads the means of the epoch's first `steps` steps from the device. */
  constructor(
    training: { readonly epochs: number; readonly steps: number; readonly batch: number },
    callbacks: readonly Callbacks[],
    readMeans: (steps: number) => Promise<Means>,
  ) {
    this.#training = training
    this.#listeners = callbacks.filter(({ onProgress }) => onProgress !== undefined)
    this.#readMeans = readMeans
  }

  beginEpoch(ms: number, step: number): void {
    this.#rateFrom = { ms, step }
    this.#means = undefined
  }

  /**
   * Reports, unless the last report was a moment ago. `epoch` counts from 0; `step` is the number of completed steps.
   */
  report(epoch: number, step: number): void {
    if (this.#listeners.length === 0 || step <= this.#rateFrom.step) return
    const { epochs, steps, batch } = this.#training
    const now = performance.now()
    if (now - this.#lastRecord > recordEveryMs && this.#reading === undefined) {
      this.#lastRecord = now
      this.#reading = this.#read(step)
    }
    if (now - this.#lastProgress < progressEveryMs && step < steps) return
    this.#lastProgress = now
    let stepsPerSecond = ((step - this.#rateFrom.step) / (now - this.#rateFrom.ms)) * 1000
    if (this.#isFirstReport) {
      this.#isFirstReport = false
      this.#rateFrom = { ms: now, step }
      stepsPerSecond = Number.NaN
    }
    const left = (epochs - epoch) * steps - step
    const progress: Progress = {
      epoch: epoch + 1,
      epochs,
      step,
      steps,
      imagesPerSecond: stepsPerSecond * batch,
      etaSeconds: left / stepsPerSecond,
      ...this.#means,
    }
    for (const one of this.#listeners) one.onProgress?.(progress)
  }

  /** Reads the means without holding up submissions. A failure shows at the next submission. */
  async #read(step: number): Promise<void> {
    try {
      this.#means = await this.#readMeans(step)
    } catch {
      this.#means = undefined
    } finally {
      this.#reading = undefined
    }
  }

  /** Resolves when no read is pending. */
  async settled(): Promise<void> {
    await this.#reading
  }
}
