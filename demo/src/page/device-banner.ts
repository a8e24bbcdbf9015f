/** Tells the user that the device was lost, that there is a new one, and what to do now. */
import type { Refusal, TrainingState } from '../session.ts'
import { findAny, findButton, setText } from './elements.ts'

export class DeviceBanner {
  readonly #banner = findAny('#device-banner')
  readonly #words = findAny('#device-banner-words')
  readonly #resume = findButton('#device-resume')
  readonly #dismiss = findButton('#device-dismiss')
  #isLost = false
  #reason = ''
  #state: TrainingState = { kind: 'none' }

  constructor(resume: () => void) {
    this.#resume.addEventListener('click', () => {
      this.#hide()
      // The button is gone: the focus moves to the one that does the same.
      findButton('#train-main').focus()
      resume()
    })
    this.#dismiss.addEventListener('click', () => this.#hide())
  }

  lost({ message }: Refusal): void {
    this.#isLost = true
    this.#reason = message
    this.#banner.hidden = false
    this.#show()
  }

  reopened(): void {
    this.#isLost = false
    this.#show()
  }

  stateChanged(state: TrainingState): void {
    this.#state = state
    if (state.kind === 'running') this.#hide()
    this.#show()
  }

  #show(): void {
    if (this.#banner.hidden) return
    const canResume = !this.#isLost && this.#state.kind === 'paused'
    setText(
      this.#words,
      this.#isLost
        ? `The GPU was lost. Reconnecting … ${this.#reason}`
        : `The GPU was lost and is back. ${canResume ? 'Training is paused.' : 'Nothing was running; you can continue.'}`,
    )
    this.#resume.hidden = !canResume
    this.#dismiss.hidden = this.#isLost
  }

  #hide(): void {
    if (!this.#isLost) this.#banner.hidden = true
  }
}
