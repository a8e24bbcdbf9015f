/** The report on the final LeNet-5: two recipes, what they came to, and what the better one gets wrong. */

import type { ClassificationError } from '../error-analysis.ts'
import { confusionMatrix } from '../plots/confusion-matrix.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import type { LenetFinal, TestPicture } from '../study-result.ts'
import { beside, facts, paragraphs, picture, plot, subtitle, table } from './blocks.ts'
import { type Html, html, nothing } from './html.ts'
import { count, decimal, duration, imagesIn, percent, setting } from './numbers.ts'

export const recipeNames = { seed: "notebook's recipe", best: 'best recipe' } as const

const recipeTexts = {
  seed: 'Adam at a fixed rate, the weights of the best epoch by validation; the images as they are.',
  best: 'Images shifted and mirrored on the device as they are drawn, dropout, AdamW with a rate that falls along a cosine; at the test, the mean over each image and its mirror image.',
} as const

export function lenetSection(finals: readonly LenetFinal[]): Html {
  const better = [...finals].sort((a, b) => b.report.test.accuracy - a.report.test.accuracy)[0]
  if (better === undefined) return nothing
  return html`${finals.map(recipeBlock)}
${subtitle(`What it gets right: the ${recipeNames[better.recipe]}`)}
${classesBlock(better)}
${errorsBlock(better)}
`
}

function recipeBlock({ recipe, report, units, learningRate, trainImages }: LenetFinal): Html {
  const { test, validation, history, keptEpoch, epochs, secondsPerEpoch, millisecondsPerStep, parameters } = report
  const seconds = history.reduce((sum, logs) => sum + logs.seconds, 0)
  const run = [{ name: recipeNames[recipe], epochs: history, ...(validation !== null ? { bestEpoch: keptEpoch } : {}) }]
  return html`${subtitle(`The ${recipeNames[recipe]}: ${percent(test.accuracy)} of ${count(imagesIn(report))} test images`)}
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
  ['Network', `dense layers of ${units[0]} and ${units[1]} units, ${count(parameters)} parameters`],
  [
    'Training',
    `${count(trainImages)} images, ${epochs} epochs, batches of ${report.batchSize}, rate ${setting(learningRate)}`,
  ],
  [
    'Speed',
    `${duration(seconds)} in all, ${duration(secondsPerEpoch)} an epoch${millisecondsPerStep === null ? '' : `, ${decimal(millisecondsPerStep, 2)} ms a step`}`,
  ],
])}
${beside(
  plot(trainingCurves(run, 'loss'), `Loss, by the ${recipeNames[recipe]}.`),
  plot(trainingCurves(run, 'accuracy'), `Accuracy, by the ${recipeNames[recipe]}.`),
)}
`
}

function classesBlock({ report }: LenetFinal): Html {
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
      'Test images: rows are the true classes, columns the predicted ones.',
    ),
    table(
      'Each class of the test',
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

function errorsBlock({ pictures, report }: LenetFinal): Html {
  const { errors } = report
  if (errors.errors === 0) return nothing
  const name = (k: number): string => report.perClass[k]?.class ?? String(k)
  const list = (some: readonly ClassificationError[]): Html =>
    html`<ul class="images">${some.map((one) => wrongImage(one, pictures, name))}</ul>\n`
  const pairs = errors.pairs.map(({ classes: [a, b], count: times, firstAsSecond, secondAsFirst, examples }) => {
    const each = `${count(firstAsSecond)} of the first for the second, ${count(secondAsFirst)} the other way round`
    return html`<p><strong>${name(a)} and ${name(b)}</strong>: ${count(times)} errors, ${each}.</p>
${list(examples)}`
  })
  return html`${subtitle('Classes it confuses most')}
${pairs}
${subtitle('Its worst errors')}
${paragraphs(['The test images to whose true class the model gave the least probability.'])}
${list(errors.worst)}
`
}

function wrongImage(error: ClassificationError, pictures: readonly TestPicture[], name: (k: number) => string): Html {
  const { position, label, predicted, labelProbability, top } = error
  const shown = pictures.find((one) => one.position === position)
  const guesses = top.map((one) => html`${name(one.class)} ${percent(one.probability, 1)}<br>`)
  const what = `${name(label)} taken for ${name(predicted)}`
  return html`<li>${shown === undefined ? nothing : picture(shown.png, what)}${guesses}<span class="quiet">is: ${name(label)} ${percent(labelProbability, 1)}${shown === undefined ? nothing : html`<br>test image ${count(shown.index)}`}</span></li>
`
}
