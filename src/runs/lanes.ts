/** Runs trainings that share a device: a few at a time, in order, stopped together. */

/**
 * The number of trainings at a time. A second training computes while the first one waits for the host: at its start,
 * between epochs and for its checkpoint. The gain is small: four LeNet-5 trials of two epochs on lavapipe's two cores,
 * medians, one, two and four at a time: 1027, 1014 and 1003 ms with 100 steps a trial, 5823, 5624 and 5823 ms with 600.
 * With other programs on the cores, rounds of two took between 0.84 and 1.17 of the time of one. More than two leave
 * more work unfinished when a run is stopped. One step over the weights of several trials would need its own kernels,
 * since trials differ in their shapes.
 */
export const trainingsAtATime = 2

/**
 * Runs `work` for each item, at most `lanes` at a time, started in the items' order. If one fails, or `signal` fires,
 * no further item starts and the signal passed to the others fires; once all have ended, the first error is thrown.
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
    await Promise.all(Array.from({ length: Math.min(items.length, Math.max(1, lanes)) }, lane))
  } finally {
    signal?.removeEventListener('abort', stop)
  }
  if (failures.length > 0) throw failures[0]
}
