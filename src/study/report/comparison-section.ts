/** The report's table of all models. */
import { type Comparison, isSignificant, pairOf } from '../comparison.ts'
import { paragraphs, table } from './blocks.ts'
import { type Html, html } from './html.ts'
import { count, dash, decimal, duration, percent, probability, rate } from './numbers.ts'

export function comparisonSection(comparison: Comparison, commentary: readonly string[]): Html {
  const { models, baseline, winner } = comparison
  const against = models.find(({ id }) => id === baseline)
  const rows = models.map((model) => {
    const pair = baseline === null || model.id === baseline ? undefined : pairOf(comparison, model.id, baseline)
    const { interval, test } = model
    return {
      strong: model.id === winner,
      cells: [
        model.name,
        percent(test.accuracy),
        `${percent(interval.low)} to ${percent(interval.high)}`,
        decimal(test.loss),
        pair === undefined ? dash : `${count(pair.onlyFirst)} : ${count(pair.onlySecond)}`,
        pair === undefined ? dash : `${probability(pair.adjusted ?? pair.pValue)}${isSignificant(pair) ? ' *' : ''}`,
        percent(model.notebook),
        count(model.parameters),
        count(model.trainedParameters),
        `${model.inputSize}x${model.inputSize}`,
        count(model.trainImages),
        count(model.epochs),
        duration(model.seconds),
        rate(model.imagesPerSecond),
        count(model.testImages),
      ],
    }
  })
  const tested =
    against === undefined
      ? 'There is no LeNet-5 in this study that the others could be tested against.'
      : `McNemar's test compares each model with ${against.name} on the images that both were tested on: how many the model alone gets right, how many ${against.name} alone, and how probable so uneven a split would be if both were equally good (p, by Holm's correction for several tests; * below 5 %).`
  return html`${table(
    'All models on the test images; the best one stands out',
    [
      { title: 'Model' },
      { title: 'Accuracy', numeric: true },
      { title: '95 % interval', numeric: true },
      { title: 'Loss', numeric: true },
      { title: 'Alone right', numeric: true },
      { title: 'p', numeric: true },
      { title: 'Notebook', numeric: true },
      { title: 'Parameters', numeric: true },
      { title: 'Trained', numeric: true },
      { title: 'Input', numeric: true },
      { title: 'Train images', numeric: true },
      { title: 'Epochs', numeric: true },
      { title: 'Time', numeric: true },
      { title: 'Images/s', numeric: true },
      { title: 'Test images', numeric: true },
    ],
    rows,
  )}
${paragraphs([
  html`<span class="quiet">${tested} Intervals are Wilson's. Time is that of training and of computing features; images a second are those trained on, or whose features were computed (${dash}: from the cache).</span>`,
])}
<h3>What that means</h3>
${paragraphs(commentary)}
`
}
