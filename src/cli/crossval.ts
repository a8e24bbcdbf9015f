/** `weftgrad crossval`: cross-validates LeNet-5 and shows how it goes. */
import type { CrossValidationResult, FoldResult, FoldsSummary } from '../study/crossval.ts'
import {
  type CrossValidationOptions,
  type CrossValidationReporter,
  crossValidate,
  type FoldPlace,
} from '../study/crossval-run.node.ts'
import { shown } from '../study/run-folder.node.ts'
import { BarLine } from './bar.ts'
import { runStudyCommand } from './study-command.ts'
import { clock, counted, grouped, openTerminal, percent, type Terminal } from './terminal.ts'
import { fact, sayModel } from './training-text.ts'

/** Sets the exit code: 0, 1, 2 for bad arguments, 130 or 143 after a signal. */
export async function crossvalCommand({
  json,
  ...options
}: CrossValidationOptions & { json?: boolean }): Promise<void> {
  const terminal = openTerminal({ json })
  const bar = new BarLine(terminal)
  await runStudyCommand('crossval', terminal, bar, async (signal, reporter) => {
    const result = await crossValidate({ ...options, signal }, { ...reporter, ...showing(terminal, bar) })
    bar.clear()
    showResult(result, terminal)
    if (json) terminal.json(result)
  })
}

function showing(terminal: Terminal, bar: BarLine): CrossValidationReporter {
  let kind: FoldPlace['kind'] | undefined
  return {
    onBegin({ settings, model, trainCount, validationCount }) {
      sayModel(terminal, model)
      const counts = `${grouped(trainCount)} images to train, ${grouped(validationCount)} to validate`
      fact(
        terminal,
        'Folds',
        `${settings.folds}, stratified by class: ${counts}, ${counted(settings.epochs, 'epoch')} each`,
      )
      terminal.say()
      terminal.say(terminal.colors.dim(columns))
    },
    onProgress({ kind, fold }, { epoch, epochs }, { done, total, etaSeconds }) {
      const name = kind === 'honest' ? `Fold ${fold}` : `Fold ${fold}, carried`
      const told = [`${clock(etaSeconds)} left`, `epoch ${epoch} of ${epochs}`]
      const after = `${done.toFixed(1)} of ${total} epochs`
      const plain = `${name}: ${[after, ...told].join(', ')}`
      bar.show({ share: done / total, before: name, after, told, plain })
    },
    onFold(place, result) {
      bar.clear()
      if (place.kind === 'carried' && kind === 'honest') {
        terminal.say()
        terminal.say(`  One model carried on from fold 1, which validates on what it was trained on before:`)
      }
      kind = place.kind
      terminal.say(foldText(result))
    },
    onTest: () => bar.clear(),
  }
}

const columns = '   Fold   Train loss  Accuracy   Validation loss  Accuracy   Seconds'

function foldText({ fold, loss, accuracy, history }: FoldResult): string {
  const last = history.at(-1)
  const seconds = history.reduce((sum, logs) => sum + logs.seconds, 0)
  const train = `${(last?.loss ?? Number.NaN).toFixed(4).padStart(13)}${percent(last?.accuracy ?? Number.NaN).padStart(10)}`
  return `  ${String(fold).padStart(5)}${train}${loss.toFixed(4).padStart(18)}${percent(accuracy).padStart(10)}${seconds.toFixed(1).padStart(10)}`
}

function showResult(
  { honest, carryOver, explanation, epochs, seconds, runDir }: CrossValidationResult,
  terminal: Terminal,
): void {
  const { bold, dim } = terminal.colors
  terminal.say()
  fact(terminal, 'Honest', `${bold(summaryText(honest))}, a new model for each fold`)
  if (carryOver !== null) {
    fact(terminal, 'Carried', `${summaryText(carryOver)}, one model through all folds: no estimate of anything`)
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
