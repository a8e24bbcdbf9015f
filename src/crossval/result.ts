/** The result of a cross-validation, and why reusing one model across folds is not valid. Pure. */
import { isRecord } from '../format/json.ts'
import type { EpochResult } from '../nn/contract.ts'
import { count, percent, points } from '../numbers.ts'
import { type MeanAndDeviation, meanAndDeviation } from '../statistics.ts'
import type { PublishedFigures } from '../tasks/task.ts'
import type { CrossValidationSettings } from './settings.ts'

/**
 * The result of a fold, validated after its last epoch: choosing the best epoch on the same images would inflate it.
 */
export interface FoldResult {
  /** Counted from 1. */
  readonly fold: number
  readonly trainCount: number
  readonly validationCount: number
  readonly loss: number
  readonly accuracy: number
  readonly history: readonly EpochResult[]
}

export interface FoldsSummary {
  readonly folds: readonly FoldResult[]
  /** Loss over the folds. */
  readonly loss: MeanAndDeviation
  readonly accuracy: MeanAndDeviation
}

/** One model reused across all folds. Its first fold is the same as the honest one: nothing is reused yet. */
export interface CarryOver extends FoldsSummary {
  /** Mean accuracy minus the honest one. */
  readonly inflation: number
  /** Test of the model after its last fold, on images outside all folds. */
  readonly test: { readonly loss: number; readonly accuracy: number; readonly count: number }
}

/** The content of `report.json`. */
export interface CrossValidationResult {
  /** The name of the task's network. */
  readonly model: string
  readonly settings: CrossValidationSettings
  /** A new model for each fold. */
  readonly honest: FoldsSummary
  /** The reused model's folds; null unless requested. */
  readonly carryOver: CarryOver | null
  /** Sentences on the reused model; empty without one. */
  readonly explanation: readonly string[]
  readonly images: { readonly count: number; readonly duplicates: number }
  readonly parameters: number
  /** Total epochs trained. */
  readonly epochs: number
  /** Wall-clock seconds of training. */
  readonly seconds: number
  /** The driver's name. */
  readonly adapter: string
  readonly hardware: boolean
  readonly runDir: string
}

/** Summarises the folds. Throws WeftgradError 'argument' without folds. */
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

/** Explains why the results of a reused model are not a valid estimate, in sentences that hold for any measurement. */
export function explainCarryOver(
  honest: FoldsSummary,
  carried: CarryOver,
  epochs: number,
  published: PublishedFigures | undefined,
): string[] {
  const last = carried.folds.at(-1)?.accuracy ?? Number.NaN
  const { length: folds } = carried.folds
  const { test, inflation } = carried
  const known =
    published === undefined
      ? ''
      : ` A published ${published.source} reported ${percent(published.carryOver, 0)} for a model that it reused this way.`
  return [
    `Reusing one model across folds gives a mean accuracy of ${percent(carried.accuracy.mean)}; fresh models have ${percent(honest.accuracy.mean)}, ${points(inflation)} ${inflation > 0 ? 'less' : 'more'}.${known}`,
    `From the second fold on, the validation images were training images in all folds before: those of the last fold were trained on in ${folds - 1} of ${folds} folds, for ${(folds - 1) * epochs} epochs. Such a score mixes memorisation, longer training and real skill.`,
    `Unseen images show the difference: on ${count(test.count)} test images the reused model reaches ${percent(test.accuracy)}, after ${percent(last)} in its last fold.`,
  ]
}

/** Whether a report.json is a cross-validation's: the printed fields exist. */
export function isCrossValidationResult(value: unknown): value is CrossValidationResult {
  return isRecord(value) && isRecord(value.honest) && Array.isArray(value.honest.folds) && 'carryOver' in value
}
