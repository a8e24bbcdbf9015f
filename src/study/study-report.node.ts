/**
 * The report of a study out of what its parts left behind: the comparison, the commentary, report.json and the page.
 * The same parts give the same report, whenever and how often it is made.
 */
import { join } from 'node:path'
import type { LoadedFashionMnist } from '../data/fashion-mnist.node.ts'
import type { EpochLogs } from '../nn/contract.ts'
import { type PretrainedName, pretrained } from '../nn/models/pretrained.ts'
import { type CrossValidationFigures, commentary, compareModels, type MeasuredModel } from './comparison.ts'
import { readEda } from './eda.node.ts'
import { usedParameters } from './features.ts'
import { writeReport, writeRunFile } from './run-folder.node.ts'
import { readPredictions, type StudyConfig, studyFiles } from './study-folder.node.ts'
import { partTitles, studyParts } from './study-plan.ts'
import { type LenetFinal, resultOf, type StudyOutcomes, type StudyReport, type TransferFinal } from './study-result.ts'

export interface FinishedStudy {
  readonly report: StudyReport
  readonly folder: string
  /** The report's page. */
  readonly page: string
}

/** Throws WeftgradError 'file' or 'format' where a part's files are gone or damaged. */
export async function reportStudy(
  folder: string,
  config: StudyConfig,
  { published, train, test }: LoadedFashionMnist,
  parts: StudyOutcomes,
): Promise<FinishedStudy> {
  const models = await measuredModels(folder, parts)
  const comparison = models.length === 0 ? null : compareModels(models)
  const { startedAt, settings: plan, adapter, versions } = config
  const report: StudyReport = {
    startedAt,
    finishedAt: studyParts.reduce((latest, part) => {
      const outcome = parts[part]
      return outcome.state === 'done' && outcome.finishedAt > latest ? outcome.finishedAt : latest
    }, startedAt),
    plan,
    data: { published, train: train.count, test: test.count },
    adapter,
    versions,
    parts,
    comparison,
    commentary:
      comparison === null ? [] : commentary(comparison, { quick: plan.quick, crossval: crossValidationOf(parts) }),
  }
  const pictures = parts.eda.state === 'done' ? (await readEda(join(folder, 'eda'))).pictures : null
  // Loaded only now: the plotting library takes half a second of a processor.
  const { renderReport } = await import('./report/page.ts')
  const page = join(folder, studyFiles.page)
  await writeRunFile(page, renderReport(report, pictures))
  await writeReport(folder, report)
  return { report, folder, page }
}

function crossValidationOf(parts: StudyOutcomes): CrossValidationFigures | undefined {
  const crossval = resultOf(parts, 'crossval')
  if (crossval === undefined) return undefined
  const carried = crossval.carryOver ?? null
  return {
    folds: crossval.settings.folds,
    honest: crossval.honest.accuracy,
    carried: carried === null ? null : { mean: carried.accuracy.mean, test: carried.test.accuracy },
  }
}

async function measuredModels(folder: string, parts: StudyOutcomes): Promise<MeasuredModel[]> {
  const models: MeasuredModel[] = []
  for (const part of ['lenet-seed', 'lenet-best'] as const) {
    const final = resultOf(parts, part)
    if (final !== undefined)
      models.push({ ...lenetFigures(final), predictions: await readPredictions(join(folder, part)) })
  }
  for (const part of ['vgg16', 'xception', 'resnet152v2'] as const) {
    const final = resultOf(parts, part)
    if (final !== undefined)
      models.push({ ...transferFigures(part, final), predictions: await readPredictions(join(folder, part)) })
  }
  return models
}

function lenetFigures({ recipe, report, trainImages }: LenetFinal) {
  const seconds = sumOf(report.history)
  return {
    id: `lenet-${recipe}` as const,
    name: partTitles[`lenet-${recipe}`],
    parameters: report.parameters,
    trainedParameters: report.parameters,
    inputSize: 28,
    layers: [],
    meaningless: false,
    trainImages,
    epochs: report.epochs,
    seconds,
    imagesPerSecond: (trainImages * report.epochs) / seconds,
    test: report.test,
  }
}

function transferFigures(id: PretrainedName, { report, trainedParameters }: TransferFinal) {
  const { features, images, history } = report
  const network = pretrained[id].build({ size: report.size })
  return {
    id,
    name: partTitles[id],
    parameters: usedParameters(network, report.layers) + report.parameters,
    trainedParameters,
    inputSize: report.size,
    layers: report.layers,
    meaningless: report.meaningless,
    trainImages: images.train,
    epochs: report.epochs,
    // What the model cost, whichever run computed its features.
    seconds: sumOf(history) + (features.computeSeconds ?? features.seconds),
    imagesPerSecond: features.computeSeconds === null ? null : features.count / features.computeSeconds,
    test: report.test,
  }
}

function sumOf(history: readonly EpochLogs[]): number {
  return history.reduce((sum, { seconds }) => sum + seconds, 0)
}
