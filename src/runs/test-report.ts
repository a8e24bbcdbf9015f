/** The results of testing a model: overall and per-class figures, and the confusion matrix. */

import { type ClassMetrics, classificationReport } from '../classification-report.ts'
import type { Evaluation } from '../nn/contract.ts'

export interface LossAndAccuracy {
  readonly loss: number
  readonly accuracy: number
}

export interface TestReport {
  readonly test: LossAndAccuracy
  readonly perClass: readonly (ClassMetrics & { readonly class: string })[]
  readonly macro: ClassMetrics
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

/** A test image that an error analysis names. */
export interface TestPicture {
  /** Position among the tested images. */
  readonly position: number
  /** Index in the test file. */
  readonly index: number
  /** The picture as a PNG in base64. */
  readonly png: string
}

/** The results of evaluating a finished run. */
export interface RunEvaluation extends TestReport {
  /** The driver's name. */
  readonly adapter: string
  readonly hardware: boolean
  readonly runDir: string
}

/** Batch size: divides 10,000 test images; larger batches are no faster. */
export const evaluationBatchSize = 500

export function testReport(evaluation: Evaluation, classNames: readonly string[]): TestReport {
  const { loss, accuracy, confusion } = evaluation
  const { perClass, macro } = classificationReport(confusion)
  return {
    test: { loss, accuracy },
    perClass: perClass.map((metrics, k) => ({ class: classNames[k] ?? String(k), ...metrics })),
    macro,
    confusion,
  }
}

/** The number of images in a confusion matrix. */
export function imagesIn({ confusion }: Pick<TestReport, 'confusion'>): number {
  return confusion.flat().reduce((sum, images) => sum + images, 0)
}
