/** What the whole page must know about the device: that it went away, that there is a new one, what to do now. */
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
      // The button is gone: the focus goes to its like.
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
        ? `The GPU was lost. It is being opened again. ${this.#reason}`
        : `The GPU was lost, and opened again. ${canResume ? 'Training is paused.' : 'Nothing was running; go on as before.'}`,
    )
    this.#resume.hidden = !canResume
    this.#dismiss.hidden = this.#isLost
  }

  #hide(): void {
    if (!this.#isLost) this.#banner.hidden = true
  }
}
