/** The report on the task's own network: two recipes, their results, and the errors of the better one. */

import { count, decimal, duration, listed, percent, setting } from '../numbers.ts'
import { confusionMatrix } from '../plots/confusion-matrix.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import type { ClassificationError } from '../runs/error-analysis.ts'
import { imagesIn } from '../runs/test-report.ts'
import type { RecipeName } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { beside, facts, paragraphs, picture, plot, subtitle, table } from './blocks.ts'
import { type Html, html, nothing } from './html.ts'
import { recipeTitle } from './parts.ts'
import type { TestPicture, TrainedFinal } from './study-report.ts'

const recipeTexts = {
  seed: 'Adam with a constant learning rate; the weights of the best validation epoch; no augmentation.',
  best: 'Random shifts and flips, dropout, AdamW with a cosine schedule; the test averages the probabilities of each image and its mirror image.',
} as const satisfies Record<RecipeName, string>

export function trainedSection(finals: readonly TrainedFinal[], task: PublishedTask): Html {
  const better = [...finals].sort((a, b) => b.report.test.accuracy - a.report.test.accuracy)[0]
  if (better === undefined) return nothing
  return html`${finals.map((final) => recipeBlock(final, recipeTitle(task, final.recipe)))}
${subtitle(`Results of the ${recipeTitle(task, better.recipe)}`)}
${classesBlock(better)}
${errorsBlock(better)}
`
}

function recipeBlock({ recipe, report, units, learningRate, trainImages }: TrainedFinal, title: string): Html {
  const { test, validation, history, keptEpoch, epochs, secondsPerEpoch, millisecondsPerStep, parameters } = report
  const seconds = history.reduce((sum, logs) => sum + logs.seconds, 0)
  const run = [{ name: title, epochs: history, ...(validation !== null ? { bestEpoch: keptEpoch } : {}) }]
  return html`${subtitle(`The ${title}: ${percent(test.accuracy)} on ${count(imagesIn(report))} test images`)}
${paragraphs([recipeTexts[recipe]])}
${facts([
  ['Test', `accuracy ${percent(test.accuracy)}, loss ${decimal(test.loss)}, on ${count(imagesIn(report))} images`],
  ...(validation !== null
    ? ([
        [
          'Validation',
          `accuracy ${percent(validation.accuracy)}, loss ${decimal(validation.loss)}, epoch ${keptEpoch}`,
        ],
      ] as const)
    : []),
  ['Network', `dense layers of ${listed(units.map(String))} units, ${count(parameters)} parameters`],
  [
    'Training',
    `${count(trainImages)} images, ${epochs} epochs, batch size ${report.batchSize}, learning rate ${setting(learningRate)}`,
  ],
  [
    'Speed',
    `${duration(seconds)} in total, ${duration(secondsPerEpoch)} per epoch${millisecondsPerStep === null ? '' : `, ${decimal(millisecondsPerStep, 2)} ms per step`}`,
  ],
])}
${beside(
  plot(trainingCurves(run, 'loss'), `Loss, ${title}.`),
  plot(trainingCurves(run, 'accuracy'), `Accuracy, ${title}.`),
)}
`
}

function classesBlock({ report }: TrainedFinal): Html {
  const { perClass, macro, confusion } = report
  const figures = (row: { precision: number; recall: number; f1: number; support: number }) => [
    percent(row.precision),
    percent(row.recall),
    percent(row.f1),
    count(row.support),
  ]
  return beside(
    plot(
      confusionMatrix(
        confusion,
        perClass.map((row) => row.class),
      ),
      'Test images: rows are true classes, columns are predictions.',
    ),
    table(
      'Per-class results',
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
    ),
  )
}

function errorsBlock({ pictures, report }: TrainedFinal): Html {
  const { errors } = report
  if (errors.errors === 0) return nothing
  const name = (k: number): string => report.perClass[k]?.class ?? String(k)
  const list = (some: readonly ClassificationError[]): Html =>
    html`<ul class="images">${some.map((one) => wrongImage(one, pictures, name))}</ul>\n`
  const pairs = errors.pairs.map(({ classes: [a, b], count: times, firstAsSecond, secondAsFirst, examples }) => {
    const each = `${count(firstAsSecond)} of the first taken for the second, ${count(secondAsFirst)} the other way round`
    return html`<p><strong>${name(a)} and ${name(b)}</strong>: ${count(times)} errors, ${each}.</p>
${list(examples)}`
  })
  return html`${subtitle('Most confused classes')}
${pairs}
${subtitle('Worst errors')}
${paragraphs(['The test images whose true class got the lowest probability.'])}
${list(errors.worst)}
`
}

function wrongImage(error: ClassificationError, pictures: readonly TestPicture[], name: (k: number) => string): Html {
  const { position, label, predicted, labelProbability, top } = error
  const shown = pictures.find((one) => one.position === position)
  const guesses = top.map((one) => html`${name(one.class)} ${percent(one.probability, 1)}<br>`)
  const what = `${name(label)} taken for ${name(predicted)}`
  return html`<li>${shown === undefined ? nothing : picture(shown.png, what)}${guesses}<span class="quiet">true class: ${name(label)} ${percent(labelProbability, 1)}${shown === undefined ? nothing : html`<br>test image ${count(shown.index)}`}</span></li>
`
}
