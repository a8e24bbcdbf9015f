/** `weftgrad transfer MODEL`: trains a head on a pretrained network's features, and shows how it goes. */
import { areWeightsMissing } from '../study/pretrained-base.node.ts'
import { shown } from '../study/run-folder.node.ts'
import {
  type TransferOptions,
  type TransferReport,
  type TransferReporter,
  trainTransfer,
} from '../study/transfer.node.ts'
import { zooNameOf } from '../weights/zoo.ts'
import { exitCodeAfter } from './failure.ts'
import { FeatureLines, featuresText, meaninglessText } from './feature-text.ts'
import { interruptible } from './interrupt.ts'
import { ProgressLine } from './progress.ts'
import { resultsText } from './results.ts'
import { grouped, openTerminal, percent, type Terminal } from './terminal.ts'
import { EpochTable, fact, sayModel, trainingText } from './training-text.ts'

export type TransferCommandOptions = Omit<TransferOptions, 'model' | 'signal'> & { readonly json?: boolean }

/** Sets the exit code: 0, 1, 2 for bad arguments and missing weights, 130 or 143 after a signal. */
export async function transferCommand(name: string, { json, ...options }: TransferCommandOptions): Promise<void> {
  const model = zooNameOf(name)
  const terminal = openTerminal({ json })
  const progress = new ProgressLine(terminal)
  const features = new FeatureLines(terminal)
  const close = (): void => {
    progress.close()
    features.close()
  }
  const interrupt = interruptible(() => {
    close()
    terminal.note('Stopping; the features that are finished are kept.')
  }, close)
  try {
    const reporter = showing(terminal, progress, features)
    const report = await trainTransfer({ ...options, model, signal: interrupt.signal }, reporter)
    showReport(report, terminal)
    if (json) terminal.json(summaryOf(report))
  } catch (error) {
    close()
    const code = exitCodeAfter(error, interrupt, terminal.note)
    process.exitCode = areWeightsMissing(error) ? 2 : code
  } finally {
    interrupt.release()
  }
}

function showing(terminal: Terminal, progress: ProgressLine, features: FeatureLines): TransferReporter {
  let table: EpochTable | undefined
  const { onDownload, onAdapter, onBase, onImages, onExtract, onFeatures } = features
  return {
    ...{ onDownload, onAdapter, onBase, onImages, onExtract, onFeatures },
    onNote(line) {
      progress.clear()
      features.onNote(line)
    },
    onFeaturesReady(facts) {
      features.clear()
      fact(terminal, 'Features', featuresText(facts))
    },
    onModel: (model) => sayModel(terminal, model),
    onBegin(facts, settings, stage) {
      const title = stage === 'head' ? 'Training' : 'Unfrozen'
      fact(terminal, title, trainingText(facts, settings.batchSize, 'rows of features'))
      table = new EpochTable(terminal)
    },
    onProgress: (now) => progress.update(now),
    onEpochEnd(logs) {
      progress.clear()
      table?.row(logs)
    },
    onTest: () => progress.clear(),
  }
}

function showReport(report: TransferReport, terminal: Terminal): void {
  const { say, colors } = terminal
  say()
  say(resultsText(report, colors))
  say()
  const { bestEpoch, epochs, validation, fineTuning, secondsPerEpoch, parameters, runDir } = report
  const kept = `of epoch ${bestEpoch} of ${epochs}, the best by validation`
  fact(terminal, 'Weights', `${kept}: loss ${validation.loss.toFixed(4)}, accuracy ${percent(validation.accuracy)}`)
  if (fineTuning !== undefined) {
    const what = `${fineTuning.layers.length} layers from ${fineTuning.from} on`
    const outcome = fineTuning.kept
      ? 'better than the head alone'
      : 'no better than the head alone, whose weights are kept'
    fact(terminal, 'Unfrozen', `${what}: ${outcome}`)
  }
  fact(terminal, 'Speed', `${secondsPerEpoch.toFixed(1)} s an epoch, ${grouped(parameters)} parameters`)
  fact(terminal, 'Run', `${shown(runDir)}  ${colors.dim('model.safetensors, report.json, curves.svg, ...')}`)
  if (report.meaningless) fact(terminal, '', colors.yellow(meaninglessText))
}

/** The fields `--json` promises, in their order, and some more. */
function summaryOf(report: TransferReport) {
  const { model, size, head, features, test, history, runDir, adapter } = report
  const { hardware, weights, meaningless, layers, pool, fineTuning, images, validation, bestEpoch, parameters } = report
  return {
    ...{ model, size, head, features, test, history, runDir, adapter },
    ...{ hardware, weights, meaningless, layers, pool, images, validation, bestEpoch, parameters },
    ...(fineTuning === undefined ? {} : { fineTuning }),
  }
}
