/**
 * What a part of the check is: it has one subject, works item by item, and tells what it found as it goes. An item that
 * fails is a problem of the part, and the part goes on with the next; an item for which no time is left, or which the
 * adapter refuses, is listed as left out. So a report never shows a figure for work that was not done.
 */

import { WeftgradError } from '../../src/errors.ts'
import type { Device } from '../../src/gpu/device.ts'
import { printable } from '../../src/printable.ts'
import type { Sampling } from '../measure.ts'
import type { PytorchReport } from './pytorch-report.ts'

/** What the user asked of all parts. */
export interface PartOptions {
  /** Fewer samples and smaller work. */
  readonly quick: boolean
  /** Where Fashion-MNIST is, if not in the usual places. */
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
  /** Seconds kept for it out of the seven minutes; what it does not use goes to the parts after it. */
  readonly seconds: number
  /** Calls `work.report` with what it has found so far, the last call with all of it. */
  run(work: PartWork<Figures>): Promise<void>
  /** Its section of the page, in Markdown, from what it reported. */
  page(figures: Figures, pytorch: PytorchReport | undefined): readonly string[]
}

/** What a part came to. */
export interface PartOutcome {
  /** What was wrong, each a sentence. */
  readonly problems: readonly string[]
  /** What was not done, each with its reason. */
  readonly left: readonly string[]
  /** The most bytes that the part's buffers took at one time. */
  readonly peakBytes: number
  /** What the part reported last. */
  readonly figures: object | undefined
}

/** What a part works with: a device, a clock, and the places where it tells what it found. */
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
   * Runs a part on a device of its own, for about `seconds`. Never throws for what goes wrong in the part: that is in the
   * outcome. Throws what `open` throws.
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

  /** The device in use; a new one after the last one failed. */
  get device(): Device {
    return this.#device
  }

  /** ms until the part should end. */
  get remaining(): number {
    return this.#endsAt - performance.now()
  }

  /** How to sample what `measureInTurn` measures, within what is left of the part's time. */
  sampling(shareOfRest = 0.25): Sampling {
    const budgetMilliseconds = Math.max(200, Math.min(3000, shareOfRest * this.remaining))
    return { samples: this.options.quick ? 5 : 11, sampleMilliseconds: 20, budgetMilliseconds, fewestSamples: 3 }
  }

  /** Replaces what was reported so far. */
  report(figures: Figures): void {
    this.#figures = figures
    this.#progress()
  }

  /** Something is wrong: the part will not be ok. */
  problem(sentence: string): void {
    this.#problems.push(sentence)
    this.#progress()
  }

  /** Something was not done, and why. */
  left(sentence: string): void {
    this.#left.push(sentence)
    this.#progress()
  }

  /**
   * Does one item of the part, which may take about `seconds`; leaves it out where so much is not left. With 0 it is done
   * however late it is: what a check must not go without. What it throws is a problem of the part; what the adapter is too
   * small for is left out. Resolves to whether it was done.
   */
  async attempt(what: string, seconds: number, item: (device: Device) => Promise<void>): Promise<boolean> {
    const left = this.remaining / 1000
    if (seconds > 0 && left < seconds) {
      this.left(`${what}: it may take ${seconds.toFixed(1)} s, and ${Math.max(0, left).toFixed(1)} s were left.`)
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

  /** Gives the device up for a new one. */
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
    if (liveBytes > 0) this.problem(`${liveBuffers} buffers with ${liveBytes} bytes were left on the device.`)
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
