/** How failures cross from the worker to the page: as `Refusal`s, code and sentence, which is all that the page shows. */
import { type TransferHandler, transferHandlers } from 'comlink'
import type { Refusal } from './session.ts'

/** What an error says, whatever it is; 'unexpected' stands for errors that nobody meant to throw. */
export function refusalOf(error: unknown): Refusal {
  const { code, message } = typeof error === 'object' && error !== null ? (error as Partial<Refusal>) : {}
  const text = typeof message === 'string' ? message : String(error)
  return { code: typeof code === 'string' ? code : 'unexpected', message: text }
}

/**
 * For the worker: calls that are refused reject with a `Refusal` on the page, where Comlink's own way keeps the message
 * alone. Errors that nobody meant to throw stay `Error`s.
 */
export function throwRefusals(): void {
  const own = transferHandlers.get('throw') as TransferHandler<{ readonly value: unknown }, unknown> | undefined
  if (own === undefined) throw new RangeError('comlink has no handler for what is thrown')
  transferHandlers.set('throw', {
    ...own,
    serialize(thrown: { readonly value: unknown }) {
      const refusal = refusalOf(thrown.value)
      return refusal.code === 'unexpected' ? own.serialize(thrown) : [{ isError: false, value: refusal }, []]
    },
  })
}
