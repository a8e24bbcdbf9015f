/** Trainings that share a device: a few at a time, in order, all stopped together. */

export const trainingsAtATime = 2

/**
 * Runs `work` for each item, at most `lanes` at a time, beginning in the items' order. Where one fails, or `signal` fires,
 * no further one begins, the signal that the others were given fires, and once all have ended the first error is thrown.
 */
export async function inLanes<Item>(
  items: readonly Item[],
  { lanes, signal }: { readonly lanes: number; readonly signal?: AbortSignal | undefined },
  work: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const own = new AbortController()
  const stop = (): void => own.abort(signal?.reason)
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  const waiting = items.values()
  const failures: unknown[] = []
  const lane = async (): Promise<void> => {
    for (const item of waiting) {
      if (own.signal.aborted) return
      try {
        await work(item, own.signal)
      } catch (error) {
        failures.push(error)
        own.abort(error)
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.max(1, lanes) }, lane))
  } finally {
    signal?.removeEventListener('abort', stop)
  }
  if (failures.length > 0) throw failures[0]
}
