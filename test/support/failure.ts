/** The error that a call throws, or that its promise or the given one rejects with. Fails if there is none. */
export async function failure(attempt: Promise<unknown> | (() => unknown)): Promise<unknown> {
  let result: unknown
  try {
    result = await (typeof attempt === 'function' ? attempt() : attempt)
  } catch (error) {
    return error
  }
  throw new Error(`nothing was thrown; the result is ${String(result)}`)
}
