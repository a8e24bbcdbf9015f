/** `weftgrad transfer NETWORK --search`: searches for the layers, size and head, and prints the trials as a table. */
import { percent } from '../numbers.ts'
import { shown } from '../runs/run-folder.node.ts'
import { textOf } from '../runs/settings.ts'
import type { Task } from '../tasks/task.ts'
import { type SearchTrial, searchTransfer, type TransferSearchReporter } from '../transfer/search.node.ts'
import { FeatureLines, meaninglessText } from './feature-text.ts'
import { runJobCommand } from './job-command.ts'
import { ProgressLine } from './progress.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { fact } from './training-text.ts'
import { baseOf, type TransferCommandOptions } from './transfer.ts'

export async function transferSearchCommand(
  task: Task,
  network: string | undefined,
  { json, ...options }: TransferCommandOptions,
): Promise<void> {
  const model = baseOf(network, options.resume)
  const terminal = openTerminal({ json })
  const progress = new ProgressLine(terminal)
  const features = new FeatureLines(terminal, task)
  const drawing = {
    clear() {
      progress.clear()
      features.clear()
    },
    close() {
      progress.close()
      features.close()
    },
  }
  await runJobCommand({ task, command: 'transfer --search', terminal, drawing }, async (signal, reporter) => {
    const showing = { ...tableOf(terminal, progress, features), ...reporter }
    const report = await searchTransfer(task, { ...options, model, signal }, showing)
    const { accuracy, loss } = report.validation
    terminal.say()
    fact(terminal, 'Best', `validation accuracy ${percent(accuracy)}, loss ${loss.toFixed(4)}`)
    fact(terminal, 'Settings', report.options)
    fact(terminal, 'Run', `${shown(report.runDir)}  ${terminal.colors.dim('settings.json, trials.jsonl, report.json')}`)
    if (report.meaningless) fact(terminal, '', terminal.colors.yellow(meaninglessText))
    if (json) terminal.json(report)
  })
}

function tableOf(terminal: Terminal, progress: ProgressLine, features: FeatureLines): TransferSearchReporter {
  const { say, colors } = terminal
  const { onDownload, onBase, onExtract, onFeatures } = features
  return {
    ...{ onDownload, onBase, onExtract, onFeatures },
    onProgress: (now) => progress.update(now),
    onQuestion(title) {
      progress.clear()
      features.clear()
      say()
      say(`  ${colors.bold(title.padEnd(48))}${colors.dim('Accuracy      Loss   Epoch   Seconds')}`)
    },
    onTrial(trial, isNew) {
      progress.clear()
      features.clear()
      say(
        `  ${rowOf(trial)}  ${trial.isBest ? colors.green('best so far') : ''}${isNew ? '' : colors.dim(' (done before)')}`.trimEnd(),
      )
    },
  }
}

function rowOf({ change, validationAccuracy, validationLoss, epoch, seconds }: SearchTrial): string {
  const changed = Object.entries(change).map(([name, value]) =>
    name === 'layers' ? textOf(value) : `${name} ${textOf(value)}`,
  )
  const figures = [percent(validationAccuracy).padStart(8), validationLoss.toFixed(4).padStart(10)]
  return `${changed.join(', ').padEnd(48)}${figures.join('')}${String(epoch).padStart(8)}${seconds.toFixed(1).padStart(10)}`
}
