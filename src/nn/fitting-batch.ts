/** Finds a batch size for which there is memory. */

import { WeftgradError } from '../errors.ts'

/** Calls `make` with `batch`, and with half as much as often as that fails for want of memory. */
export async function withFittingBatch<T>(batch: number, make: (batch: number) => Promise<T>): Promise<T> {
  try {
    return await make(batch)
  } catch (error) {
    const isTooMuch = error instanceof WeftgradError && error.code === 'limit'
    if (!isTooMuch || batch <= 1) throw error
    return withFittingBatch(Math.ceil(batch / 2), make)
  }
}
