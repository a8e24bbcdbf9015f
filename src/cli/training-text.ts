/** Text shared by commands that train: facts about the run, a line per epoch. */

import { isBetterEpoch } from '../nn/best-epoch.ts'
import type { EpochResult, TrainingFacts } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { count, percent } from '../numbers.ts'
import type { DataFacts } from '../runs/data.ts'
import type { Task } from '../tasks/task.ts'
import { column } from './columns.ts'
import type { Terminal } from './terminal.ts'

/** Holds the longest label, 'Fine-tuning', and a gap. */
const labelWidth = 13

/** Prints a line of the result: a label, then its value, in two columns. */
export function fact({ say, colors }: Terminal, name: string, text: string): void {
  say(`${colors.bold(column(name, labelWidth))}${text}`)
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

/** The table of epochs; a star marks each new best. */
export class EpochTable {
  readonly #terminal: Terminal
  #best: EpochResult | undefined

  /** @param the best earlier epoch, if a run is resumed. */
  constructor(terminal: Terminal, best?: EpochResult) {
    this.#terminal = terminal
    this.#best = best
    terminal.say()
    terminal.say(
      terminal.colors.dim(
        '  Epoch   Train loss  Accuracy   Validation loss  Accuracy   Seconds   * best by validation accuracy',
      ),
    )
  }

  row(logs: EpochResult): void {
    const { say, colors } = this.#terminal
    const isValidated = logs.validationLoss !== undefined
    const isBest = isValidated && (this.#best === undefined || isBetterEpoch(logs, this.#best))
    if (isBest) this.#best = logs
    say(epochText(logs, this.#terminal) + (isBest ? colors.dim('  *') : ''))
  }
}

function epochText(logs: EpochResult, { colors }: Terminal): string {
  const { epoch, loss, accuracy, validationLoss, validationAccuracy, seconds } = logs
  const validation =
    validationLoss === undefined || validationAccuracy === undefined
      ? ' '.repeat(18 + 10)
      : `${validationLoss.toFixed(4).padStart(18)}${colors.bold(percent(validationAccuracy).padStart(10))}`
  return `  ${String(epoch).padStart(5)}${loss.toFixed(4).padStart(13)}${percent(accuracy).padStart(10)}${validation}${seconds.toFixed(1).padStart(10)}`
}
