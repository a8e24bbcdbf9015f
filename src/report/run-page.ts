/** The page of a single run, from the same sections as a study's: a training, transfer learning, a cross-validation, a search. */
import type { CrossValidationResult } from '../crossval/result.ts'
import { count, duration, listed, percent, points, setting } from '../numbers.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import { imagesIn, type TestPicture } from '../runs/test-report.ts'
import type { Versions } from '../runs/versions.ts'
import type { SearchResult } from '../search/result.ts'
import { largest, wilsonInterval } from '../statistics.ts'
import type { Task } from '../tasks/task.ts'
import type { TrainReport } from '../train/result.ts'
import type { TransferReport } from '../transfer/result.ts'
import { zoo, zooNames } from '../weights/zoo.ts'
import { beside, facts, paragraphs, plot, toCopy } from './blocks.ts'
import { crossvalSection } from './crossval-section.ts'
import { type DocumentSection, day, minute, renderDocument } from './document.ts'
import { type Html, html, nothing } from './html.ts'
import { classTable, modelResults } from './model-results.ts'
import { readings } from './readings.ts'
import { type TestedModel, trainedModel, transferModel } from './tested-model.ts'
import { tuningSection } from './tuning-section.ts'

/** A finished run, by its kind. */
export type FinishedRun =
  | { readonly kind: 'training'; readonly report: TrainReport; readonly pictures: readonly TestPicture[] }
  | { readonly kind: 'transfer'; readonly report: TransferReport; readonly pictures: readonly TestPicture[] }
  | { readonly kind: 'cross-validation'; readonly report: CrossValidationResult }
  | { readonly kind: 'search'; readonly report: SearchResult }

/** What a run's configuration says about its origin. */
export interface RunOrigin {
  /** In ISO 8601. */
  readonly startedAt: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly data: { readonly train: number; readonly test: number; readonly duplicates: number }
  readonly adapter: { readonly driver: string; readonly hardware: boolean }
  readonly versions: Versions
}

interface RunPage {
  readonly title: string
  /** What was done, for a reader who never saw the project. */
  readonly what: string
  readonly result: string
  /** How sure the result is. */
  readonly sure: string
  readonly warning?: string
  readonly sections: readonly DocumentSection[]
}

export function renderRun(run: FinishedRun, origin: RunOrigin, task: Task): string {
  const { title, what, result, sure, warning, sections } = pageOf(run, task)
  const made = `weftgrad ${origin.versions.weftgrad}, ${day(origin.startedAt)}, ${origin.adapter.driver}`
  const summary = html`${warning === undefined ? nothing : html`<p class="warning">${warning}</p>`}
<p class="lead"><strong>${result}</strong></p>
${paragraphs([html`<strong>What was done?</strong> ${what}`, html`<strong>How sure is that?</strong> ${sure}`])}
${toCopy([`${title}.`, ...(warning === undefined ? [] : [warning]), result, sure, `(${made})`])}
`
  return renderDocument({
    title,
    origin: `A run of ${made}`,
    sections: [
      { id: 'summary', title: 'Summary', content: summary },
      ...sections,
      { id: 'method', title: 'How this was made', content: methodBlock(origin, task) },
    ],
    footer:
      "Every number was computed by weftgrad's WebGPU kernels. The same figures are in report.json beside this page.",
  })
}

function pageOf(run: FinishedRun, task: Task): RunPage {
  switch (run.kind) {
    case 'training':
      return trainingPage(run.report, run.pictures, task)
    case 'transfer':
      return transferPage(run.report, run.pictures, task)
    case 'cross-validation':
      return crossvalPage(run.report, task)
    case 'search':
      return searchPage(run.report, task)
  }
}

function trainingPage(report: TrainReport, pictures: readonly TestPicture[], task: Task): RunPage {
  const { network, data } = task
  const { parameters, epochs, history } = report
  return {
    title: `${network.title} on ${data.title}`,
    what: `${network.title}, a network of ${count(parameters)} parameters, learned to tell ${classesText(task)} apart in ${epochs} epochs, that is, passes over the training images, which took ${duration(secondsOf(history))}; then it was tested on images that it had never seen.`,
    ...testText(network.title, report),
    sections: testedSections(trainedModel(network.title, report, pictures)),
  }
}

function transferPage(report: TransferReport, pictures: readonly TestPicture[], task: Task): RunPage {
  const published = zooNames.find((name) => name === report.model)
  const title = published === undefined ? report.model : zoo[published].title
  const kind = published === undefined ? 'a trained network' : 'a network trained on photographs'
  const { layers, features, images, epochs, meaningless } = report
  return {
    title: `${title} features of ${task.data.title}`,
    what: `${title}, ${kind}, turned each image into ${count(features.width)} numbers, its features (from ${listed(layers)}); from those of ${count(images.train)} images, a small network learned to tell ${classesText(task)} apart in ${epochs} epochs, and was then tested on images that it had never seen.`,
    ...testText(title, report),
    ...(meaningless ? { warning: 'The network had made-up weights: these figures mean nothing.' } : {}),
    sections: testedSections(transferModel(title, report, pictures)),
  }
}

