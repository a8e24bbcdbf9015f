/** The end of a run: the test, and the files that tell how it went. */

import { join } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { isRecord } from '../format/json.ts'
import type { Device } from '../gpu/device.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochLogs, Evaluation, History } from '../nn/contract.ts'
import { type EvaluateModelOptions, evaluate } from '../nn/evaluate.ts'
import { type ClassMetrics, classificationReport, median } from '../nn/metrics.ts'
import type { Model } from '../nn/model.ts'
import { analyseErrors, type ErrorAnalysis } from './error-analysis.ts'
import type { LenetImages } from './lenet-data.ts'
import type { RecipeSettings } from './recipes.ts'
import { runFiles, writeReport, writeRunFile } from './run-folder.node.ts'
import type { TrainSettings } from './train-options.ts'
import { saveTrainedModel } from './trained-model.node.ts'

export interface LossAndAccuracy {
  readonly loss: number
  readonly accuracy: number
}

/** What a test came to. */
export interface TestReport {
  readonly test: LossAndAccuracy
  readonly perClass: readonly (ClassMetrics & { readonly class: string })[]
  readonly macro: ClassMetrics
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

/** What testing a run again gives. */
export interface RunEvaluation extends TestReport {
  /** The driver, for people. */
  readonly adapter: string
  readonly hardware: boolean
  readonly runDir: string
}

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

interface Finished {
  readonly device: Device
  readonly model: Model
  readonly images: LenetImages
  readonly settings: TrainSettings
  readonly recipe: RecipeSettings
  readonly history: History
  readonly runDir: string
  readonly parameters: number
  readonly variants: VariantTable
}

/** Divides the published 10,000 test images; larger batches are no faster. */
export const evaluationBatchSize = 500

/** Tests the model and writes model, predictions, curves and, last, the report. */
export async function writeResults(run: Finished): Promise<TrainReport> {
  const { device, model, images, settings, recipe, history, runDir, variants } = run
  const { flipAverage } = recipe
  const classNames: readonly string[] = fashionMnistClasses
  await saveTrainedModel(runDir, { model, units: settings.units, classNames, flipAverage })
  const evaluation = await testModel(device, model, images, { variants, flipAverage, probabilities: true })
  const keptEpoch = settings.restoreBest ? history.bestEpoch : settings.epochs
  const kept = history.epochs.find((logs) => logs.epoch === keptEpoch)
  const { test, ...classes } = testReport(evaluation, classNames)
  const report: TrainReport = {
    adapter: device.facts.driver,
    hardware: device.facts.hardware,
    parameters: run.parameters,
    epochs: history.epochs.length,
    batchSize: settings.batchSize,
    secondsPerEpoch: median(history.epochs.map((logs) => logs.seconds)),
    millisecondsPerStep: finiteOrNull(history.millisecondsPerStep),
    dispatchesPerStep: history.dispatchesPerStep,
    firstStepSeconds: finiteOrNull(history.firstStepSeconds),
    test,
    validation: validationOf(kept),
    history: history.epochs,
    runDir,
    bestEpoch: history.bestEpoch,
    keptEpoch,
    split: settings.split,
    errors: analyseErrors({
      ...{ labels: images.test.labels, classes: classNames.length },
      ...{ predictions: evaluation.predictions, probabilities: evaluation.probabilities ?? [] },
    }),
    ...classes,
  }
  await writeTestFiles(runDir, {
    indices: images.testIndices,
    labels: images.test.labels,
    evaluation,
    what: 'LeNet-5 on Fashion-MNIST',
    epochs: history.epochs,
    bestEpoch: settings.restoreBest ? history.bestEpoch : undefined,
  })
  await writeReport(runDir, report)
  return report
}

function validationOf(logs: EpochLogs | undefined): LossAndAccuracy | null {
  if (logs?.validationLoss === undefined || logs.validationAccuracy === undefined) return null
  return { loss: logs.validationLoss, accuracy: logs.validationAccuracy }
}

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

export interface TestedRun {
  /** Where each test image stands in the file it is from. */
  readonly indices: ArrayLike<number>
  readonly labels: ArrayLike<number>
  readonly evaluation: Evaluation
  /** For the title of the curves. */
  readonly what: string
  readonly epochs: readonly EpochLogs[]
  /** Marked in the curves. */
  readonly bestEpoch: number | undefined
}

/** The predictions and the curves. */
export async function writeTestFiles(runDir: string, run: TestedRun): Promise<void> {
  await writeRunFile(join(runDir, runFiles.predictions), predictionsCsv(run))
  const { what, evaluation, epochs, bestEpoch } = run
  const title = `${what}: test accuracy ${(100 * evaluation.accuracy).toFixed(2)} %`
  // Loaded only now: the plotting library takes half a second of a processor.
  const { trainingCurvesFile } = await import('./plots/training-curves.ts')
  await writeRunFile(join(runDir, runFiles.curves), trainingCurvesFile({ name: title, epochs, bestEpoch }))
}

export async function testModel(
  device: Device,
  model: Model,
  { test }: LenetImages,
  options: Omit<EvaluateModelOptions, 'batchSize'> = {},
): Promise<Evaluation> {
  using testSet = residentImages(device, test)
  return await evaluate(model, testSet, { ...options, batchSize: evaluationBatchSize })
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

function predictionsCsv({ indices, labels, evaluation: { predictions } }: TestedRun): string {
  const lines = ['index,label,predicted']
  for (const [k, predicted] of predictions.entries()) lines.push(`${indices[k]},${labels[k]},${predicted}`)
  return `${lines.join('\n')}\n`
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
