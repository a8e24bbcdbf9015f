/** Sends failures from the worker to the page as `Refusal`s: a code and a message, which is all the page shows. */
import { type TransferHandler, transferHandlers } from 'comlink'
import type { Refusal } from './session.ts'

/** The code and message of any thrown value. The code is 'unexpected' for errors that are bugs. */
export function refusalOf(error: unknown): Refusal {
  const { code, message } = typeof error === 'object' && error !== null ? (error as Partial<Refusal>) : {}
  const text = typeof message === 'string' ? message : String(error)
  return { code: typeof code === 'string' ? code : 'unexpected', message: text }
}

/**
 * Makes refused calls reject with a `Refusal` on the page; Comlink by itself keeps only the message. Call it in the worker.
 * Unexpected errors stay `Error`s.
 */
export function throwRefusals(): void {
  const own = transferHandlers.get('throw') as TransferHandler<{ readonly value: unknown }, unknown> | undefined
  if (own === undefined) throw new RangeError('comlink has no handler for thrown values')
  transferHandlers.set('throw', {
    ...own,
    serialize(thrown: { readonly value: unknown }) {
      const refusal = refusalOf(thrown.value)
      return refusal.code === 'unexpected' ? own.serialize(thrown) : [{ isError: false, value: refusal }, []]
    },
  })
}
