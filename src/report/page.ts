/**
 * The report of a study, as one page. Promises, besides the document's: no number is NaN, undefined or infinite; what was
 * left out is named, with the reason.
 */
import type { Eda } from '../explore/explore.ts'
import { recipeNames } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { skipped } from './blocks.ts'
import { comparisonSection } from './comparison-section.ts'
import { crossvalSection } from './crossval-section.ts'
import { dataSection } from './data-section.ts'
import { day, renderDocument } from './document.ts'
import { type Html, html, nothing } from './html.ts'
import { methodSection } from './method-section.ts'
import { modelsSection } from './models-section.ts'
import { networkParts, partTitle } from './parts.ts'
import { type PartOutcome, resultOf, type StudyReport } from './study-report.ts'
import { summarySection } from './summary-section.ts'
import { type TestedModel, trainedModel, transferModel } from './tested-model.ts'
import { trainedSection } from './trained-section.ts'
import { transferSection } from './transfer-section.ts'
import { tuningSection } from './tuning-section.ts'

export interface PageContext {
  readonly task: PublishedTask
  /** Pictures of the data exploration; null if it is not part of the study. */
  readonly pictures: Eda['pictures'] | null
  /** The command that runs the study again. */
  readonly command: string
}

export function renderReport(report: StudyReport, { task, pictures, command }: PageContext): string {
  const { parts, comparison, commentary } = report
  const { network, data } = task
  const made = <Result>(outcome: PartOutcome<Result>, render: (result: Result) => Html): Html =>
    outcome.state === 'done' ? render(outcome.result) : skipped(outcome.reason)
  const finals = recipeNames.flatMap((part) => resultOf(parts, part) ?? [])
  const networks = networkParts(task).flatMap((part) => {
    const outcome = parts[part]
    if (outcome === undefined) return []
    return [{ title: partTitle(task, part), outcome: outcome.state === 'done' ? outcome.result : outcome.reason }]
  })
  const missing = recipeNames.map((part) => {
    const outcome = parts[part]
    return outcome.state === 'done' ? nothing : skipped(`${partTitle(task, part)}: ${outcome.reason}`)
  })
  return renderDocument({
    title: `${data.title}: ${network.title} from scratch vs. pretrained networks`,
    origin: `A study by weftgrad ${report.versions.weftgrad}, ${day(report.finishedAt)}, on ${report.adapter.driver}`,
    sections: [
      { id: 'summary', title: 'Summary', content: summarySection(report, task) },
      {
        id: 'data',
        title: 'The data',
        content: made(parts.eda, (result) => (pictures === null ? nothing : dataSection({ result, pictures }, task))),
      },
      { id: 'tuning', title: 'Tuning', content: made(parts.tune, tuningSection) },
      {
        id: 'crossval',
        title: 'Cross-validation',
        content: made(parts.crossval, (result) => crossvalSection(result, parts.tune.state === 'done', task)),
      },
      {
        id: network.word,
        title: `The final ${network.title}`,
        content: html`${trainedSection(finals, task)}${missing}`,
      },
      { id: 'transfer', title: 'Pretrained networks', content: transferSection(networks, task) },
      {
        id: 'comparison',
        title: 'Comparison',
        content:
          comparison === null
            ? skipped('No model was trained, so there is nothing to compare.')
            : comparisonSection(comparison, commentary, task),
      },
      { id: 'models', title: 'Every model', content: modelsSection(testedModels(report, task)) },
      { id: 'method', title: 'How this was made', content: methodSection(report, task, command) },
    ],
    footer:
      "Every number was computed by weftgrad's WebGPU kernels. The same figures are in report.json beside this page.",
  })
}

/** The trained models, in the order of the study. */
function testedModels({ parts }: StudyReport, task: PublishedTask): TestedModel[] {
  const own = recipeNames.flatMap((part) => {
    const final = resultOf(parts, part)
    return final === undefined ? [] : [trainedModel(partTitle(task, part), final.report, final.pictures)]
  })
  const pretrained = networkParts(task).flatMap((part) => {
    const final = resultOf(parts, part)
    return final === undefined ? [] : [transferModel(partTitle(task, part), final.report, final.pictures)]
  })
  return [...own, ...pretrained]
}
