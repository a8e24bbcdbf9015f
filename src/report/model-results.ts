/** The test results of one model: confusion matrix, reliability diagram, errors. Shared by the study and by single runs. */
import type { ClassMetrics } from '../classification-report.ts'
import { count, decimal, percent } from '../numbers.ts'
import { confusionMatrix } from '../plots/confusion-matrix.ts'
import { reliabilityDiagram } from '../plots/reliability.ts'
import { beside, paragraphs, plot, table } from './blocks.ts'
import { errorsBlock } from './errors-block.ts'
import { type Html, html } from './html.ts'
import { readings } from './readings.ts'
import type { TestedModel, TestedReport } from './tested-model.ts'

/** With more classes than this, the cells of a matrix are too small to read, and too many for a small page. */
const mostClassesDrawn = 30

/** @param level of the headings. */
export function modelResults(model: TestedModel, level: 3 | 4): Html {
  const { report } = model
  return html`${beside(confusionBlock(report), calibrationBlock(report))}
${errorsBlock(model, level)}
`
}

/** Precision, recall and F1 of a model's classes. */
export function classTable({ perClass, macro }: TestedReport): Html {
  const figures = ({ precision, recall, f1, support }: ClassMetrics) => [
    percent(precision),
    percent(recall),
    percent(f1),
    count(support),
  ]
  return table(
    'Results by class',
    [
      { title: 'Class' },
      { title: 'Precision', numeric: true },
      { title: 'Recall', numeric: true },
      { title: 'F1', numeric: true },
      { title: 'Images', numeric: true },
    ],
    [
      ...perClass.map((row) => ({ cells: [row.class, ...figures(row)] })),
      { strong: true, cells: ['Mean', ...figures(macro)] },
    ],
  )
}

function confusionBlock({ confusion, perClass }: TestedReport): Html {
  if (confusion.length > mostClassesDrawn)
    return paragraphs([
      `The confusion matrix of ${count(confusion.length)} classes is too large to draw; report.json holds it.`,
    ])
  const names = perClass.map((row) => row.class)
  return plot(confusionMatrix(confusion, names), `Confusion matrix of the test images. ${readings.confusion}`)
}

function calibrationBlock({ calibration, test }: TestedReport): Html {
  if (calibration === undefined) return paragraphs(['This run kept no probabilities, so its calibration is unknown.'])
  const { bins, expectedError, confidence } = calibration
  return plot(
    reliabilityDiagram(bins),
    `Reliability diagram: expected calibration error ${decimal(expectedError, 3)}; mean probability ${percent(confidence)}, accuracy ${percent(test.accuracy)}. ${readings.reliability}`,
  )
}
