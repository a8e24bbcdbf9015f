/** The end of a training: the test and the result files. */
import { residentImages } from '../data/dataset.ts'
import type { Device } from '../gpu/device.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import type { EpochResult, Evaluation, History } from '../nn/contract.ts'
import { type EvaluateModelOptions, evaluate } from '../nn/evaluate.ts'
import type { Model } from '../nn/model.ts'
import type { SplitImages } from '../runs/images.ts'
import { testAnalysis } from '../runs/test-analysis.ts'
import { writeTestFiles } from '../runs/test-files.node.ts'
import { evaluationBatchSize, type LossAndAccuracy } from '../runs/test-report.ts'
import { saveModel } from '../runs/trained-model.node.ts'
import { median } from '../statistics.ts'
import type { Task } from '../tasks/task.ts'
import type { TrainReport } from './result.ts'
import type { TrainingSettings } from './settings.ts'

interface Finished {
  readonly task: Task
  readonly device: Device
  readonly model: Model
  readonly images: SplitImages
  readonly settings: TrainingSettings
  readonly history: History
  readonly runDir: string
  readonly parameters: number
  readonly variants: VariantTable
}

/** Tests the model; writes model, predictions and curves. */
export async function reportOf(run: Finished): Promise<TrainReport> {
  const { task, device, model, images, settings, history, runDir, variants } = run
  const { flipAverage, restoreBest } = settings
  const { classNames } = task.data
  await saveModel(runDir, model, { classNames, description: flipAverage ? { flips: 'averaged' } : {} })
  const evaluation = await testModel(device, model, images, { variants, flipAverage, probabilities: true })
  const keptEpoch = restoreBest ? history.bestEpoch : settings.epochs
  const kept = history.epochs.find((logs) => logs.epoch === keptEpoch)
  const { test, errors, calibration, ...classes } = testAnalysis(evaluation, images.test, classNames)
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
    errors,
    calibration,
    ...classes,
  }
  await writeTestFiles(runDir, {
    indices: images.testIndices,
    ...{ test: images.test, classNames, errors },
    evaluation,
    what: `${task.network.title} on ${task.data.title}`,
    epochs: history.epochs,
    bestEpoch: restoreBest ? history.bestEpoch : undefined,
  })
  return report
}

function validationOf(logs: EpochResult | undefined): LossAndAccuracy | null {
  if (logs?.validationLoss === undefined || logs.validationAccuracy === undefined) return null
  return { loss: logs.validationLoss, accuracy: logs.validationAccuracy }
}

export async function testModel(
  device: Device,
  model: Model,
  { test }: SplitImages,
  options: Omit<EvaluateModelOptions, 'batchSize'> = {},
): Promise<Evaluation> {
  using testSet = residentImages(device, test)
  return await evaluate(model, testSet, { ...options, batchSize: evaluationBatchSize })
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
