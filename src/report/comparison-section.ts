/** The report's comparison of all models. */

import { count, dash, decimal, duration, millions, percent, probability, rate } from '../numbers.ts'
import { accuracyCost } from '../plots/accuracy-cost.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { beside, columnsTable, paragraphs, plot, subtitle } from './blocks.ts'
import {
  type ComparedModel,
  type ComparedPair,
  type Comparison,
  isSignificant,
  pairOf,
  seedSpread,
} from './comparison.ts'
import { type Html, html, nothing } from './html.ts'
import { readings } from './readings.ts'

export function comparisonSection(comparison: Comparison, commentary: readonly string[], task: PublishedTask): Html {
  const { source } = task.published
  const { models, baseline, leaders } = comparison
  const against = models.find(({ id }) => id === baseline)
  const ofPair =
    (text: (pair: ComparedPair) => string) =>
    ({ id }: ComparedModel): string => {
      const pair = baseline === null || id === baseline ? undefined : pairOf(comparison, id, baseline)
      return pair === undefined ? dash : text(pair)
    }
  const tested =
    against === undefined
      ? `This study has no ${task.network.title} to compare the others with.`
      : `McNemar's test compares each model with ${against.name} on the images that both were tested on: how many only the model gets right, how many only ${against.name}, and the probability of a split at least this uneven if both were equally good (p, with Holm's correction for several tests; * below 5 %).`
  return html`${columnsTable(
    `All models on the test images; ${leaders.length > 1 ? 'the best ones, without a significant difference, are highlighted' : 'the best one is highlighted'}`,
    models,
    ({ id, name }) => ({ title: name, strong: leaders.includes(id) }),
    [
      { title: 'Test accuracy', of: ({ test }) => percent(test.accuracy) },
      {
        title: '95 % confidence interval',
        of: ({ interval }) => `${percent(interval.low)} to ${percent(interval.high)}`,
      },
      ...(models.some(({ otherSeeds }) => otherSeeds.length > 0)
        ? [{ title: 'Over several seeds: mean ± standard deviation', of: spreadText }]
        : []),
      { title: 'Test loss', of: ({ test }) => decimal(test.loss) },
      { title: `${source[0]?.toUpperCase()}${source.slice(1)}`, of: (model) => percent(model.notebook) },
      {
        title: `Right where ${task.network.title} is wrong : wrong where ${task.network.title} is right`,
        of: ofPair(({ onlyFirst, onlySecond }) => `${count(onlyFirst)} : ${count(onlySecond)}`),
      },
      {
        title: "McNemar's p",
        of: ofPair((pair) => `${probability(pair.adjusted ?? pair.pValue)}${isSignificant(pair) ? ' *' : ''}`),
      },
      { title: 'Parameters in use', of: ({ parameters }) => count(parameters) },
      { title: 'Trained parameters', of: ({ trainedParameters }) => count(trainedParameters) },
      { title: 'Multiply-adds per image', of: ({ multiplyAdds }) => millions(multiplyAdds) },
      { title: 'Input, pixels', of: ({ inputSize }) => `${inputSize}x${inputSize}` },
      { title: 'Training images', of: ({ trainImages }) => count(trainImages) },
      { title: 'Epochs', of: ({ epochs }) => count(epochs) },
      { title: 'Time', of: ({ seconds }) => duration(seconds) },
      { title: 'Images/s', of: ({ imagesPerSecond }) => rate(imagesPerSecond) },
      { title: 'Test images', of: ({ testImages }) => count(testImages) },
    ],
  )}
${paragraphs([
  html`<span class="quiet">${tested} Intervals are Wilson's. Parameters in use are those of the layers that run: for a pretrained network up to the last feature layer, plus its head. Multiply-adds are those of convolutions and dense layers for one test image, twice for a model that averages over the mirror image. Time covers training and computing features; images/s counts images trained on, or images whose features were computed, in this run or in the one that filled the cache (${dash}: not recorded).</span>`,
])}
${costBlock(models)}
${subtitle('What this means')}
${paragraphs(commentary)}
`
}

function spreadText(model: ComparedModel): string {
  const spread = seedSpread(model)
  return spread === undefined ? dash : `${percent(spread.mean)} ± ${percent(spread.standardDeviation)}`
}

function costBlock(models: readonly ComparedModel[]): Html {
  const real = models.filter(({ meaningless }) => !meaningless)
  if (real.length === 0) return nothing
  const drawn = (cost: (model: ComparedModel) => number, costName: string): Html =>
    plot(
      accuracyCost(
        real.map((model) => ({
          name: model.name,
          accuracy: model.test.accuracy,
          ...model.interval,
          cost: cost(model),
        })),
        costName,
      ),
      `Test accuracy against ${costName}, with 95 % confidence intervals. ${readings.cost}`,
    )
  return html`${subtitle('Accuracy and its price')}
${beside(
  drawn(({ parameters }) => parameters, 'parameters in use'),
  drawn(({ multiplyAdds }) => multiplyAdds, 'multiply-adds per image'),
)}
`
}
