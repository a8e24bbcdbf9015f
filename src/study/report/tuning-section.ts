/** The report on the search for hyperparameters. */
import { parallelCoordinates } from '../plots/parallel-coordinates.ts'
import type { SearchResult } from '../search-run.node.ts'
import { paragraphs, plot, table } from './blocks.ts'
import { type Html, html } from './html.ts'
import { count, decimal, duration, percent, setting } from './numbers.ts'

const states = {
  waiting: 'waiting',
  trained: 'trained',
  stopped: 'stopped early',
  finished: 'to the end',
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
    hyperband: `Hyperband with at most ${settings.maxEpochs} epochs a trial, one trial in ${settings.factor} going on after each round`,
    random: `random search with ${settings.maxEpochs} epochs a trial`,
    grid: `a search of the whole grid with ${settings.maxEpochs} epochs a trial`,
  }[settings.method]
  return html`${paragraphs([
    `${method[0]?.toUpperCase()}${method.slice(1)}: ${trials.length} trials, ${stopped} of them stopped early, ${count(epochs)} epochs and ${duration(seconds)} of training in all. Each trial learned from ${count(images.train)} images and was judged by its accuracy on ${count(images.validation)} others; the test images had no say.`,
    html`Best: <strong>${point.join(', ')}</strong> with ${percent(best.score.accuracy)} of the validation images (95 % interval ${percent(bestInterval.low)} to ${percent(bestInterval.high)}), in bracket ${best.bracket}, round ${best.round} of ${rounds}, after ${best.score.epoch} of ${best.epochs} epochs.`,
    rivals === 0
      ? 'No other trial lies within that interval. As the best of many it flatters even so.'
      : `${rivals === 1 ? 'One other trial lies' : `${rivals} other trials lie`} within that interval: between these, chance may have decided.`,
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
  'A line for each trial, from its hyperparameters to its validation accuracy.',
)}
${table(
  'Trials of the search',
  [
    { title: 'Trial', numeric: true },
    { title: 'Bracket', numeric: true },
    ...names.map((title) => ({ title, numeric: true })),
    { title: 'Epochs', numeric: true },
    { title: 'Accuracy', numeric: true },
    { title: 'Loss', numeric: true },
    { title: 'Was' },
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
