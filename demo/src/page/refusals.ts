/** Shows failures where they happened: in the panel whose button, field or zone was used. */
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

/** A refusal by the page itself, in the same form as those of the session. */
export const refusal = (code: string, message: string): Refusal => ({ code, message })

export function sentenceOf(error: unknown): string {
  if (isRefusal(error)) return error.message
  const message = error instanceof Error ? error.message : String(error)
  return `Something went wrong: ${message} Reload the page; if it happens again, please report it.`
}

/** Where a panel shows its refusals. */
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

  /** Runs an action that may be refused. Each attempt clears the refusal before it. */
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
