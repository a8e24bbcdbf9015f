/**
 * The report: one HTML file that needs no network, for any screen width, light or dark, and for print.
 *
 * Promises: data is escaped; no number is NaN, undefined or infinite; the page has no script and loads nothing.
 */

import type { Eda } from '../explore/explore.ts'
import { count, duration, listed, percent } from '../numbers.ts'
import { modelComparison } from '../plots/model-comparison.ts'
import { imagesIn, type TestReport } from '../runs/test-report.ts'
import { recipeNames } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { facts, paragraphs, plot, section, skipped, table } from './blocks.ts'
import { levelText, sureText } from './commentary.ts'
import { type ComparedModel, type Comparison, rankedOf } from './comparison.ts'
import { comparisonSection } from './comparison-section.ts'
import { crossvalSection } from './crossval-section.ts'
import { dataSection } from './data-section.ts'
import { type Content, type Html, html, nothing, trusted } from './html.ts'
import { networkParts, partTitle, type StudyPart, studyParts } from './parts.ts'
import { type PartOutcome, resultOf, type StudyReport, type TrainedFinal } from './study-report.ts'
import { style } from './style.ts'
import { trainedSection } from './trained-section.ts'
import { transferSection } from './transfer-section.ts'
import { tuningSection } from './tuning-section.ts'

/** Ids and titles of the sections, in order. */
function sectionsOf({ network }: PublishedTask) {
  return [
    ['summary', 'Summary'],
    ['data', 'The data'],
    ['tuning', 'Tuning'],
    ['crossval', 'Cross-validation'],
    [network.word, `The final ${network.title}`],
    ['transfer', 'Pretrained networks'],
    ['comparison', 'Comparison'],
    ['method', 'How this was made'],
  ] as const
}

export interface PageContext {
  readonly task: PublishedTask
  /** Pictures of the data exploration; null if it is not part of the study. */
  readonly pictures: Eda['pictures'] | null
  /** The command that runs the study again. */
  readonly command: string
}

