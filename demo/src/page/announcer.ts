/** Says milestones to those who listen to the page instead of looking at it. Ticks are not milestones. */
import { findAny } from './elements.ts'

/** A screen reader drops a sentence that is replaced while it is being read. */
const readingTime = 1500

export class Announcer {
  readonly #element = findAny('#announcer')
  readonly #sentences: string[] = []
  #reading = false

  say(sentence: string): void {
    // Who is three sentences behind wants to hear where things stand, not where they stood.
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
