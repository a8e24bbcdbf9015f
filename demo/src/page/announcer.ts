/** Announces milestones to screen readers. Progress ticks are not milestones. */
import { findAny } from './elements.ts'

/** Milliseconds. A screen reader drops a sentence that is replaced while it is being read. */
const readingTime = 1500

export class Announcer {
  readonly #element = findAny('#announcer')
  readonly #sentences: string[] = []
  #reading = false

  say(sentence: string): void {
    // Someone three sentences behind wants the current state, not the old ones.
    if (this.#sentences.length === 3) this.#sentences.shift()
    this.#sentences.push(sentence)
    if (!this.#reading) this.#next()
  }

  #next(): void {
    const sentence = this.#sentences.shift()
    this.#reading = sentence !== undefined
    if (sentence === undefined) return
    this.#element.textContent = sentence
    setTimeout(() => this.#next(), readingTime)
  }
}
