/** The report on the cross-validation, honest and carried over. */
import { notebook } from '../comparison.ts'
import type { CrossValidationResult, FoldResult, FoldsSummary } from '../crossval.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import { beside, paragraphs, plot, subtitle, type TableRow, table } from './blocks.ts'
import { type Html, html, nothing } from './html.ts'
import { count, decimal, duration, listed, percent, setting } from './numbers.ts'

export function crossvalSection(result: CrossValidationResult, isTuned: boolean): Html {
  const { honest, carryOver, settings, images, epochs, seconds, explanation } = result
  const { folds, units, learningRate } = settings
  const dropped = images.duplicates > 0 ? `, without ${count(images.duplicates)} exact duplicates` : ''
  return html`${paragraphs([
    html`With a new model for each of ${folds} folds, LeNet-5 (dense layers of ${units[0]} and ${units[1]} units, learning rate ${setting(learningRate)}) has an accuracy of <strong>${percent(honest.accuracy.mean)} ± ${percent(honest.accuracy.standardDeviation)}</strong> and a loss of ${decimal(honest.loss.mean)} ± ${decimal(honest.loss.standardDeviation)}: mean and standard deviation over the folds, after ${settings.epochs} epochs each.`,
    `The folds are parts of ${count(images.count)} training images${dropped}, each with the same share of every class. ${count(epochs)} epochs in all took ${duration(seconds)}.${isTuned ? ' The hyperparameters had been chosen on a tenth of these images, which may flatter the figure a little.' : ''}`,
  ])}
${table('A new model for each fold', columns, [...honest.folds.map(foldRow), summaryRow(honest)])}
${beside(
  plot(trainingCurves(runsOf(honest), 'loss'), 'Loss of each fold, a new model for each.'),
  plot(trainingCurves(runsOf(honest), 'accuracy'), 'Accuracy of each fold, a new model for each.'),
)}
${
  carryOver === null
    ? nothing
    : html`${subtitle('What one model for all folds would have shown')}
${paragraphs([
  `The notebook trained one model through all folds and reported ${percent(notebook.carryOver, 0)}. Done again, for comparison only:`,
  ...explanation,
])}
${table('One model, carried from fold to fold', columns, [
  ...carryOver.folds.map(foldRow),
  summaryRow(carryOver),
  {
    cells: [
      'Test images',
      listed([count(carryOver.test.count)]),
      '',
      '',
      decimal(carryOver.test.loss),
      percent(carryOver.test.accuracy),
    ],
  },
])}
${plot(trainingCurves(runsOf(carryOver), 'accuracy'), 'Accuracy of the carried model: each fold after the first begins with images it knows.')}
`
}
`
}

const columns = [
  { title: 'Fold' },
  { title: 'Images', numeric: true },
  { title: 'Train loss', numeric: true },
  { title: 'Train accuracy', numeric: true },
  { title: 'Loss', numeric: true },
  { title: 'Accuracy', numeric: true },
]

function foldRow({ fold, validationCount, loss, accuracy, history }: FoldResult): TableRow {
  const last = history.at(-1)
  return {
    cells: [
      `Fold ${fold}`,
      count(validationCount),
      decimal(last?.loss),
      percent(last?.accuracy),
      decimal(loss),
      percent(accuracy),
    ],
  }
}

function summaryRow({ loss, accuracy }: FoldsSummary): TableRow {
  return {
    strong: true,
    cells: [
      'Mean ± deviation',
      '',
      '',
      '',
      `${decimal(loss.mean)} ± ${decimal(loss.standardDeviation)}`,
      `${percent(accuracy.mean)} ± ${percent(accuracy.standardDeviation)}`,
    ],
  }
}

function runsOf({ folds }: FoldsSummary) {
  return folds.map(({ fold, history }) => ({ name: `fold ${fold}`, epochs: history }))
}
