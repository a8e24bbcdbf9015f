/** The trials of a bracket as a table: hyperparameters, progress and outcome. */

import type { EpochResult, Progress } from '../nn/contract.ts'
import { count, counted, percent } from '../numbers.ts'
import { type Outcomes, type PlannedBracket, type Standing, standings } from '../search/search.ts'
import type { Point } from '../tasks/space.ts'
import type { Colors } from './terminal.ts'

/** A training in progress. */
export interface RunningTrial {
  readonly progress: Progress
  /** The previous epoch's logs, if this process trained it. */
  readonly logs?: EpochResult
}

/** The table: a heading, column titles and a line per trial. `running` holds the current trainings by trial. */
export function trialTable(
  bracket: PlannedBracket<Point>,
  outcomes: Outcomes,
  colors: Colors,
  running: ReadonlyMap<number, RunningTrial> = new Map(),
): string[] {
  const names = Object.keys(bracket.trials[0]?.hyperparameters ?? {})
  const widths = names.map((name) => {
    const values = bracket.trials.map(({ hyperparameters }) => String(hyperparameters[name]).length)
    return Math.max(name.length, 6, ...values) + 2
  })
  const columns = names.map((name, i) => name.padStart(widths[i] ?? 0)).join('')
  const rows = standings(bracket, outcomes).map((standing) => {
    const { trial, outcome } = standing
    const values = names.map((name, i) => String(trial.hyperparameters[name]).padStart(widths[i] ?? 0)).join('')
    const now = running.get(trial.id)
    const epochs = now === undefined ? (outcome?.history.length ?? 0) : now.progress.epoch - 1
    const score = outcome?.score
    const accuracy = now?.logs?.validationAccuracy ?? score?.accuracy
    const loss = now?.logs?.validationLoss ?? score?.loss
    const figures = `${(accuracy === undefined ? '' : percent(accuracy)).padStart(11)}${(loss?.toFixed(4) ?? '').padStart(10)}`
    const text = `  ${String(trial.id).padStart(5)}${values}${String(epochs).padStart(8)}${figures}  `
    return now === undefined ? settled(text, standing, colors) : text + colors.cyan(runningText(now.progress))
  })
  return [
    `  ${colors.bold(bracketText(bracket))}`,
    colors.dim(`  Trial${columns}  Epochs   Accuracy      Loss`),
    ...rows,
  ]
}

/**
 * A bracket's title: 'Bracket 2: 12 trials to 2 epochs, 4 to 4, 2 to 10'. A single round is a search without halving.
 */
export function bracketText({ bracket, rounds }: PlannedBracket<unknown>): string {
  const told = rounds.map(({ size, epochs }, i) =>
    i === 0 ? `${counted(size, 'trial')} to ${counted(epochs, 'epoch')}` : `${count(size)} to ${epochs}`,
  )
  return `Bracket ${bracket}: ${told.join(', ')}`
}

function runningText({ epoch, epochs, step, steps }: Progress): string {
  return `training: epoch ${epoch} of ${epochs}, ${Math.floor((100 * step) / steps)} %`
}

function settled(text: string, { state, outcome }: Standing<Point>, { dim, green, red, yellow }: Colors): string {
  switch (state) {
    case 'finished':
      return text + green('finished')
    case 'failed':
      return text + red('failed')
    case 'stopped':
      return dim(text) + yellow(`stopped early, after round ${outcome?.round}`)
    case 'trained':
      return `${text}round ${outcome?.round} done`
    case 'waiting':
      return outcome === undefined ? dim(`${text}waiting`) : `${text}continues to round ${outcome.round + 1}`
  }
}
