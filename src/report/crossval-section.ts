/** The report on the cross-validation, with fresh models and with a reused one. */
import type { CrossValidationResult, FoldResult, FoldsSummary } from '../crossval/result.ts'
import { count, decimal, duration, listed, percent, setting } from '../numbers.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import type { Task } from '../tasks/task.ts'
import { beside, paragraphs, plot, subtitle, type TableRow, table } from './blocks.ts'
import { type Html, html, nothing } from './html.ts'
import { readings } from './readings.ts'

export function crossvalSection(
  result: CrossValidationResult,
  isTuned: boolean,
  { network, published }: Pick<Task, 'network' | 'published'>,
): Html {
  const { honest, carryOver, settings, images, epochs, seconds, explanation } = result
  const { folds, units, learningRate } = settings
  const dropped = images.duplicates > 0 ? `, without ${count(images.duplicates)} exact duplicates` : ''
  return html`${paragraphs([
    html`With a fresh model for each of ${folds} folds, ${network.title} (dense layers of ${listed(units.map(String))} units, learning rate ${setting(learningRate)}) has an accuracy of <strong>${percent(honest.accuracy.mean)} ± ${percent(honest.accuracy.standardDeviation)}</strong> and a loss of ${decimal(honest.loss.mean)} ± ${decimal(honest.loss.standardDeviation)}: mean and standard deviation over the folds, after ${settings.epochs} epochs each.`,
    `The folds split ${count(images.count)} training images${dropped}, each with the same share of every class. All ${count(epochs)} epochs took ${duration(seconds)}.${isTuned ? ' The hyperparameters were chosen on a tenth of these images, which may make the score slightly too high.' : ''}`,
  ])}
${table('A fresh model for each fold', columns, [...honest.folds.map(foldRow), summaryRow(honest)])}
${beside(
  plot(trainingCurves(runsOf(honest), 'loss'), `Loss of each fold, with a fresh model for each. ${readings.loss}`),
  plot(
    trainingCurves(runsOf(honest), 'accuracy'),
    `Accuracy of each fold, with a fresh model for each. ${readings.accuracy}`,
  ),
)}
${
  carryOver === null
    ? nothing
    : html`${subtitle('What reusing one model across folds would have shown')}
${paragraphs([
  published === undefined
    ? 'Reusing one model is no valid estimate; it is here for comparison only:'
    : `The ${published.source} reused one model across all folds and reported ${percent(published.carryOver, 0)}. Repeated here, for comparison only:`,
  ...explanation,
])}
${table('One model, reused across folds', columns, [
  ...carryOver.folds.map(foldRow),
  summaryRow(carryOver),
  {
    cells: [
      'Test images',
      count(carryOver.test.count),
      '',
      '',
      decimal(carryOver.test.loss),
      percent(carryOver.test.accuracy),
    ],
  },
])}
${plot(trainingCurves(runsOf(carryOver), 'accuracy'), 'Accuracy of the reused model: from the second fold on it is validated on images it was trained on.')}
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
      'Mean ± standard deviation',
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
