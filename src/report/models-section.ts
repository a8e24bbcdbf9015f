/** The report on every model: classes side by side, learning curves together, then each model's test results. */
import type { ClassMetrics } from '../classification-report.ts'
import { count, percent } from '../numbers.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import { imagesIn } from '../runs/test-report.ts'
import { beside, paragraphs, plot, skipped, subtitle, table } from './blocks.ts'
import { type Content, type Html, html } from './html.ts'
import { modelResults } from './model-results.ts'
import { readings } from './readings.ts'
import type { TestedModel } from './tested-model.ts'

export function modelsSection(models: readonly TestedModel[]): Html {
  if (models.length === 0) return skipped('No model was tested.')
  return html`${subtitle('Classes, side by side')}
${paragraphs([
  'Precision is the share of the images predicted as a class that belong to it; recall is the share of a class that is found; F1 is their harmonic mean. The best model of each class is in bold.',
])}
${metrics.map(({ title, of }) => sideBySide(title, of, models))}
${curvesBlock(models)}
${models.map(
  (
    model,
  ) => html`${subtitle(`${model.name}: ${percent(model.report.test.accuracy)} on ${count(imagesIn(model.report))} test images`)}
${modelResults(model, 4)}`,
)}
`
}

const metrics = [
  { title: 'Precision', of: ({ precision }: ClassMetrics) => precision },
  { title: 'Recall', of: ({ recall }: ClassMetrics) => recall },
  { title: 'F1', of: ({ f1 }: ClassMetrics) => f1 },
] as const

function sideBySide(title: string, of: (metrics: ClassMetrics) => number, models: readonly TestedModel[]): Html {
  const row = (name: string, values: readonly (number | undefined)[]): readonly Content[] => {
    const best = Math.max(...values.map((value) => value ?? 0))
    return [
      name,
      ...values.map((value) => (value === best ? html`<strong>${percent(value)}</strong>` : percent(value))),
    ]
  }
  const classes = models[0]?.report.perClass.map((one) => one.class) ?? []
  return table(
    `${title} by class`,
    [{ title: 'Class' }, ...models.map(({ name }) => ({ title: name, numeric: true }))],
    [
      ...classes.map((name, k) => ({
        cells: row(
          name,
          models.map(({ report }) => {
            const one = report.perClass[k]
            return one === undefined ? undefined : of(one)
          }),
        ),
      })),
      {
        strong: true,
        cells: row(
          'Mean',
          models.map(({ report }) => of(report.macro)),
        ),
      },
    ],
  )
}

function curvesBlock(models: readonly TestedModel[]): Html {
  const runs = models.map(({ name, history }) => ({ name, epochs: history }))
  return html`${subtitle('Learning curves of all models')}
${beside(
  plot(trainingCurves(runs, 'loss'), `Loss of all models. ${readings.allCurves}`),
  plot(trainingCurves(runs, 'accuracy'), `Accuracy of all models. ${readings.allCurves}`),
)}
`
}
