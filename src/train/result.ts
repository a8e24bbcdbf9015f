/** What a training came to: `report.json`. */
import { isRecord } from '../format/json.ts'
import type { EpochLogs } from '../nn/contract.ts'
import type { LossAndAccuracy, TestReport } from '../runs/test-report.ts'
import type { TrainSettings } from '../tasks/recipe.ts'
import type { ErrorAnalysis } from './error-analysis.ts'

/** What `report.json` holds. `--json` prints the fields up to `runDir`. */
export interface TrainReport extends TestReport {
  /** The driver, for people. */
  readonly adapter: string
  readonly hardware: boolean
  readonly parameters: number
  readonly epochs: number
  readonly batchSize: number
  /** Median over all epochs, validation included. */
  readonly secondsPerEpoch: number
  /** Of this process's epochs; null if a resumed run had none left to train. */
  readonly millisecondsPerStep: number | null
  readonly dispatchesPerStep: number
  /** From the start of `fit` until the device had run the first step. */
  readonly firstStepSeconds: number | null
  /** Of the weights that were kept; null where no images validated. */
  readonly validation: LossAndAccuracy | null
  readonly history: readonly EpochLogs[]
  readonly runDir: string
  readonly bestEpoch: number
  /** The epoch whose weights were kept and tested. */
  readonly keptEpoch: number
  readonly split: TrainSettings['split']
  /** Of the test; images by their position in predictions.csv. */
  readonly errors: ErrorAnalysis
}

/** Whether a report.json is one: the fields that are printed are there. */
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
