/** Text shared by commands that train: facts about the run, a line per epoch. */

import { isBetterEpoch } from '../nn/best-epoch.ts'
import type { EpochResult, TrainingFacts } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { count, percent } from '../numbers.ts'
import type { DataFacts } from '../runs/data.ts'
import type { Task } from '../tasks/task.ts'
import { column, fitting, type TableColumn, tableRow, titleRow, wrapped } from './columns.ts'
import type { Terminal } from './terminal.ts'

/** Holds the longest label, 'Fine-tuning', and a gap. */
const labelWidth = 13

/** Prints a line of the result: a label, then its value, in two columns. */
export function fact({ say, colors, columns }: Terminal, name: string, text: string): void {
  say(wrapped(`${colors.bold(column(name, labelWidth))}${text}`, columns, labelWidth))
}

export function adapterText(driver: string, hardware: boolean): string {
  return `${driver} (${hardware ? 'hardware' : 'software, on the CPU'})`
}

/** The data of a run as one line. */
export function dataText({ title }: Pick<Task['data'], 'title'>, facts: DataFacts): string {
  const { folder, published, split, limit, train, test, duplicates } = facts
  const kind = published !== false ? title : `${title}, not the published files`
  const splitting = split === 'seed' ? `; test set drawn by seed, ${count(duplicates)} duplicates left out` : ''
  const limited = typeof limit === 'number' ? `; limited to the first ${count(limit)} images` : ''
  return `${kind}: ${count(train)} images to train, ${count(test)} to test${splitting}${limited} (${folder})`
}

export function sayModel({ say }: Terminal, model: Model): void {
  say()
  say(model.summary().replace(/^(?=.)/gm, '  '))
  say()
}

export function trainingText(facts: TrainingFacts, batchSize: number, noun: string): string {
  return (
    `${count(facts.trainCount)} ${noun}, ${count(facts.validationCount)} to validate; ` +
    `batch size ${batchSize}, ${count(facts.stepsPerEpoch)} steps per epoch, ${facts.dispatchesPerStep} dispatches per step`
  )
}

/** A training's results after an epoch, or a fold's. */
type Results = Pick<EpochResult, 'loss' | 'accuracy' | 'validationLoss' | 'validationAccuracy' | 'seconds'>

const figure = (value: number | undefined, text: (value: number) => string): string =>
  value === undefined ? '' : text(value)
const four = (value: number): string => value.toFixed(4)

/** The columns that fit: a title and the row's number, then its results. */
export function resultColumns<Row extends Results>(
  title: string,
  numberOf: (row: Row) => number,
  room: number,
): readonly TableColumn<Row>[] {
  const all: readonly TableColumn<Row>[] = [
    { title, width: 7, cell: (row) => String(numberOf(row)) },
    { title: 'Train loss', width: 13, cell: ({ loss }) => four(loss) },
    { title: 'Accuracy', width: 10, cell: ({ accuracy }) => percent(accuracy), spare: 1 },
    { title: 'Validation loss', width: 18, cell: ({ validationLoss }) => figure(validationLoss, four) },
    { title: 'Accuracy', width: 10, cell: ({ validationAccuracy }) => figure(validationAccuracy, percent) },
    { title: 'Seconds', width: 10, cell: ({ seconds }) => seconds.toFixed(1), spare: 2 },
  ]
  return fitting(all, room)
}

/** Marks the best epoch so far. */
const star = '  *'

/** The table of epochs; a star marks each new best. */
export class EpochTable {
  readonly #terminal: Terminal
  readonly #columns: readonly TableColumn<EpochResult>[]
  #best: EpochResult | undefined

  /** @param best the best earlier epoch, if a run is resumed. */
  constructor(terminal: Terminal, best?: EpochResult) {
    const { say, colors, columns } = terminal
    this.#terminal = terminal
    this.#best = best
    this.#columns = resultColumns<EpochResult>('Epoch', ({ epoch }) => epoch, columns - star.length)
    say()
    say(colors.dim(titleRow(this.#columns)))
  }

  row(logs: EpochResult): void {
    const { say, colors } = this.#terminal
    const isValidated = logs.validationLoss !== undefined
    const isBest = isValidated && (this.#best === undefined || isBetterEpoch(logs, this.#best))
    if (isBest) this.#best = logs
    say(tableRow(this.#columns, logs) + (isBest ? colors.dim(star) : ''))
  }

  /** The legend, below the last row. */
  end(): void {
    if (this.#best !== undefined) this.#terminal.say(this.#terminal.colors.dim('  * best validation accuracy so far'))
  }
}
