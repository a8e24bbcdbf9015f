/** `weftgrad transfer NETWORK`: trains a head on a network's features and shows its progress. */

import { WeftgradError } from '../errors.ts'
import { count, counted, percent } from '../numbers.ts'
import { writeRunPage } from '../report/run-page.node.ts'
import { shown } from '../runs/run-folder.node.ts'
import type { Task } from '../tasks/task.ts'
import { baseNamed } from '../transfer/pretrained-base.node.ts'
import type { TransferReport } from '../transfer/result.ts'
import { type TransferOptions, type TransferReporter, trainTransfer } from '../transfer/run.node.ts'
import { type FeatureLines, featuresAndTraining, featuresText, meaninglessText } from './feature-text.ts'
import { runJobCommand } from './job-command.ts'
import type { ProgressLine } from './progress.ts'
import type { QueueOptions } from './queue-options.ts'
import { errorsText, resultsText } from './results.ts'
import { type OutputOptions, openTerminal, type Terminal } from './terminal.ts'
import { EpochTable, fact, sayModel, trainingText } from './training-text.ts'

export type TransferCommandOptions = Omit<TransferOptions, 'model' | 'signal' | 'remote'> & QueueOptions & OutputOptions

export async function transferCommand(
  task: Task,
  network: string | undefined,
  { json, quiet, verbose, queue, store, ...options }: TransferCommandOptions,
): Promise<void> {
  const model = baseOf(network, options.resume)
  const terminal = openTerminal({ json, quiet, verbose })
  const { progress, features, drawing } = featuresAndTraining(terminal, task)
  await runJobCommand(
    { task, command: 'transfer', terminal, drawing, at: { queue, store } },
    async (signal, reporter, remote) => {
      const report = await trainTransfer(
        task,
        { ...options, model, signal, remote },
        { ...showing(terminal, progress, features), ...reporter },
      )
      terminal.results()
      showReport(report, terminal)
      fact(terminal, 'Report', shown(await writeRunPage(task, report.runDir)))
      if (json) terminal.json(summaryOf(report))
    },
  )
}

/** The network that is named, or undefined for a resumed run. Throws 'argument' for neither, or an unknown one. */
export function baseOf(network: string | undefined, resume: string | undefined): string | undefined {
  if (network !== undefined) return baseNamed(network)
  if (resume !== undefined) return undefined
  throw new WeftgradError(
    'argument',
    "missing required argument 'network'. `weftgrad transfer --help` lists the networks.",
  )
}

function showing(terminal: Terminal, progress: ProgressLine, features: FeatureLines): TransferReporter {
  let table: EpochTable | undefined
  const { onDownload, onBase, onExtract, onFeatures } = features
  return {
    ...{ onDownload, onBase, onExtract, onFeatures },
    onFeaturesReady(facts) {
      features.clear()
      fact(terminal, 'Features', featuresText(facts))
    },
    onModel: (model) => sayModel(terminal, model),
    onBegin(facts, settings, stage, doneEpochs) {
      const title = stage === 'head' ? 'Training' : 'Fine-tuning'
      fact(terminal, title, trainingText(facts, settings.batchSize, 'rows of features'))
      if (doneEpochs > 0) fact(terminal, 'Resumed', `after ${counted(doneEpochs, 'epoch')}`)
      table?.end()
      table = new EpochTable(terminal)
    },
    onProgress: (now) => progress.update(now),
    onEpochEnd(logs) {
      progress.clear()
      table?.row(logs)
    },
    onTest() {
      progress.clear()
      table?.end()
    },
  }
}

function showReport(report: TransferReport, terminal: Terminal): void {
  const { say, colors } = terminal
  say()
  say(resultsText(report, terminal))
  const wrong = errorsText(
    report.errors,
    report.perClass.map((one) => one.class),
    colors,
  )
  if (wrong !== '') say(wrong)
  say()
  const { bestEpoch, epochs, validation, fineTuning, secondsPerEpoch, parameters, runDir } = report
  const validated = `validation accuracy ${percent(validation.accuracy)}, loss ${validation.loss.toFixed(4)}`
  fact(terminal, 'Best epoch', `${bestEpoch} of ${epochs} (${validated})`)
  if (fineTuning !== undefined) {
    const what = `${fineTuning.layers.length} layers, from ${fineTuning.from} on`
    const outcome = fineTuning.kept
      ? 'better than the head alone'
      : 'no better than the head alone, so the head is kept'
    fact(terminal, 'Fine-tuned', `${what}: ${outcome}`)
  }
  fact(terminal, 'Speed', `${secondsPerEpoch.toFixed(1)} s per epoch, ${count(parameters)} parameters`)
  fact(terminal, 'Run', `${shown(runDir)}  ${colors.dim('model.safetensors, report.json, curves.svg, ...')}`)
  if (report.meaningless) fact(terminal, '', colors.yellow(meaninglessText))
}

/** The fields `--json` promises, in their order, and a few more. */
function summaryOf(report: TransferReport) {
  const { model, size, head, features, test, history, runDir, adapter } = report
  const { hardware, weights, meaningless, layers, pool, fineTuning, images, validation, bestEpoch, parameters } = report
  return {
    ...{ model, size, head, features, test, history, runDir, adapter },
    ...{ hardware, weights, meaningless, layers, pool, images, validation, bestEpoch, parameters },
    ...(fineTuning === undefined ? {} : { fineTuning }),
  }
}
