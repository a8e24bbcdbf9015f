/** What pages show of a tested model, whichever job trained it. */
import type { EpochResult } from '../nn/contract.ts'
import type { Calibration } from '../runs/calibration.ts'
import type { ErrorAnalysis } from '../runs/error-analysis.ts'
import type { TestPicture, TestReport } from '../runs/test-report.ts'
import type { TrainReport } from '../train/result.ts'
import type { TransferReport } from '../transfer/result.ts'

/** A test report; those of early runs lack some parts. */
export interface TestedReport extends TestReport {
  readonly errors?: ErrorAnalysis
  readonly calibration?: Calibration
}

export interface TestedModel {
  readonly name: string
  readonly report: TestedReport
  readonly history: readonly EpochResult[]
  /** The epoch whose weights were kept, if validation chose it. */
  readonly bestEpoch: number | undefined
  /** The images that `report.errors` identifies by position; early runs have none. */
  readonly pictures: readonly TestPicture[]
}

export function trainedModel(name: string, report: TrainReport, pictures: readonly TestPicture[]): TestedModel {
  const { validation, keptEpoch, history } = report
  return { name, report, history, bestEpoch: validation === null ? undefined : keptEpoch, pictures }
}

export function transferModel(
  name: string,
  report: TransferReport,
  pictures: readonly TestPicture[] = [],
): TestedModel {
  const { history, bestEpoch } = report
  return { name, report, history, bestEpoch, pictures }
}
