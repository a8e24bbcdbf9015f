/** The report on heads trained on the features of frozen pretrained networks. */

import { count, dash, decimal, duration, listed, percent, rate } from '../numbers.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import { imagesIn } from '../runs/test-report.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { beside, columnsTable, paragraphs, plot } from './blocks.ts'
import { type Html, html, nothing } from './html.ts'
import { readings } from './readings.ts'
import type { TransferFinal } from './study-report.ts'

export interface TransferPart {
  readonly title: string
  readonly outcome: TransferFinal | string
}

/** The section: each network, or why it is missing. */
export function transferSection(networks: readonly TransferPart[], { data }: PublishedTask): Html {
  const done = networks.flatMap(({ title, outcome }) => (typeof outcome === 'string' ? [] : [{ title, ...outcome }]))
  const missing = networks.flatMap(({ title, outcome }) =>
    typeof outcome === 'string' ? [{ title, reason: outcome }] : [],
  )
  const reasons = missing.map(
    ({ title, reason }) => html`<p class="note"><strong>${title}</strong> is not part of this study. ${reason}</p>
`,
  )
  if (done.length === 0) return html`${reasons}`
  return html`${paragraphs([
    `Networks trained on ImageNet's photographs see the ${data.things}, enlarged and in three equal channels; their weights are frozen. The outputs of some layers serve as features, computed once for each image; a small head of dense layers learns the ${data.classNames.length} classes from them. The layers were chosen on validation images.`,
  ])}
${reasons}
${columnsTable('Pretrained networks, frozen', done, ({ title }) => ({ title }), [
  { title: 'Test accuracy', of: ({ report }) => percent(report.test.accuracy) },
  { title: 'Test images', of: ({ report }) => count(imagesIn(report)) },
  { title: 'Test loss', of: ({ report }) => decimal(report.test.loss) },
  { title: 'Validation accuracy', of: ({ report }) => percent(report.validation.accuracy) },
  { title: 'Features from', of: ({ report }) => listed(report.layers) },
  { title: 'Features per image', of: ({ report }) => count(report.features.width) },
  { title: 'Images enlarged to', of: ({ report }) => `${report.size}x${report.size}` },
  { title: 'Images', of: ({ report }) => count(report.features.count) },
  {
    title: 'Images/s',
    of: ({ report }) => (report.features.computed === 0 ? dash : rate(report.features.imagesPerSecond)),
  },
  { title: 'Head trained on', of: ({ report }) => count(report.images.train) },
  { title: 'Head parameters', of: ({ trainedParameters }) => count(trainedParameters) },
  { title: 'Epochs', of: ({ report }) => count(report.epochs) },
])}
${done.some(({ report }) => report.features.computed === 0) ? paragraphs([`${dash}: the features came from the cache.`]) : nothing}
${done.map(({ title, report }) => {
  const seconds = report.history.reduce((sum, logs) => sum + logs.seconds, 0)
  const run = [{ name: title, epochs: report.history, bestEpoch: report.bestEpoch }]
  const made = report.meaningless ? ' Made-up weights: these figures mean nothing.' : ''
  return beside(
    plot(
      trainingCurves(run, 'loss'),
      `Loss of the head on ${title}, trained in ${duration(seconds)}.${made} ${readings.loss}`,
    ),
    plot(trainingCurves(run, 'accuracy'), `Accuracy of the head on ${title}. ${readings.accuracy}`),
  )
})}
`
}
