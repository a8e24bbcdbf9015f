/** How commands that train show it: facts about the run, a line an epoch. */

import { isBetterEpoch } from '../nn/best-epoch.ts'
import type { EpochLogs, TrainingFacts } from '../nn/contract.ts'
import type { Model } from '../nn/model.ts'
import { grouped, percent, type Terminal } from './terminal.ts'

/** A line of the answer: a name, and what it is. */
export function fact({ say, colors }: Terminal, name: string, text: string): void {
  say(`${colors.bold(name.padEnd(10))}${text}`)
}

export function adapterText(driver: string, hardware: boolean): string {
  return `${driver} (${hardware ? 'hardware' : 'software, on the CPU'})`
}

export function sayModel({ say }: Terminal, model: Model): void {
  say()
  say(model.summary().replace(/^(?=.)/gm, '  '))
  say()
}

export function trainingText(facts: TrainingFacts, batchSize: number, noun: string): string {
  return (
    `${grouped(facts.trainCount)} ${noun}, ${grouped(facts.validationCount)} to validate; ` +
    `batches of ${batchSize}, ${grouped(facts.stepsPerEpoch)} steps an epoch, ${facts.dispatchesPerStep} dispatches a step`
  )
}

/** The table of epochs, with the best one so far marked. */
export class EpochTable {
  readonly #terminal: Terminal
  #best: EpochLogs | undefined

  /** @param best of the epochs before, where a run goes on. */
  constructor(terminal: Terminal, best?: EpochLogs) {
    this.#terminal = terminal
    this.#best = best
    terminal.say()
    terminal.say(terminal.colors.dim('  Epoch   Train loss  Accuracy   Validation loss  Accuracy   Seconds'))
  }

  row(logs: EpochLogs): void {
    const { say, colors } = this.#terminal
    const isValidated = logs.validationLoss !== undefined
    const isBest = isValidated && (this.#best === undefined || isBetterEpoch(logs, this.#best))
    if (isBest) this.#best = logs
    say(epochText(logs, this.#terminal) + (isBest ? colors.dim('  best so far') : ''))
  }
}

function epochText(logs: EpochLogs, { colors }: Terminal): string {
  const { epoch, loss, accuracy, validationLoss, validationAccuracy, seconds } = logs
  const validation =
    validationLoss === undefined || validationAccuracy === undefined
      ? ' '.repeat(28)
      : `${validationLoss.toFixed(4).padStart(18)}${colors.bold(percent(validationAccuracy).padStart(10))}`
  return `  ${String(epoch).padStart(5)}${loss.toFixed(4).padStart(13)}${percent(accuracy).padStart(10)}${validation}${seconds.toFixed(1).padStart(10)}`
}
