/** `weftgrad crossval`: cross-validates the network and shows its progress. */

import type { CrossValidationResult, FoldResult, FoldsSummary } from '../crossval/result.ts'
import {
  type CrossValidationOptions,
  type CrossValidationReporter,
  crossValidate,
  type FoldPlace,
} from '../crossval/run.node.ts'
import { clock, count, counted, percent, timeLeft } from '../numbers.ts'
import { writeRunPage } from '../report/run-page.node.ts'
import { shown } from '../runs/run-folder.node.ts'
import type { Task } from '../tasks/task.ts'
import { BarLine } from './bar.ts'
import { tableRow, titleRow } from './columns.ts'
import { runJobCommand } from './job-command.ts'
import type { QueueOptions } from './queue-options.ts'
import { type OutputOptions, openTerminal, type Terminal } from './terminal.ts'
import { fact, resultColumns, sayModel } from './training-text.ts'

export async function crossvalCommand(
  task: Task,
  { json, quiet, verbose, queue, store, ...options }: CrossValidationOptions & QueueOptions & OutputOptions,
): Promise<void> {
  const terminal = openTerminal({ json, quiet, verbose })
  const bar = new BarLine(terminal)
  await runJobCommand(
    { task, command: 'crossval', terminal, drawing: bar, at: { queue, store } },
    async (signal, reporter, remote) => {
      const result = await crossValidate(
        task,
        { ...options, signal, remote },
        { ...reporter, ...showing(terminal, bar) },
      )
      bar.clear()
      terminal.results()
      showResult(result, terminal)
      fact(terminal, 'Report', shown(await writeRunPage(task, result.runDir)))
      if (json) terminal.json(result)
    },
  )
}

function showing(terminal: Terminal, bar: BarLine): CrossValidationReporter {
  let kind: FoldPlace['kind'] | undefined
  const columns = resultColumns<ReturnType<typeof rowOf>>('Fold', ({ fold }) => fold, terminal.columns)
  return {
    onBegin({ settings, model, trainCount, validationCount }) {
      sayModel(terminal, model)
      const counts = `${count(trainCount)} images to train, ${count(validationCount)} to validate`
      fact(
        terminal,
        'Folds',
        `${settings.folds}, stratified by class: ${counts}, ${counted(settings.epochs, 'epoch')} each`,
      )
      terminal.say()
      terminal.say(terminal.colors.dim(titleRow(columns)))
    },
    onProgress({ kind, fold }, { epoch, epochs }, { done, total, etaSeconds }) {
      const name = kind === 'honest' ? `Fold ${fold}` : `Fold ${fold}, reused model`
      const told = [...timeLeft(etaSeconds), `epoch ${epoch} of ${epochs}`]
      const after = `${done.toFixed(1)} of ${total} epochs`
      const plain = `${name}: ${[after, ...told].join(', ')}`
      bar.show({ share: done / total, before: name, after, told, plain })
    },
    onFold(place, result) {
      bar.clear()
      if (place.kind === 'carried' && kind === 'honest') {
        terminal.say()
        terminal.say(`  One model reused across the folds, validated on images it was trained on:`)
      }
      kind = place.kind
      terminal.say(tableRow(columns, rowOf(result)))
    },
    onTest: () => bar.clear(),
  }
}

/** A fold as a row of the table. */
function rowOf({ fold, loss, accuracy, history }: FoldResult) {
  const last = history.at(-1)
  return {
    ...{ fold, loss: last?.loss ?? Number.NaN, accuracy: last?.accuracy ?? Number.NaN },
    ...{ validationLoss: loss, validationAccuracy: accuracy },
    seconds: history.reduce((sum, logs) => sum + logs.seconds, 0),
  }
}

function showResult(
  { honest, carryOver, explanation, epochs, seconds, runDir }: CrossValidationResult,
  terminal: Terminal,
): void {
  const { bold, dim } = terminal.colors
  terminal.say()
  fact(terminal, `${honest.folds.length}-fold`, `${bold(summaryText(honest))} (fresh model per fold)`)
  if (carryOver !== null) {
    fact(terminal, 'Reused', `${summaryText(carryOver)} (reusing one model across folds: not a valid estimate)`)
    terminal.say()
    for (const sentence of explanation) terminal.say(`  ${sentence}`)
    terminal.say()
  }
  fact(terminal, 'Trained', `${counted(epochs, 'epoch')} in ${clock(seconds)}`)
  fact(terminal, 'Run', `${shown(runDir)}  ${dim('report.json, folds.jsonl')}`)
}

/** Means with standard deviations over the folds. */
function summaryText({ loss, accuracy }: FoldsSummary): string {
  const spread = `${(100 * accuracy.standardDeviation).toFixed(2)} %`
  return `accuracy ${percent(accuracy.mean)} ± ${spread}, loss ${loss.mean.toFixed(4)} ± ${loss.standardDeviation.toFixed(4)}`
}
