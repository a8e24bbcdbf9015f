/** The study in a minute, for a reader who never saw the project: what was done, what came out, how sure that is. */
import { clock, count, duration, listed, percent } from '../numbers.ts'
import { modelComparison } from '../plots/model-comparison.ts'
import { imagesIn, type TestReport } from '../runs/test-report.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { paragraphs, plot, subtitle, type TableRow, table, toCopy } from './blocks.ts'
import { levelText, quickStudyText, sureText } from './commentary.ts'
import { type ComparedModel, type Comparison, pairOf, rankedOf } from './comparison.ts'
import { day } from './document.ts'
import { type Html, html, nothing } from './html.ts'
import { networkParts, partTitle, type StudyPart, studyParts } from './parts.ts'
import { publishedStudyText } from './published-text.ts'
import { readings } from './readings.ts'
import { resultOf, type StudyReport } from './study-report.ts'

const pText =
  'Here p is how probable a split at least this uneven would be if both were equally good; a lead counts as significant if it is below 5 %.'

export function summarySection(report: StudyReport, task: PublishedTask): Html {
  const { comparison, plan, adapter, data } = report
  const [first, second] = comparison === null ? [] : rankedOf(comparison.models)
  const what = whatText(report, task)
  const result = resultText(comparison, first)
  const sure =
    comparison === null || first === undefined || second === undefined ? [] : [sureText(comparison, first, second)]
  const isTested = comparison !== null && pairOf(comparison, first?.id ?? '', second?.id ?? '') !== undefined
  return html`${plan.quick ? html`<p class="warning">${quickStudyText}</p>` : nothing}
<p class="lead"><strong>${result}</strong></p>
<dl class="tiles">
${bestTile(comparison, first)}
${tile('Highest test accuracy', percent(first?.test.accuracy), first === undefined ? '' : `95 % confidence interval ${percent(first.interval.low)} to ${percent(first.interval.high)}`)}
${tile('Adapter', adapter.hardware ? 'Hardware' : 'Software, on the CPU', adapter.driver)}
${tile('Time', duration(partsSeconds(report, task)), plan.limit === null ? `${count(data.train)} training and ${count(data.test)} test images` : `the first ${count(plan.limit)} training images`)}
</dl>
${paragraphs([
  html`<strong>What was done?</strong> ${what}`,
  ...sure.map((text) => html`<strong>How sure is that?</strong> ${text}${isTested ? ` ${pText}` : ''}`),
])}
${comparison === null || comparison.models.length === 0 ? nothing : accuracyPlot(comparison, first, task)}
${toCopy([...(plan.quick ? [quickStudyText] : []), result, ...sure, `(${task.data.title}; weftgrad ${report.versions.weftgrad}, ${day(report.finishedAt)}, ${adapter.driver})`])}
${subtitle(`The published ${task.published.source}`)}
${paragraphs([publishedStudyText(report, task).join(' ')])}
${partsTable(report, task)}
`
}

function whatText({ parts, plan }: StudyReport, task: PublishedTask): string {
  const { data, network, published } = task
  const networks = networkParts(task).filter((part) => parts[part]?.state === 'done')
  const did = [
    ...(parts.eda.state === 'done' ? ['explored the data'] : []),
    ...(parts.tune.state === 'done' ? [`tried ${resultOf(parts, 'tune')?.trials.length} sets of hyperparameters`] : []),
    ...(parts.crossval.state === 'done' ? ['cross-validated the best of them'] : []),
    ...(parts.seed.state === 'done' || parts.best.state === 'done'
      ? [`trained the final ${network.title} from scratch`]
      : []),
    ...(networks.length > 0
      ? [`trained heads on the frozen features of ${listed(networks.map((part) => partTitle(task, part)))}`]
      : []),
  ]
  const images =
    plan.limit === null
      ? `${count(published.trainImages)} small pictures`
      : `${count(plan.limit)} of ${count(published.trainImages)} small pictures`
  return [
    `A computer learned to tell ${data.classNames.length} kinds of ${data.things} apart from ${images}, ${data.title}'s, of ${data.image.height}x${data.image.width} pixels each, and was then tested on pictures that it had never seen.`,
    `The question is whether a small network that learns from these pictures alone (${network.title}) keeps up with large networks that learned from photographs first (${listed(networkParts(task).map((part) => partTitle(task, part)))}); a published ${published.source} asked it before.`,
    ...(did.length === 0 ? [] : [`weftgrad ${listed(did)}.`]),
  ].join(' ')
}

function resultText(comparison: Comparison | null, first: ComparedModel | undefined): string {
  if (comparison === null || first === undefined) return 'No model of this study was tested.'
  const reached = `${percent(first.test.accuracy)} on ${count(first.testImages)} test images`
  if (comparison.leaders.length > 1)
    return `${levelText(comparison)} ${first.name} has the highest accuracy: ${reached}.`
  const baseline = comparison.models.find(({ id }) => id === comparison.baseline)
  const beside =
    baseline === undefined || baseline.id === first.id
      ? ''
      : ` ${baseline.name} has ${percent(baseline.test.accuracy)}.`
  return `${first.name} is the most accurate: ${reached}.${beside}`
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

function accuracyPlot({ models }: Comparison, first: ComparedModel | undefined, { published }: PublishedTask): Html {
  const { source, testImages } = published
  return plot(
    modelComparison({
      models: [...models]
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
    `Test accuracy of each model with its 95 % confidence interval, on ${count(first?.testImages)} images, and what the ${source} reported on ${count(testImages)}. ${readings.interval}`,
  )
}

/** The parts with their times, in whole seconds, so that they add up to the time between start and end. */
function partsTable(report: StudyReport, task: PublishedTask): Html {
  const rows = studyParts(task).map((part): TableRow => {
    const outcome = report.parts[part]
    const seconds = wholeSeconds(report, part)
    return {
      cells: [
        partTitle(task, part),
        outcome?.state === 'skipped' ? outcome.reason : figureOf(report.parts, part),
        outcome?.state === 'done' ? clock(seconds) : '',
      ],
    }
  })
  const all = partsSeconds(report, task)
  const span = Math.round((Date.parse(report.finishedAt) - Date.parse(report.startedAt)) / 1000)
  const resumed = studyParts(task).some((part) => {
    const outcome = report.parts[part]
    return outcome?.state === 'done' && outcome.resumed
  })
  const rest = resumed
    ? 'measuring the speed, loading data, and the time before the study was resumed'
    : 'measuring the speed, loading data, and pauses if the study was resumed'
  return table(
    'Parts of the study',
    [{ title: 'Part' }, { title: 'Outcome' }, { title: 'Time (h:mm:ss)', numeric: true }],
    [
      ...rows,
      { strong: true, cells: ['All parts', '', clock(all)] },
      ...(span >= all
        ? [
            { cells: ['Between the parts', rest, clock(span - all)] },
            { strong: true, cells: ['From start to end', '', clock(span)] },
          ]
        : []),
    ],
  )
}

function wholeSeconds({ parts }: StudyReport, part: StudyPart): number {
  const outcome = parts[part]
  return outcome?.state === 'done' ? Math.round(outcome.seconds) : 0
}

function partsSeconds(report: StudyReport, task: PublishedTask): number {
  return studyParts(task).reduce((sum, part) => sum + wholeSeconds(report, part), 0)
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
