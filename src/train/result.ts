/** The result of a training: `report.json`. */
import { isRecord } from '../format/json.ts'
import type { EpochResult } from '../nn/contract.ts'
import type { Calibration } from '../runs/calibration.ts'
import type { ErrorAnalysis } from '../runs/error-analysis.ts'
import type { LossAndAccuracy, TestReport } from '../runs/test-report.ts'
import type { TrainSettings } from '../tasks/recipe.ts'

/** The content of `report.json`. `--json` prints the fields up to `runDir`. */
export interface TrainReport extends TestReport {
  /** The driver's name. */
  readonly adapter: string
  readonly hardware: boolean
  readonly parameters: number
  readonly epochs: number
  readonly batchSize: number
  /** Median seconds of an epoch, validation included. */
  readonly secondsPerEpoch: number
  /** Time per step in this process's epochs; null if a resumed run had none left to train. */
  readonly millisecondsPerStep: number | null
  readonly dispatchesPerStep: number
  /** Time from the start of `fit` to the end of the first step on the device. */
  readonly firstStepSeconds: number | null
  /** Validation of the kept weights; null without validation images. */
  readonly validation: LossAndAccuracy | null
  readonly history: readonly EpochResult[]
  readonly runDir: string
  readonly bestEpoch: number
  /** The epoch whose weights were kept and tested. */
  readonly keptEpoch: number
  readonly split: TrainSettings['split']
  /** Errors on the test images, identified by their position in predictions.csv. */
  readonly errors: ErrorAnalysis
  /** How well probabilities match how often the model is right; early runs lack it. */
  readonly calibration?: Calibration
}

/** Whether a report.json is a training's: the printed fields exist. */
export function isTrainReport(value: unknown): value is TrainReport {
  const isPair = (pair: unknown): boolean => isRecord(pair) && 'loss' in pair && 'accuracy' in pair
  return (
    isRecord(value) &&
    typeof value.adapter === 'string' &&
    typeof value.parameters === 'number' &&
    isPair(value.test) &&
    (value.validation === null || isPair(value.validation)) &&
    [value.history, value.perClass, value.confusion].every(Array.isArray) &&
    isRecord(value.macro)
  )
}
