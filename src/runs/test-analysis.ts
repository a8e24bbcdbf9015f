/** Everything that a test says about a classifier: figures, the confusion matrix, errors and calibration. */
import type { LabelledBytes } from '../data/dataset.ts'
import type { Evaluation } from '../nn/contract.ts'
import { type Calibration, calibrationOf } from './calibration.ts'
import { analyseErrors, type ErrorAnalysis } from './error-analysis.ts'
import { type TestReport, testReport } from './test-report.ts'

export interface TestAnalysis extends TestReport {
  /** Errors on the test images, identified by their position in predictions.csv. */
  readonly errors: ErrorAnalysis
  /** How well the probabilities match how often the model is right. */
  readonly calibration: Calibration
}

/** Analyses an evaluation that kept its probabilities. Throws WeftgradError 'argument' if it does not fit the images. */
export function testAnalysis(
  evaluation: Evaluation,
  { labels, names }: Pick<LabelledBytes, 'labels' | 'names'>,
  classNames: readonly string[],
): TestAnalysis {
  const { predictions, probabilities = [] } = evaluation
  const classified = { labels, predictions, probabilities, classes: classNames.length }
  return {
    ...testReport(evaluation, classNames),
    errors: analyseErrors({ ...classified, names }),
    calibration: calibrationOf(classified),
  }
}
