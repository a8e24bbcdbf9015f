/**
 * The report: one HTML file that needs no network, for a screen of any width, light or dark, and for paper.
 *
 * Promises: what comes from data is escaped; no figure is NaN, undefined or infinite; no script, and nothing is loaded.
 */
import { type ComparedModel, type Comparison, levelText, notebookImages, rankedOf, sureText } from '../comparison.ts'
import type { Eda } from '../eda.ts'
import { modelComparison } from '../plots/model-comparison.ts'
import { fullPlan, partTitles, quickPlan, type StudyPart, type StudyPlan, studyParts } from '../study-plan.ts'
import { type LenetFinal, type PartOutcome, resultOf, type StudyReport } from '../study-result.ts'
import type { TestReport } from '../train-report.node.ts'
import { facts, paragraphs, plot, section, skipped, table } from './blocks.ts'
import { comparisonSection } from './comparison-section.ts'
import { crossvalSection } from './crossval-section.ts'
import { dataSection } from './data-section.ts'
import { type Content, type Html, html, nothing, trusted } from './html.ts'
import { lenetSection } from './lenet-section.ts'
import { count, duration, imagesIn, listed, percent } from './numbers.ts'
import { style } from './style.ts'
import { transferSection } from './transfer-section.ts'
import { tuningSection } from './tuning-section.ts'

const title = 'Fashion-MNIST: a LeNet-5 of its own against pretrained networks'

const sections = [
  ['summary', 'In a minute'],
  ['data', 'The data'],
  ['tuning', 'Tuning'],
  ['crossval', 'Cross-validation'],
  ['lenet', 'The final LeNet-5'],
  ['transfer', 'Pretrained networks'],
  ['comparison', 'Comparison'],
  ['method', 'How this was made'],
] as const

/** @param pictures those of the look at the data; null where that is not part of the study. */
export function renderReport(report: StudyReport, pictures: Eda['pictures'] | null): string {
  const { parts } = report
  const titleOf = (id: (typeof sections)[number][0]): string => sections.find(([one]) => one === id)?.[1] ?? id
  const made = <Result>(outcome: PartOutcome<Result>, render: (result: Result) => Html): Html =>
    outcome.state === 'done' ? render(outcome.result) : skipped(outcome.reason)
  const lenets = (['lenet-seed', 'lenet-best'] as const).flatMap((part): LenetFinal[] => {
    const outcome = parts[part]
    return outcome.state === 'done' ? [outcome.result] : []
  })
  const networks = (['vgg16', 'xception', 'resnet152v2'] as const).map((part) => {
    const outcome = parts[part]
    return {
      title: partTitles[part],
      outcome: outcome.state === 'done' ? outcome.result : outcome.reason,
    }
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
${section('summary', titleOf('summary'), summary(report))}
${section(
  'data',
  titleOf('data'),
  made(parts.eda, (result) => (pictures === null ? nothing : dataSection({ result, pictures }))),
)}
${section('tuning', titleOf('tuning'), made(parts.tune, tuningSection))}
${section(
  'crossval',
  titleOf('crossval'),
  made(parts.crossval, (result) => crossvalSection(result, parts.tune.state === 'done')),
)}
${section(
  'lenet',
  titleOf('lenet'),
  lenetSection(lenets),
  ...(['lenet-seed', 'lenet-best'] as const).map((part) => {
    const outcome = parts[part]
    return outcome.state === 'done' ? nothing : skipped(`${partTitles[part]}: ${outcome.reason}`)
  }),
)}
${section('transfer', titleOf('transfer'), transferSection(networks))}
${section(
  'comparison',
  titleOf('comparison'),
  report.comparison === null
    ? skipped('No model was trained that could be compared.')
    : comparisonSection(report.comparison, report.commentary),
)}
${section('method', titleOf('method'), method(report))}
</main>
<footer class="quiet"><p>Every number was computed by weftgrad's own WebGPU kernels. The same figures are in report.json beside this page.</p></footer>
</body>
</html>
`
  return page.text
}

function summary(report: StudyReport): Html {
  const { comparison, parts, plan, adapter, data } = report
  const [first, second] = comparison === null ? [] : rankedOf(comparison.models)
  const networks = (['vgg16', 'xception', 'resnet152v2'] as const).filter((part) => parts[part].state === 'done')
  const did = [
    ...(parts.eda.state === 'done' ? ['looked at the data'] : []),
    ...(parts.tune.state === 'done' ? [`tried ${resultOf(parts, 'tune')?.trials.length} sets of hyperparameters`] : []),
    ...(parts.crossval.state === 'done' ? ['cross-validated the best of them'] : []),
    ...(parts['lenet-seed'].state === 'done' || parts['lenet-best'].state === 'done'
      ? ['trained the final LeNet-5 from scratch']
      : []),
    ...(networks.length > 0
      ? [`trained heads on the frozen features of ${listed(networks.map((part) => partTitles[part]))}`]
      : []),
  ]
  return html`${plan.quick ? html`<p class="warning"><strong>A quick study</strong>, on a part of the data and for a few epochs: it shows that everything works. Its figures are no result.</p>` : nothing}
<p class="lead">${winnerLead(report, first)}</p>
<dl class="tiles">
${bestTile(comparison, first)}
${tile('Highest test accuracy', percent(first?.test.accuracy), first === undefined ? '' : `95 % interval ${percent(first.interval.low)} to ${percent(first.interval.high)}`)}
${tile('Adapter', adapter.hardware ? 'Hardware' : 'Software, on the CPU', adapter.driver)}
${tile('Time', duration(secondsOf(report)), plan.limit === null ? `${count(data.train)} training and ${count(data.test)} test images` : `the first ${count(plan.limit)} training images`)}
</dl>
${paragraphs([
  `The garments of Fashion-MNIST, grey images of 28x28 pixels in ten classes, are told apart by a small network that learns from them alone (LeNet-5), and by large networks that learned from photographs (VGG16, Xception, ResNet152V2). A published notebook did this study; here it is repeated, with every number computed anew. ${did.length === 0 ? '' : `weftgrad ${listed(did)}.`}`,
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
          referenceName: 'notebook',
        }),
        `Test accuracy of each model with its 95 % interval, on ${count(first?.testImages)} images, and what the notebook reported on ${count(notebookImages)}.`,
      )
}
${table(
  'Parts of the study',
  [{ title: 'Part' }, { title: 'Outcome' }, { title: 'Time', numeric: true }],
  studyParts.map((part) => ({ cells: [partTitles[part], ...outcomeOf(report, part)] })),
)}
`
}

function winnerLead(report: StudyReport, first: ComparedModel | undefined): Content {
  if (first === undefined) return 'No model of this study was tested.'
  const { comparison } = report
  const baseline = comparison?.models.find(({ id }) => id === comparison.baseline)
  if (comparison !== null && comparison.leaders.length > 1)
    return html`<strong>${levelText(comparison)}</strong> The highest accuracy is ${first.name}'s: ${percent(first.test.accuracy)} of ${count(first.testImages)} test images.`
  const beside =
    baseline === undefined || baseline.id === first.id
      ? ''
      : ` ${baseline.name} has ${percent(baseline.test.accuracy)}.`
  return html`<strong>${first.name}</strong> is right most often: ${percent(first.test.accuracy)} of ${count(first.testImages)} test images.${beside}`
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
  if (outcome.state === 'skipped') return [outcome.reason, '']
  const seconds = duration(outcome.seconds)
  return [figureOf(parts, part), outcome.resumed ? `${seconds} after it was resumed` : seconds]
}

/** The one figure that a part is remembered by. */
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
  return `test accuracy ${percent(report.test.accuracy)} of ${count(imagesIn(report))} images`
}

