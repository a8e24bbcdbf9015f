/** The best epoch of a training. */

import type { EpochLogs, EpochResult, Monitor } from './contract.ts'

/**
 * The best epoch (from 1) by the monitored result. By default it is the validation accuracy, on a tie the epoch with the
 * lower validation loss; without accuracy the validation loss; without validation the last epoch. 0 for no epochs.
 */
export function bestEpochOf(history: readonly EpochResult[], monitor?: Monitor): number {
  let best: EpochResult | undefined
  for (const logs of history) if (best === undefined || isBetterEpoch(logs, best, monitor)) best = logs
  return best === undefined ? 0 : best.epoch
}

/** Whether an epoch beats an earlier one. Without results to compare by, always. */
export function isBetterEpoch(own: EpochResult, other: EpochResult, monitor?: Monitor): boolean {
  if (monitor !== undefined) {
    const { [monitor.name]: value = Number.NaN }: EpochLogs = { ...own }
    const { [monitor.name]: best = Number.NaN }: EpochLogs = { ...other }
    return Number.isNaN(best) || (monitor.mode === 'max' ? value > best : value < best)
  }
  const { validationAccuracy: accuracy, validationLoss: loss } = own
  const { validationAccuracy: otherAccuracy, validationLoss: otherLoss } = other
  if (loss === undefined || otherLoss === undefined) return true
  if (accuracy === undefined || otherAccuracy === undefined || accuracy === otherAccuracy) return loss < otherLoss
  return accuracy > otherAccuracy
}
