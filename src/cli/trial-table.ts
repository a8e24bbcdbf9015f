/** The trials of a bracket as a table: hyperparameters, progress and outcome. */

import type { EpochResult, Progress } from '../nn/contract.ts'
import { count, counted, percent } from '../numbers.ts'
import { type Outcomes, type PlannedBracket, type Standing, standings } from '../search/search.ts'
import type { Point } from '../tasks/space.ts'
import { fitting, type TableColumn, tableRow, titleRow } from './columns.ts'
import type { Colors } from './shown.ts'

/** A training in progress. */
export interface RunningTrial {
  readonly progress: Progress
  /** The previous epoch's logs, if this process trained it. */
  readonly logs?: EpochResult
}

/** Room for the longest of the texts that say how a trial stands. */
const stateWidth = 24

/**
 * The table: a heading, column titles and a line per trial. `running` holds the current trainings by trial; narrow
 * terminals lose columns.
 */
export function trialTable(
  bracket: PlannedBracket<Point>,
  outcomes: Outcomes,
  { colors, columns }: { readonly colors: Colors; readonly columns: number },
  running: ReadonlyMap<number, RunningTrial> = new Map(),
): string[] {
  const all = trialColumns(bracket)
  const beside = fitting(all, columns - stateWidth)
  // Very narrow terminals show by colour alone how a trial stands.
  const isTold = titleRow(beside).length + stateWidth <= columns
  const shown = isTold ? beside : fitting(all, columns)
  const rows = standings(bracket, outcomes).map((standing) => {
    const now = running.get(standing.trial.id)
    const text = tableRow(shown, { standing, now })
    const { paint, state } = now === undefined ? stateOf(standing, colors) : runningState(now.progress, colors)
    if (!isTold) return paint(text)
    return `${paint === colors.dim ? paint(text) : text}  ${paint(state)}`
  })
  return [`  ${colors.bold(bracketText(bracket))}`, colors.dim(titleRow(shown)), ...rows]
}

interface TrialRow {
  readonly standing: Standing<Point>
  readonly now: RunningTrial | undefined
}

function trialColumns({ trials }: PlannedBracket<Point>): readonly TableColumn<TrialRow>[] {
  const names = Object.keys(trials[0]?.hyperparameters ?? {})
  return [
    { title: 'Trial', width: 7, cell: ({ standing }) => String(standing.trial.id) },
    ...names.map((title): TableColumn<TrialRow> => {
      const values = trials.map(({ hyperparameters }) => String(hyperparameters[title]).length)
      const cell = ({ standing }: TrialRow): string => String(standing.trial.hyperparameters[title])
      return { title, width: Math.max(title.length, 6, ...values) + 2, cell }
    }),
    {
      ...{ title: 'Epochs', width: 8, spare: 1 },
      cell: ({ standing, now }) =>
        String(now === undefined ? (standing.outcome?.history.length ?? 0) : now.progress.epoch - 1),
    },
    {
      ...{ title: 'Accuracy', width: 11 },
      cell: ({ standing, now }) => {
        const accuracy = now?.logs?.validationAccuracy ?? standing.outcome?.score?.accuracy
        return accuracy === undefined ? '' : percent(accuracy)
      },
    },
    {
      ...{ title: 'Loss', width: 10, spare: 2 },
      cell: ({ standing, now }) => (now?.logs?.validationLoss ?? standing.outcome?.score?.loss)?.toFixed(4) ?? '',
    },
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

/** How a trial stands, and the colour of that. */
interface State {
  readonly paint: (text: string) => string
  readonly state: string
}

function runningState({ epoch, epochs, step, steps }: Progress, { cyan }: Colors): State {
  return { paint: cyan, state: `epoch ${epoch} of ${epochs}, ${Math.floor((100 * step) / steps)} %` }
}

function stateOf({ state, outcome }: Standing<Point>, { dim, green, red, yellow }: Colors): State {
  switch (state) {
    case 'finished':
      return { paint: green, state: 'finished' }
    case 'failed':
      return { paint: red, state: 'failed' }
    case 'stopped':
      return { paint: yellow, state: `stopped after round ${outcome?.round}` }
    case 'trained':
      return { paint: plain, state: `round ${outcome?.round} done` }
    case 'waiting':
      return outcome === undefined
        ? { paint: dim, state: 'waiting' }
        : { paint: plain, state: `continues to round ${outcome.round + 1}` }
  }
}

const plain = (text: string): string => text