function secondsOf({ parts }: StudyReport): number {
  return studyParts.reduce((sum, part) => {
    const outcome = parts[part]
    return sum + (outcome.state === 'done' ? outcome.seconds : 0)
  }, 0)
}

function method({ adapter, versions, plan, data, startedAt, finishedAt }: StudyReport): Html {
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
      `${data.published ? 'Fashion-MNIST as published' : 'not the published Fashion-MNIST'}: ${count(data.train)} training and ${count(data.test)} test images`,
    ],
    ['Images', `LeNet-5: ${limit}; pretrained networks: ${transfer}`],
    ['Seed', String(plan.seed)],
    ['Begun, finished', `${time(startedAt)}, ${time(finishedAt)}`],
  ])}
${paragraphs([
  html`The same seed on the same adapter gives the same figures: <code>${commandOf(plan)}</code>.`,
  'A 95 % interval is the range of true accuracies that would not surprise, given how many of the test images were right (Wilson 1927). McNemar (1947) compares two models on the same images by those that only one of them gets right; Holm (1979) keeps several such tests together at 5 %.',
  'Nothing was chosen by the test images: hyperparameters, epochs and layers were chosen on validation images, a part of the published training images.',
])}
`
}

/** As typed for this plan. */
function commandOf({ quick, seed, skip, transfer }: StudyPlan): string {
  const usual = quick ? quickPlan : fullPlan
  const { limitTrain } = transfer
  return [
    'npx weftgrad study',
    ...(quick ? ['--quick'] : []),
    ...(skip.length > 0 ? [`--skip ${skip.join(',')}`] : []),
    ...(seed === usual.seed ? [] : [`--seed ${seed}`]),
    ...(limitTrain === usual.transfer.limitTrain ? [] : [`--transfer-limit ${limitTrain}`]),
  ].join(' ')
}

function day(iso: string): string {
  return iso.slice(0, 10)
}

function time(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
}
