/** The error that a call throws, or that its promise rejects with. Fails if it does neither. */
export async function failure(call: () => unknown): Promise<unknown> {
  let result: unknown
  try {
    result = await call()
  } catch (error) {
    return error
  }
  throw new Error(`nothing was thrown; the result is ${String(result)}`)
}
