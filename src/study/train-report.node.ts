/** The end of a run: the test, and the files that tell how it went. */
import { join } from 'node:path'
import { residentImages } from '../data/dataset.ts'
import { fashionMnistClasses } from '../data/fashion-mnist.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import type { Device } from '../gpu/device.ts'
import type { VariantTable } from '../graph/choice.ts'
import type { EpochLogs, Evaluation, History } from '../nn/contract.ts'
import { evaluate } from '../nn/evaluate.ts'
import { type ClassMetrics, classificationReport, median } from '../nn/metrics.ts'
import type { Model } from '../nn/model.ts'
import { curvesSvg } from './curves.ts'
import type { LenetImages } from './lenet-data.ts'
import { isRecord, runFiles, writeReport } from './run-folder.node.ts'
import type { TrainSettings } from './train-options.ts'
import { saveTrainedModel } from './trained-model.node.ts'

export interface LossAndAccuracy {
  readonly loss: number
  readonly accuracy: number
}

/** What `report.json` holds. `--json` prints the fields up to `runDir`. */
export interface TrainReport {
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
  readonly test: LossAndAccuracy
  /** Of the weights that were kept. */
  readonly validation: LossAndAccuracy
  readonly history: readonly EpochLogs[]
  readonly runDir: string
  readonly bestEpoch: number
  /** The epoch whose weights were kept and tested. */
  readonly keptEpoch: number
  readonly split: TrainSettings['split']
  readonly perClass: readonly (ClassMetrics & { readonly class: string })[]
  readonly macro: ClassMetrics
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
}

interface Finished {
  readonly device: Device
  readonly model: Model
  readonly images: LenetImages
  readonly settings: TrainSettings
  readonly history: History
  readonly runDir: string
  readonly parameters: number
  readonly variants: VariantTable
}

/** Divides the published 10,000 test images; larger batches are no faster. */
export const evaluationBatchSize = 500

/** Tests the model and writes model, predictions, curves and, last, the report. */
export async function writeResults(run: Finished): Promise<TrainReport> {
  const { device, model, images, settings, history, runDir, variants } = run
  const classNames: readonly string[] = fashionMnistClasses
  await saveTrainedModel(runDir, { model, units: settings.units, classNames })
  const evaluation = await testModel(device, model, images, variants)
  const { perClass, macro } = classificationReport(evaluation.confusion)
  const keptEpoch = settings.restoreBest ? history.bestEpoch : settings.epochs
  const kept = history.epochs.find((logs) => logs.epoch === keptEpoch)
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
    test: { loss: evaluation.loss, accuracy: evaluation.accuracy },
    validation: { loss: kept?.validationLoss ?? Number.NaN, accuracy: kept?.validationAccuracy ?? Number.NaN },
    history: history.epochs,
    runDir,
    bestEpoch: history.bestEpoch,
    keptEpoch,
    split: settings.split,
    perClass: perClass.map((metrics, k) => ({ class: classNames[k] ?? String(k), ...metrics })),
    macro,
    confusion: evaluation.confusion,
  }
  await writeFileAtomic(join(runDir, runFiles.predictions), predictionsCsv(images, evaluation))
  const title = `LeNet-5 on Fashion-MNIST: test accuracy ${(100 * evaluation.accuracy).toFixed(2)} %`
  await writeFileAtomic(
    join(runDir, runFiles.curves),
    curvesSvg(history.epochs, { title, bestEpoch: settings.restoreBest ? history.bestEpoch : undefined }),
  )
  await writeReport(runDir, report)
  return report
}

export async function testModel(
  device: Device,
  model: Model,
  { test }: LenetImages,
  variants: VariantTable = {},
): Promise<Evaluation> {
  using testSet = residentImages(device, test)
  return await evaluate(model, testSet, { batchSize: evaluationBatchSize, variants })
}

/** Whether a report.json is one: the fields that are printed are there. */
export function isTrainReport(value: unknown): value is TrainReport {
  const isPair = (pair: unknown): boolean => isRecord(pair) && 'loss' in pair && 'accuracy' in pair
  return (
    isRecord(value) &&
    typeof value.adapter === 'string' &&
    typeof value.parameters === 'number' &&
    isPair(value.test) &&
    isPair(value.validation) &&
    [value.history, value.perClass, value.confusion].every(Array.isArray) &&
    isRecord(value.macro)
  )
}

function predictionsCsv({ test, testIndices }: LenetImages, { predictions }: Evaluation): string {
  const lines = ['index,label,predicted']
  for (const [k, index] of testIndices.entries()) lines.push(`${index},${test.labels[k]},${predictions[k]}`)
  return `${lines.join('\n')}\n`
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