function crossvalPage(result: CrossValidationResult, task: Task): RunPage {
  const { honest, settings, images } = result
  const { title } = task.network
  const lowest = Math.min(...honest.folds.map(({ accuracy }) => accuracy))
  return {
    title: `Cross-validation of ${title} on ${task.data.title}`,
    what: `${count(images.count)} training images were split into ${settings.folds} parts; ${title} learned to tell ${classesText(task)} apart ${settings.folds} times, each time without one of the parts, on which it was then tested.`,
    result: `${title} has an accuracy of ${percent(honest.accuracy.mean)} ± ${percent(honest.accuracy.standardDeviation)}, the mean and standard deviation over ${settings.folds} folds.`,
    sure: `The folds range from ${percent(lowest)} to ${percent(largest(honest.folds.map(({ accuracy }) => accuracy)))}. They share most of their training images, so their deviation understates what other images would change; the test images were not used to choose anything.`,
    sections: [{ id: 'crossval', title: 'Cross-validation', content: crossvalSection(result, false, task) }],
  }
}

function searchPage(search: SearchResult, task: Task): RunPage {
  const { best, bestInterval, trials, images } = search
  const { title } = task.network
  const point = Object.entries(best.hyperparameters).map(([name, value]) => `${name} ${setting(value)}`)
  return {
    title: `Hyperparameters of ${title} on ${task.data.title}`,
    what: `${trials.length} settings of ${title} were tried, each by training on ${count(images.train)} images and scoring on ${count(images.validation)} others.`,
    result: `The best settings, ${listed(point)}, reach a validation accuracy of ${percent(best.score.accuracy)}.`,
    sure: `Its 95 % confidence interval is ${percent(bestInterval.low)} to ${percent(bestInterval.high)}. As the best of many, the score is somewhat too high: only test images, which were not used here, give a fair one.`,
    sections: [{ id: 'tuning', title: 'Tuning', content: tuningSection(search) }],
  }
}

function classesText({ data }: Task): string {
  return `${data.classNames.length} classes of ${data.things} (${data.title})`
}

/** The test's result, and how sure it is, in words. */
function testText(name: string, report: TrainReport | TransferReport): Pick<RunPage, 'result' | 'sure'> {
  const { test, perClass, calibration } = report
  const images = imagesIn(report)
  const { low, high } = wilsonInterval(Math.round(test.accuracy * images), images)
  const guessing = largest(perClass.map(({ support }) => support)) / images
  const gap = calibration === undefined ? 0 : calibration.confidence - test.accuracy
  const claims =
    calibration === undefined
      ? ''
      : ` On average it claims to be right with a probability ${points(gap)} ${gap > 0 ? 'above' : 'below'} what it achieves.`
  return {
    result: `${name} is right on ${percent(test.accuracy)} of ${count(images)} test images; always guessing the most frequent class would be right on ${percent(guessing)}.`,
    sure: `The 95 % confidence interval is ${percent(low)} to ${percent(high)}: where the accuracy on other images of the same kind plausibly lies. It covers other images, not another training: a different seed gives a somewhat different model.${claims}`,
  }
}

function testedSections(model: TestedModel): DocumentSection[] {
  const { name, history, bestEpoch, report } = model
  const run = [{ name, epochs: history, bestEpoch }]
  const curves = beside(
    plot(trainingCurves(run, 'loss'), `Loss. ${readings.loss}`),
    plot(trainingCurves(run, 'accuracy'), `Accuracy. ${readings.accuracy}`),
  )
  return [
    { id: 'training', title: 'Training', content: curves },
    { id: 'classes', title: 'Classes', content: classTable(report) },
    { id: 'test', title: 'Test results', content: modelResults(model, 3) },
  ]
}

function methodBlock({ startedAt, settings, data, adapter, versions }: RunOrigin, task: Task): Html {
  const chosen = Object.entries(settings).filter(([, value]) => value !== null && typeof value !== 'object')
  return html`${facts([
    ['Adapter', `${adapter.driver} (${adapter.hardware ? 'hardware' : 'software, on the CPU'})`],
    [
      'Versions',
      `weftgrad ${versions.weftgrad}, Dawn (webgpu) ${versions.webgpu}, Node.js ${versions.node}, ${versions.platform}`,
    ],
    ['Data', `${task.data.title}: ${count(data.train)} training and ${count(data.test)} test images`],
    ...(data.duplicates > 0 ? ([['Left out', `${count(data.duplicates)} exact duplicates`]] as const) : []),
    ['Settings', chosen.map(([name, value]) => `${name} ${setting(value)}`).join(', ')],
    ['Started', minute(startedAt)],
  ])}
${paragraphs(["The same settings and seed on the same adapter give the same figures. 95 % confidence intervals are Wilson's (1927)."])}
`
}

function secondsOf(history: readonly { readonly seconds: number }[]): number {
  return history.reduce((sum, { seconds }) => sum + seconds, 0)
}
