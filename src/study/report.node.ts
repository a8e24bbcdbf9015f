/**
 * Makes the report of a study from its parts' files: the comparison, the commentary, report.json and the page. The same
 * parts always give the same report.
 */
import { join } from 'node:path'
import { readEda } from '../explore/explore.node.ts'
import type { EpochResult } from '../nn/contract.ts'
import { type PretrainedName, pretrained } from '../nn/models/pretrained.ts'
import { multiplyAdds } from '../nn/work.ts'
import { type CrossValidationFigures, commentary } from '../report/commentary.ts'
import { compareModels, type MeasuredModel } from '../report/comparison.ts'
import { networkParts, partName, partTitle, type StudyPart, studyParts } from '../report/parts.ts'
import {
  resultOf,
  type StudyOutcomes,
  type StudyPlan,
  type StudyReport,
  type TrainedFinal,
  type TransferFinal,
} from '../report/study-report.ts'
import type { LoadedData } from '../runs/data.ts'
import { type AnyConfig, writeRunFile } from '../runs/run-folder.node.ts'
import { recipeNames } from '../tasks/recipe.ts'
import { buildNetwork, type PublishedTask } from '../tasks/task.ts'
import { usedMultiplyAdds, usedParameters } from '../transfer/features.ts'
import { headModel } from '../transfer/model.ts'
import { readPredictions, studyFiles } from './folder.node.ts'
import { commandOf } from './plan.ts'

export interface FinishedStudy {
  readonly report: StudyReport
  readonly runDir: string
  /** The path of the report's page. */
  readonly page: string
}

/** Writes the report. Throws WeftgradError 'file' or 'format' if a part's files are missing or damaged. */
export async function reportStudy(
  task: PublishedTask,
  runDir: string,
  { config, plan }: { readonly config: AnyConfig; readonly plan: StudyPlan },
  { published, train, test }: LoadedData,
  parts: StudyOutcomes,
): Promise<FinishedStudy> {
  const models = await measuredModels(task, runDir, parts)
  const comparison = models.length === 0 ? null : compareModels(models, task)
  const { startedAt, adapter, versions } = config
  const report: StudyReport = {
    startedAt,
    finishedAt: studyParts(task).reduce((latest, part) => {
      const outcome = parts[part]
      return outcome?.state === 'done' && outcome.finishedAt > latest ? outcome.finishedAt : latest
    }, startedAt),
    plan,
    data: { published: published === true, train: train.count, test: test.count },
    adapter,
    versions,
    parts,
    comparison,
    commentary:
      comparison === null
        ? []
        : commentary(comparison, task, { quick: plan.quick, crossval: crossValidationOf(parts) }),
  }
  const pictures = parts.eda.state === 'done' ? (await readEda(join(runDir, 'eda'))).pictures : null
  // Loaded late: the plotting library takes half a second to load.
  const { renderReport } = await import('../report/page.ts')
  const page = join(runDir, studyFiles.page)
  await writeRunFile(page, renderReport(report, { task, pictures, command: commandOf(plan, task) }))
  return { report, runDir, page }
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

async function measuredModels(task: PublishedTask, folder: string, parts: StudyOutcomes): Promise<MeasuredModel[]> {
  const models: MeasuredModel[] = []
  const predictionsOf = (part: StudyPart) => readPredictions(join(folder, partName(task, part)))
  for (const part of recipeNames) {
    const final = resultOf(parts, part)
    if (final !== undefined) models.push({ ...trainedFigures(task, final), predictions: await predictionsOf(part) })
  }
  for (const part of networkParts(task)) {
    const final = resultOf(parts, part)
    if (final !== undefined)
      models.push({ ...transferFigures(task, part, final), predictions: await predictionsOf(part) })
  }
  return models
}

function trainedFigures(task: PublishedTask, { recipe, report, units, trainImages, repeats = [] }: TrainedFinal) {
  const seconds = sumOf(report.history)
  const { train, recipe: how } = task.recipes[recipe]
  const passes = how.flipAverage ? 2 : 1
  return {
    id: partName(task, recipe),
    name: partTitle(task, recipe),
    parameters: report.parameters,
    trainedParameters: report.parameters,
    multiplyAdds: passes * multiplyAdds(buildNetwork(task, { units }, train.seed).layers),
    inputSize: task.data.image.height,
    layers: [],
    meaningless: false,
    trainImages,
    epochs: report.epochs,
    seconds,
    imagesPerSecond: (trainImages * report.epochs) / seconds,
    otherSeeds: repeats.map(({ test }) => test.accuracy),
    test: report.test,
  }
}

function transferFigures(
  task: PublishedTask,
  id: PretrainedName,
  { report, trainedParameters, repeats = [] }: TransferFinal,
) {
  const { features, images, history } = report
  const network = pretrained[id].build({ size: report.size })
  const settings = { head: report.head, dropout: 0, seed: 1 }
  const head = headModel(id, features.width, task.data.classNames.length, settings)
  return {
    id,
    name: partTitle(task, id),
    parameters: usedParameters(network, report.layers) + report.parameters,
    trainedParameters,
    multiplyAdds: usedMultiplyAdds(network, report.layers) + multiplyAdds(head.layers),
    inputSize: report.size,
    layers: report.layers,
    meaningless: report.meaningless,
    trainImages: images.train,
    epochs: report.epochs,
    // The model's cost, in whichever run its features were computed.
    seconds: sumOf(history) + (features.computeSeconds ?? features.seconds),
    imagesPerSecond: features.computeSeconds === null ? null : features.count / features.computeSeconds,
    otherSeeds: repeats.map(({ test }) => test.accuracy),
    test: report.test,
  }
}

function sumOf(history: readonly EpochResult[]): number {
  return history.reduce((sum, { seconds }) => sum + seconds, 0)
}