export function renderReport(report: StudyReport, { task, pictures, command }: PageContext): string {
  const { parts } = report
  const { network, data } = task
  const title = `${data.title}: ${network.title} from scratch vs. pretrained networks`
  const sections = sectionsOf(task)
  const titleOf = (id: string): string => sections.find(([one]) => one === id)?.[1] ?? id
  const made = <Result>(outcome: PartOutcome<Result>, render: (result: Result) => Html): Html =>
    outcome.state === 'done' ? render(outcome.result) : skipped(outcome.reason)
  const finals = recipeNames.flatMap((part): TrainedFinal[] => {
    const outcome = parts[part]
    return outcome.state === 'done' ? [outcome.result] : []
  })
  const networks = networkParts(task).flatMap((part) => {
    const outcome = parts[part]
    if (outcome === undefined) return []
    return [{ title: partTitle(task, part), outcome: outcome.state === 'done' ? outcome.result : outcome.reason }]
  })
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${trusted(style)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p class="quiet">A study by weftgrad ${report.versions.weftgrad}, ${day(report.finishedAt)}, on ${report.adapter.driver}</p>
<nav aria-label="Sections"><ul>${sections.map(([id, text]) => html`<li><a href="#${id}">${text}</a></li>`)}</ul></nav>
</header>
<main>
${section('summary', titleOf('summary'), summary(report, task))}
${section(
  'data',
  titleOf('data'),
  made(parts.eda, (result) => (pictures === null ? nothing : dataSection({ result, pictures }, task))),
)}
${section('tuning', titleOf('tuning'), made(parts.tune, tuningSection))}
${section(
  'crossval',
  titleOf('crossval'),
  made(parts.crossval, (result) => crossvalSection(result, parts.tune.state === 'done', task)),
)}
${section(
  network.word,
  titleOf(network.word),
  trainedSection(finals, task),
  ...recipeNames.map((part) => {
    const outcome = parts[part]
    return outcome.state === 'done' ? nothing : skipped(`${partTitle(task, part)}: ${outcome.reason}`)
  }),
)}
${section('transfer', titleOf('transfer'), transferSection(networks, task))}
${section(
  'comparison',
  titleOf('comparison'),
  report.comparison === null
    ? skipped('No model was trained, so there is nothing to compare.')
    : comparisonSection(report.comparison, report.commentary, task),
)}
${section('method', titleOf('method'), method(report, task, command))}
</main>
<footer class="quiet"><p>Every number was computed by weftgrad's WebGPU kernels. The same figures are in report.json beside this page.</p></footer>
</body>
</html>
`
  return page.text
}

function summary(report: StudyReport, task: PublishedTask): Html {
  const { comparison, parts, plan, adapter, data } = report
  const [first, second] = comparison === null ? [] : rankedOf(comparison.models)
  const networks = networkParts(task).filter((part) => parts[part]?.state === 'done')
  const { source, testImages } = task.published
  const did = [
    ...(parts.eda.state === 'done' ? ['explored the data'] : []),
    ...(parts.tune.state === 'done' ? [`tried ${resultOf(parts, 'tune')?.trials.length} sets of hyperparameters`] : []),
    ...(parts.crossval.state === 'done' ? ['cross-validated the best of them'] : []),
    ...(parts.seed.state === 'done' || parts.best.state === 'done'
      ? [`trained the final ${task.network.title} from scratch`]
      : []),
    ...(networks.length > 0
      ? [`trained heads on the frozen features of ${listed(networks.map((part) => partTitle(task, part)))}`]
      : []),
  ]
  return html`${plan.quick ? html`<p class="warning"><strong>A quick study</strong>, on a part of the data and for a few epochs: it shows that everything works. Do not quote its numbers.</p>` : nothing}
<p class="lead">${winnerLead(report, first)}</p>
<dl class="tiles">
${bestTile(comparison, first)}
${tile('Highest test accuracy', percent(first?.test.accuracy), first === undefined ? '' : `95 % confidence interval ${percent(first.interval.low)} to ${percent(first.interval.high)}`)}
${tile('Adapter', adapter.hardware ? 'Hardware' : 'Software, on the CPU', adapter.driver)}
${tile('Time', duration(secondsOf(report, task)), plan.limit === null ? `${count(data.train)} training and ${count(data.test)} test images` : `the first ${count(plan.limit)} training images`)}
</dl>
${paragraphs([
  `The ${task.data.things} of ${task.data.title}, images of ${task.data.image.height}x${task.data.image.width} pixels in ${task.data.classNames.length} classes, are classified by a small network trained from scratch (${task.network.title}), and by large networks pretrained on photographs (${listed(networkParts(task).map((part) => partTitle(task, part)))}). A published ${source} did this study; this is a repetition with every number recomputed. ${did.length === 0 ? '' : `weftgrad ${listed(did)}.`}`,
  ...(comparison === null || first === undefined || second === undefined
    ? []
    : [html`<strong>How sure is that?</strong> ${sureText(comparison, first, second)}`]),
])}
${
  comparison === null || comparison.models.length === 0
    ? nothing
    : plot(
        modelComparison({
          models: [...comparison.models]
            .sort((a, b) => b.test.accuracy - a.test.accuracy)
            .map(({ name, test, interval, notebook }) => ({
              name,
              accuracy: test.accuracy,
              low: interval.low,
              high: interval.high,
              ...(notebook === null ? {} : { reference: notebook }),
            })),
          referenceName: source,
        }),
        `Test accuracy of each model with its 95 % confidence interval, on ${count(first?.testImages)} images, and what the ${source} reported on ${count(testImages)}.`,
      )
}
${table(
  'Parts of the study',
  [{ title: 'Part' }, { title: 'Outcome' }, { title: 'Time', numeric: true }],
  studyParts(task).map((part) => ({ cells: [partTitle(task, part), ...outcomeOf(report, part)] })),
)}
`
}

function winnerLead(report: StudyReport, first: ComparedModel | undefined): Content {
  if (first === undefined) return 'No model of this study was tested.'
  const { comparison } = report
  const baseline = comparison?.models.find(({ id }) => id === comparison.baseline)
  if (comparison !== null && comparison.leaders.length > 1)
    return html`<strong>${levelText(comparison)}</strong> ${first.name} has the highest accuracy: ${percent(first.test.accuracy)} on ${count(first.testImages)} test images.`
  const beside =
    baseline === undefined || baseline.id === first.id
      ? ''
      : ` ${baseline.name} has ${percent(baseline.test.accuracy)}.`
  return html`<strong>${first.name}</strong> is the most accurate: ${percent(first.test.accuracy)} on ${count(first.testImages)} test images.${beside}`
}

function bestTile(comparison: Comparison | null, first: ComparedModel | undefined): Html {
  if (comparison === null || first === undefined) return tile('Best model', 'none', '')
  if (comparison.leaders.length > 1) return tile('Best model', 'undecided', levelText(comparison))
  return tile('Best model', first.name, `${count(first.parameters)} parameters in use`)
}

function tile(name: string, value: string, more: string): Html {
  return html`<div><dt>${name}</dt><dd>${value}<small>${more}</small></dd></div>
`
}

function outcomeOf({ parts }: StudyReport, part: StudyPart): [string, string] {
  const outcome = parts[part]
  if (outcome === undefined) return ['', '']
  if (outcome.state === 'skipped') return [outcome.reason, '']
  const seconds = duration(outcome.seconds)
  return [figureOf(parts, part), outcome.resumed ? `${seconds} after it was resumed` : seconds]
}

/** A part's main result. */
function figureOf(parts: StudyReport['parts'], part: StudyPart): string {
  switch (part) {
    case 'eda': {
      const sets = resultOf(parts, part)?.sets ?? []
      return `${listed(sets.map(({ name, rows }) => `${count(rows)} images in ${name}`))}`
    }
    case 'tune': {
      const search = resultOf(parts, part)
      return `best of ${search?.trials.length} trials: validation accuracy ${percent(search?.best.score.accuracy)}`
    }
    case 'crossval': {
      const { honest } = resultOf(parts, part) ?? {}
      return `accuracy ${percent(honest?.accuracy.mean)} ± ${percent(honest?.accuracy.standardDeviation)}`
    }
    default:
      return testFigure(resultOf(parts, part)?.report)
  }
}

function testFigure(report: Pick<TestReport, 'test' | 'confusion'> | undefined): string {
  if (report === undefined) return ''
  return `test accuracy ${percent(report.test.accuracy)} on ${count(imagesIn(report))} images`
}

function secondsOf({ parts }: StudyReport, task: PublishedTask): number {
  return studyParts(task).reduce((sum, part) => {
    const outcome = parts[part]
    return sum + (outcome?.state === 'done' ? outcome.seconds : 0)
  }, 0)
}

function method(
  { adapter, versions, plan, data, startedAt, finishedAt }: StudyReport,
  task: PublishedTask,
  command: string,
): Html {
  const limit = plan.limit === null ? 'all' : `the first ${count(plan.limit)}`
  const transfer =
    plan.transfer.limitTrain === null
      ? 'all training images'
      : `the first ${count(plan.transfer.limitTrain)} training images`
  return html`${facts([
    ['Adapter', `${adapter.driver} (${adapter.hardware ? 'hardware' : 'software, on the CPU'})`],
    [
      'Versions',
      `weftgrad ${versions.weftgrad}, Dawn (webgpu) ${versions.webgpu}, Node.js ${versions.node}, ${versions.platform}`,
    ],
    [
      'Data',
      `${data.published ? `${task.data.title} as published` : `not the published ${task.data.title}`}: ${count(data.train)} training and ${count(data.test)} test images`,
    ],
    ['Images', `${task.network.title}: ${limit}; pretrained networks: ${transfer}`],
    ['Seed', String(plan.seed)],
    ['Started, finished', `${time(startedAt)}, ${time(finishedAt)}`],
  ])}
${paragraphs([
  html`The same seed on the same adapter gives the same figures: <code>${command}</code>.`,
  '95 % confidence intervals (Wilson 1927) give plausible values of the true accuracy. McNemar (1947) compares two models on the same images by those that only one of them gets right; Holm (1979) keeps the error rate of several such tests together at 5 %.',
  'The test images decided nothing: hyperparameters, epochs and layers were chosen on validation images, a part of the published training images.',
])}
`
}

function day(iso: string): string {
  return iso.slice(0, 10)
}

function time(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
}
