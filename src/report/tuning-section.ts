/** The report on the search for hyperparameters. */

import { count, decimal, duration, percent, setting } from '../numbers.ts'
import { parallelCoordinates } from '../plots/parallel-coordinates.ts'
import type { SearchResult } from '../search/result.ts'
import { paragraphs, plot, table } from './blocks.ts'
import { type Html, html } from './html.ts'
import { readings } from './readings.ts'

const states = {
  waiting: 'waiting',
  trained: 'trained',
  stopped: 'stopped early',
  finished: 'completed',
  failed: 'failed',
} as const

export function tuningSection(search: SearchResult): Html {
  const { trials, best, bestInterval, brackets, settings, images, epochs, seconds } = search
  const names = Object.keys(best.hyperparameters)
  const point = Object.entries(best.hyperparameters).map(([name, value]) => `${name} ${setting(value)}`)
  const stopped = trials.filter(({ state }) => state === 'stopped').length
  const rivals = trials.filter(
    ({ id, score }) => id !== best.id && score !== null && score.accuracy >= bestInterval.low,
  ).length
  const rounds = brackets.find(({ bracket }) => bracket === best.bracket)?.rounds.length ?? 1
  const method = {
    hyperband: `Hyperband with at most ${settings.maxEpochs} epochs per trial, keeping 1 in ${settings.factor} trials each round`,
    random: `random search with ${settings.maxEpochs} epochs per trial`,
    grid: `grid search with ${settings.maxEpochs} epochs per trial`,
  }[settings.method]
  return html`${paragraphs([
    `${method[0]?.toUpperCase()}${method.slice(1)}: ${trials.length} trials, ${stopped} of them stopped early; ${count(epochs)} epochs and ${duration(seconds)} of training in total. Each trial was trained on ${count(images.train)} images and scored by its accuracy on ${count(images.validation)} others; the test images were not used.`,
    html`Best: <strong>${point.join(', ')}</strong> with a validation accuracy of ${percent(best.score.accuracy)} (95 % confidence interval ${percent(bestInterval.low)} to ${percent(bestInterval.high)}), in bracket ${best.bracket}, round ${best.round} of ${rounds}, after ${best.score.epoch} of ${best.epochs} epochs.`,
    rivals === 0
      ? 'No other trial falls inside this interval. As the best of many, its score is still somewhat too high.'
      : `${rivals === 1 ? 'One other trial falls' : `${rivals} other trials fall`} inside this interval, so the ranking of these ${rivals + 1} may be chance.`,
  ])}
${plot(
  parallelCoordinates({
    trials: trials.map(({ id, hyperparameters, score, state }) => ({
      name: String(id),
      hyperparameters,
      objective: score?.accuracy ?? null,
      stopped: state === 'stopped',
    })),
    objective: 'validation accuracy',
    best: String(best.id),
  }),
  readings.trials,
)}
${table(
  'All trials',
  [
    { title: 'Trial', numeric: true },
    { title: 'Bracket', numeric: true },
    ...names.map((title) => ({ title, numeric: true })),
    { title: 'Epochs', numeric: true },
    { title: 'Accuracy', numeric: true },
    { title: 'Loss', numeric: true },
    { title: 'Status' },
  ],
  trials.map(({ id, bracket, hyperparameters, epochs: trained, score, state }) => ({
    strong: id === best.id,
    cells: [
      String(id),
      String(bracket),
      ...Object.values(hyperparameters).map(setting),
      String(trained),
      percent(score?.accuracy),
      decimal(score?.loss),
      states[state],
    ],
  })),
)}
`
}
