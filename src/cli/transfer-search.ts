/** `weftgrad transfer NETWORK --search`: searches for the layers, size and head, and prints the trials as a table. */
import { WeftgradError } from '../errors.ts'
import { percent } from '../numbers.ts'
import { shown } from '../runs/run-folder.node.ts'
import { textOf } from '../runs/settings.ts'
import type { Task } from '../tasks/task.ts'
import { type SearchTrial, searchTransfer, type TransferSearchReporter } from '../transfer/search.node.ts'
import { fitting, type TableColumn, tableRow, titleRow } from './columns.ts'
import { type FeatureLines, featuresAndTraining, meaninglessText } from './feature-text.ts'
import { runJobCommand } from './job-command.ts'
import type { ProgressLine } from './progress.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { fact } from './training-text.ts'
import { baseOf, type TransferCommandOptions } from './transfer.ts'

export async function transferSearchCommand(
  task: Task,
  network: string | undefined,
  { json, quiet, verbose, queue, store, ...options }: TransferCommandOptions,
): Promise<void> {
  if (queue !== undefined || store !== undefined)
    throw new WeftgradError('argument', '--search runs in this process alone: leave --queue and --store out.')
  const model = baseOf(network, options.resume)
  const terminal = openTerminal({ json, quiet, verbose })
  const { progress, features, drawing } = featuresAndTraining(terminal, task)
  await runJobCommand({ task, command: 'transfer --search', terminal, drawing }, async (signal, reporter) => {
    const showing = { ...tableOf(terminal, progress, features), ...reporter }
    const report = await searchTransfer(task, { ...options, model, signal }, showing)
    const { accuracy, loss } = report.validation
    terminal.results()
    terminal.say()
    fact(terminal, 'Best', `validation accuracy ${percent(accuracy)}, loss ${loss.toFixed(4)} (the last one marked *)`)
    fact(terminal, 'Settings', report.options)
    fact(terminal, 'Run', `${shown(report.runDir)}  ${terminal.colors.dim('settings.json, trials.jsonl, report.json')}`)
    if (report.meaningless) fact(terminal, '', terminal.colors.yellow(meaninglessText))
    if (json) terminal.json(report)
  })
}

function tableOf(terminal: Terminal, progress: ProgressLine, features: FeatureLines): TransferSearchReporter {
  const { say, colors } = terminal
  const { onDownload, onBase, onExtract, onFeatures } = features
  const columns = fitting(figures, terminal.columns - changeWidth)
  const clear = (): void => {
    progress.clear()
    features.clear()
  }
  return {
    ...{ onDownload, onBase, onExtract, onFeatures },
    onProgress: (now) => progress.update(now),
    onQuestion(title) {
      clear()
      say()
      say(`${colors.dim(titleRow(columns))}    ${colors.bold(title)}`)
    },
    onTrial(trial, isNew) {
      clear()
      const mark = trial.isBest ? colors.green('*') : ' '
      say(`${tableRow(columns, trial)}  ${mark} ${changeText(trial)}${isNew ? '' : colors.dim(' (done before)')}`)
    },
  }
}

/** The places that a trial's change takes, mostly. */
const changeWidth = 36

const figures: readonly TableColumn<SearchTrial>[] = [
  { title: 'Accuracy', width: 11, cell: (trial) => percent(trial.validationAccuracy) },
  { title: 'Loss', width: 10, cell: (trial) => trial.validationLoss.toFixed(4) },
  { title: 'Epoch', width: 8, cell: (trial) => String(trial.epoch), spare: 1 },
  { title: 'Seconds', width: 10, cell: (trial) => trial.seconds.toFixed(1), spare: 2 },
]

function changeText({ change }: SearchTrial): string {
  return Object.entries(change)
    .map(([name, value]) => (name === 'layers' ? textOf(value).replaceAll(',', ', ') : `${name} ${textOf(value)}`))
    .join(', ')
}
