/** Failures, said where they happened: in the panel whose button, field or zone was used, and nowhere else. */
import type { Refusal } from '../session.ts'
import { make } from './elements.ts'

export function isRefusal(error: unknown): error is Refusal {
  return (
    typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    typeof error.code === 'string' &&
    'message' in error &&
    typeof error.message === 'string'
  )
}

/** What the page itself refuses, in the same form as what the session does. */
export const refusal = (code: string, message: string): Refusal => ({ code, message })

export function sentenceOf(error: unknown): string {
  if (isRefusal(error)) return error.message
  const told = error instanceof Error ? error.message : String(error)
  return `Something failed that should not: ${told} Load the page again; if it happens once more, please report it.`
}

/** A place for the refusals of one panel. */
export class RefusalPlace {
  readonly #element: HTMLElement

  constructor(element: HTMLElement) {
    this.#element = element
  }

  show(error: unknown): void {
    if (!isRefusal(error)) console.error(error)
    const close = make('button', { type: 'button' }, 'Close')
    close.addEventListener('click', () => this.clear())
    this.#element.replaceChildren(make('p', { role: 'alert' }, sentenceOf(error)), close)
    this.#element.hidden = false
  }

  clear(): void {
    this.#element.hidden = true
    this.#element.replaceChildren()
  }

  /** Does something that may be refused. An earlier refusal goes away with the next attempt. */
  async attempt<Result>(action: () => Promise<Result>): Promise<Result | undefined> {
    this.clear()
    try {
      return await action()
    } catch (error) {
      this.show(error)
      return undefined
    }
  }
}
