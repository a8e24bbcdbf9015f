/** What a call throws, or its promise rejects with. Fails where it does neither. */
export async function failure(call: () => unknown): Promise<unknown> {
  let result: unknown
  try {
    result = await call()
  } catch (error) {
    return error
  }
  throw new Error(`nothing was thrown; the result is ${String(result)}`)
}
