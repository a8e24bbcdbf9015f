/**
 * A part of the check: it has one subject, works item by item, and reports as it goes. An item that fails is a problem
 * of the part, which continues with the next item. An item that there is no time for, or that the adapter refuses, is
 * listed as skipped. So a report never shows a figure for work that was not done.
 */

import { WeftgradError } from '../../src/errors.ts'
import type { Device } from '../../src/gpu/device.ts'
import { printable } from '../../src/printable.ts'
import type { Sampling } from '../measure.ts'
import type { PytorchReport } from './pytorch-report.ts'

/** The options of all parts. */
export interface PartOptions {
  /** Fewer samples and smaller work. */
  readonly quick: boolean
  /** The folder with Fashion-MNIST, if it is not in a usual place. */
  readonly dataDir?: string | undefined
  /** Only operator cases whose name contains these words. */
  readonly cases?: string | undefined
}

/** One subject of the check. */
export interface Part<Figures extends object = object> {
  /** For `--only` and for the report. */
  readonly name: string
  /** The heading of its section on the page. */
  readonly title: string
  /** Its share of the seven minutes, in seconds. Time that it does not use goes to later parts. */
  readonly seconds: number
  /** Calls `work.report` with the figures so far; the last call has all of them. */
  run(work: PartWork<Figures>): Promise<void>
  /** Its section of the page, in Markdown, from its figures. */
  page(figures: Figures, pytorch: PytorchReport | undefined): readonly string[]
}

/** The outcome of a part. */
export interface PartOutcome {
  /** Everything that was wrong, a sentence each. */
  readonly problems: readonly string[]
  /** Everything that was skipped, a sentence each, with the reason. */
  readonly left: readonly string[]
  /** The most bytes that the part's buffers used at one time. */
  readonly peakBytes: number
  /** The figures that the part reported last. */
  readonly figures: object | undefined
}

/** What a part works with: a device, a clock, and where to report problems, skipped items and figures. */
export class PartWork<Figures extends object = object> {
  readonly options: PartOptions
  readonly #open: () => Promise<Device>
  readonly #endsAt: number
  readonly #onProgress: (outcome: PartOutcome) => void
  readonly #problems: string[] = []
  readonly #left: string[] = []
  #device: Device
  #peakBytes = 0
  #figures: Figures | undefined

  private constructor(
    device: Device,
    open: () => Promise<Device>,
    options: PartOptions,
    seconds: number,
    onProgress: (outcome: PartOutcome) => void,
  ) {
    this.#device = device
    this.#open = open
    this.options = options
    this.#endsAt = performance.now() + 1000 * seconds
    this.#onProgress = onProgress
  }

  /**
   * Runs a part on its own device, for about `seconds`. Errors in the part are recorded in the outcome, not thrown.
   * Throws what `open` throws.
   */
  static async run<Figures extends object>(
    part: Part<Figures>,
    open: () => Promise<Device>,
    options: PartOptions,
    seconds: number,
    onProgress: (outcome: PartOutcome) => void = () => {},
  ): Promise<PartOutcome> {
    const work = new PartWork<Figures>(await open(), open, options, seconds, onProgress)
    try {
      await part.run(work)
      work.#findLeaks()
    } catch (error) {
      work.problem(messageOf(error))
    } finally {
      work.#retire()
    }
    if (work.#figures === undefined && work.#problems.length === 0) work.problem('Nothing was checked.')
    return work.outcome()
  }

  /** The device in use. It is replaced after a failure. */
  get device(): Device {
    return this.#device
  }

  /** The time left for the part, in ms. */
  get remaining(): number {
    return this.#endsAt - performance.now()
  }

  /** How `measureInTurn` should sample, within the remaining time. */
  sampling(shareOfRest = 0.25): Sampling {
    const budgetMilliseconds = Math.max(200, Math.min(3000, shareOfRest * this.remaining))
    return { samples: this.options.quick ? 5 : 11, sampleMilliseconds: 20, budgetMilliseconds, fewestSamples: 3 }
  }

  /** Replaces the figures reported so far. */
  report(figures: Figures): void {
    this.#figures = figures
    this.#progress()
  }

  /** Reports that something is wrong: the part will not be ok. */
  problem(sentence: string): void {
    this.#problems.push(sentence)
    this.#progress()
  }

  /** Reports that something was skipped, and why. */
  left(sentence: string): void {
    this.#left.push(sentence)
    this.#progress()
  }

  /**
   * Does one item of the part, which may take about `seconds`, or skips it if there is not enough time. Use 0 for items
   * that must always be done. Errors in the item are problems of the part, unless the adapter is too small: then the
   * item is skipped. Resolves to whether it was done.
   */
  async attempt(what: string, seconds: number, item: (device: Device) => Promise<void>): Promise<boolean> {
    const left = this.remaining / 1000
    if (seconds > 0 && left < seconds) {
      this.left(`${what}: not enough time (needs ${seconds.toFixed(1)} s, ${Math.max(0, left).toFixed(1)} s left).`)
      return false
    }
    try {
      await item(this.#device)
      return true
    } catch (error) {
      const sentence = `${what}: ${messageOf(error)}`
      if (error instanceof WeftgradError && error.code === 'limit') this.left(sentence)
      else this.problem(sentence)
      if (!this.#device.usable) await this.reopen()
      return false
    }
  }

  /** Replaces the device with a new one. */
  async reopen(): Promise<Device> {
    this.#retire()
    this.#device = await this.#open()
    return this.#device
  }

  outcome(): PartOutcome {
    const peakBytes = Math.max(this.#peakBytes, this.#device.memory().peakBytes)
    return { problems: [...this.#problems], left: [...this.#left], peakBytes, figures: this.#figures }
  }

  #retire(): void {
    this.#peakBytes = Math.max(this.#peakBytes, this.#device.memory().peakBytes)
    this.#device.dispose()
  }

  #findLeaks(): void {
    const { liveBytes, liveBuffers } = this.#device.memory()
    if (liveBytes > 0) this.problem(`${liveBuffers} buffers with ${liveBytes} bytes were not released.`)
  }

  #progress(): void {
    this.#onProgress(this.outcome())
  }
}

/** One line, short enough for a report. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return printable(text.replaceAll(/\s+/g, ' ').trim(), 400)
}
