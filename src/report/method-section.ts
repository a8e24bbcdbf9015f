/** How a study was made: everything that its figures depend on, and the methods with their papers. */
import { count } from '../numbers.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { facts, paragraphs } from './blocks.ts'
import { minute } from './document.ts'
import { type Html, html } from './html.ts'
import type { StudyReport } from './study-report.ts'

/** The section on adapter, data, seeds and methods. */
export function methodSection(
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
    plan.seeds > 1
      ? ['Seeds', `${plan.seed} to ${plan.seed + plan.seeds - 1}; the models of the first are compared`]
      : ['Seed', String(plan.seed)],
    ['Started, finished', `${minute(startedAt)}, ${minute(finishedAt)}`],
  ])}
${paragraphs([
  html`The same seed on the same adapter gives the same figures: <code>${command}</code>.`,
  '95 % confidence intervals (Wilson 1927) give plausible values of the true accuracy. McNemar (1947) compares two models on the same images by those that only one of them gets right; Holm (1979) keeps the error rate of several such tests together at 5 %.',
  'The test images decided nothing: hyperparameters, epochs and layers were chosen on validation images, a part of the published training images.',
])}
`
}
