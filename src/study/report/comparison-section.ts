/** The report's table of all models. */
import { type ComparedModel, type ComparedPair, type Comparison, isSignificant, pairOf } from '../comparison.ts'
import { columnsTable, paragraphs, subtitle } from './blocks.ts'
import { type Html, html } from './html.ts'
import { count, dash, decimal, duration, percent, probability, rate } from './numbers.ts'

export function comparisonSection(comparison: Comparison, commentary: readonly string[]): Html {
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
      ? 'There is no LeNet-5 in this study that the others could be tested against.'
      : `McNemar's test compares each model with ${against.name} on the images that both were tested on: how many only the model gets right, how many only ${against.name}, and how probable so uneven a split would be if both were equally good (p, by Holm's correction for several tests; * below 5 %).`
  return html`${columnsTable(
    `All models on the test images; ${leaders.length > 1 ? 'those among which the test cannot tell the best stand out' : 'the best one stands out'}`,
    models,
    ({ id, name }) => ({ title: name, strong: leaders.includes(id) }),
    [
      { title: 'Test accuracy', of: ({ test }) => percent(test.accuracy) },
      { title: '95 % interval', of: ({ interval }) => `${percent(interval.low)} to ${percent(interval.high)}` },
      { title: 'Test loss', of: ({ test }) => decimal(test.loss) },
      { title: 'Notebook', of: (model) => percent(model.notebook) },
      {
        title: 'Only this : only LeNet-5 right',
        of: ofPair(({ onlyFirst, onlySecond }) => `${count(onlyFirst)} : ${count(onlySecond)}`),
      },
      {
        title: "McNemar's p",
        of: ofPair((pair) => `${probability(pair.adjusted ?? pair.pValue)}${isSignificant(pair) ? ' *' : ''}`),
      },
      { title: 'Parameters in use', of: ({ parameters }) => count(parameters) },
      { title: 'Trained here', of: ({ trainedParameters }) => count(trainedParameters) },
      { title: 'Input, pixels', of: ({ inputSize }) => `${inputSize}x${inputSize}` },
      { title: 'Training images', of: ({ trainImages }) => count(trainImages) },
      { title: 'Epochs', of: ({ epochs }) => count(epochs) },
      { title: 'Time', of: ({ seconds }) => duration(seconds) },
      { title: 'Images/s', of: ({ imagesPerSecond }) => rate(imagesPerSecond) },
      { title: 'Test images', of: ({ testImages }) => count(testImages) },
    ],
  )}
${paragraphs([
  html`<span class="quiet">${tested} Intervals are Wilson's. Parameters in use are those of the layers that run: of a pretrained network up to where features come from, and of its head. Time is that of training and of computing features; images a second are those trained on, or whose features were computed, in this run or in the one that the cache is from (${dash}: it does not say).</span>`,
])}
${subtitle('What that means')}
${paragraphs(commentary)}
`
}
