/**
 * What a cross-validation came to, and what it means that one model was carried from fold to fold. Pure.
 */
import type { EpochLogs } from '../nn/contract.ts'
import { notebook } from './comparison.ts'
import type { CrossValidationSettings } from './crossval-settings.ts'
import { count, percent, points } from './report/numbers.ts'
import { type MeanAndDeviation, meanAndDeviation } from './statistics.ts'

/** A fold, validated after its last epoch: choosing the best epoch by the same images would flatter. */
export interface FoldResult {
  /** From 1. */
  readonly fold: number
  readonly trainCount: number
  readonly validationCount: number
  readonly loss: number
  readonly accuracy: number
  readonly history: readonly EpochLogs[]
}

export interface FoldsSummary {
  readonly folds: readonly FoldResult[]
  /** Over the folds. */
  readonly loss: MeanAndDeviation
  readonly accuracy: MeanAndDeviation
}

/** One model through all folds. Its first fold is that of the honest run: until then nothing was carried over. */
export interface CarryOver extends FoldsSummary {
  /** Mean accuracy above the honest one. */
  readonly inflation: number
  /** Of the model after its last fold, on images of no fold. */
  readonly test: { readonly loss: number; readonly accuracy: number; readonly count: number }
}

/** What `report.json` holds. */
export interface CrossValidationResult {
  readonly model: 'lenet5'
  readonly settings: CrossValidationSettings
  /** A new model for each fold. */
  readonly honest: FoldsSummary
  /** Null unless asked for. */
  readonly carryOver: CarryOver | null
  /** Sentences on what was carried over; none where nothing was. */
  readonly explanation: readonly string[]
  readonly images: { readonly count: number; readonly duplicates: number }
  readonly parameters: number
  /** Epochs trained in all. */
  readonly epochs: number
  /** Wall clock that they took. */
  readonly seconds: number
  /** The driver, for people. */
  readonly adapter: string
  readonly hardware: boolean
  readonly runDir: string
}

/** Throws WeftgradError 'argument' for no folds. */
export function summarizeFolds(folds: readonly FoldResult[]): FoldsSummary {
  return {
    folds,
    loss: meanAndDeviation(folds.map(({ loss }) => loss)),
    accuracy: meanAndDeviation(folds.map(({ accuracy }) => accuracy)),
  }
}

export function carryOverOf(honest: FoldsSummary, folds: readonly FoldResult[], test: CarryOver['test']): CarryOver {
  const summary = summarizeFolds(folds)
  return { ...summary, inflation: summary.accuracy.mean - honest.accuracy.mean, test }
}

/** Why the figures of a carried model are no estimate, in sentences that hold whatever was measured. */
export function explainCarryOver(honest: FoldsSummary, carried: CarryOver, epochs: number): string[] {
  const last = carried.folds.at(-1)?.accuracy ?? Number.NaN
  const { length: folds } = carried.folds
  const { test, inflation } = carried
  return [
    `Carried from fold to fold, one model has a mean accuracy of ${percent(carried.accuracy.mean)}; new models have ${percent(honest.accuracy.mean)}, ${points(inflation)} ${inflation > 0 ? 'less' : 'more'}. A published notebook reported ${percent(notebook.carryOver, 0)} of a model that it carried over.`,
    `From the second fold on, the images that validate belonged to the training images of all folds before: those of the last fold were trained on in ${folds - 1} of ${folds} folds, ${(folds - 1) * epochs} epochs. Such a figure measures memory as well as skill and longer training, and does not say how much of each.`,
    `Images of no fold do: on ${count(test.count)} test images the carried model reaches ${percent(test.accuracy)}; its last fold promised ${percent(last)}, of other images.`,
  ]
}
