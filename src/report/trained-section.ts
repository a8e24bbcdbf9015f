/** The report on the task's own network: its recipes, and how each trained. */

import { count, decimal, duration, listed, percent, setting } from '../numbers.ts'
import { trainingCurves } from '../plots/training-curves.ts'
import { imagesIn } from '../runs/test-report.ts'
import type { RecipeName } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { beside, facts, paragraphs, plot, subtitle } from './blocks.ts'
import { type Html, html } from './html.ts'
import { recipeTitle } from './parts.ts'
import { readings } from './readings.ts'
import type { TrainedFinal } from './study-report.ts'

const recipeTexts = {
  seed: 'Adam with a constant learning rate; the weights of the best validation epoch; no augmentation.',
  best: 'Random shifts and flips, dropout, AdamW with a cosine schedule; the test averages the probabilities of each image and its mirror image.',
} as const satisfies Record<RecipeName, string>

export function trainedSection(finals: readonly TrainedFinal[], task: PublishedTask): Html {
  return html`${finals.map((final) => recipeBlock(final, recipeTitle(task, final.recipe)))}`
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
  plot(trainingCurves(run, 'loss'), `Loss, ${title}. ${readings.loss}`),
  plot(trainingCurves(run, 'accuracy'), `Accuracy, ${title}. ${readings.accuracy}`),
)}
`
}
