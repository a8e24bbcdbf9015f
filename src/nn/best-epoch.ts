/** The best epoch of a training. */

import type { EpochLogs } from './contract.ts'

/**
 * The epoch (from 1) with the highest validation accuracy, on a tie the one with the lower loss; without validation the
 * last one; 0 for no epochs.
 */
export function bestEpochOf(history: readonly EpochLogs[]): number {
  let best: EpochLogs | undefined
  for (const logs of history) if (best === undefined || isBetterEpoch(logs, best)) best = logs
  return best === undefined ? 0 : best.epoch
}

/**
 * Whether an epoch beats an earlier one: a higher validation accuracy, or on a tie a lower loss; without validation,
 * always.
 */
export function isBetterEpoch(own: EpochLogs, other: EpochLogs): boolean {
  const { validationAccuracy: accuracy, validationLoss: loss } = own
  const { validationAccuracy: otherAccuracy, validationLoss: otherLoss } = other
  if (accuracy === undefined || loss === undefined || otherAccuracy === undefined || otherLoss === undefined)
    return true
  return accuracy === otherAccuracy ? loss < otherLoss : accuracy > otherAccuracy
}
