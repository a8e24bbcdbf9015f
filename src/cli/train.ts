/** `weftgrad train NETWORK`: runs the job and shows its progress. */
import { count, percent } from '../numbers.ts'
import { shown } from '../runs/run-folder.node.ts'
import type { Task } from '../tasks/task.ts'
import type { TrainReport } from '../train/result.ts'
import { type TrainOptions, type TrainReporter, train } from '../train/run.node.ts'
import { runJobCommand } from './job-command.ts'
import { ProgressLine } from './progress.ts'
import { errorsText, resultsText } from './results.ts'
import { type OutputOptions, openTerminal, type Terminal } from './terminal.ts'
import { EpochTable, fact, sayModel, trainingText } from './training-text.ts'

export async function trainCommand(
  task: Task,
  { json, quiet, verbose, ...options }: TrainOptions & OutputOptions,
): Promise<void> {
  const terminal = openTerminal({ json, quiet, verbose })
  const drawing = new ProgressLine(terminal)
  await runJobCommand({ task, command: task.network.command, terminal, drawing }, async (signal, reporter) => {
    const report = await train(task, { ...options, signal }, { ...reporter, ...showing(terminal, drawing) })
    drawing.clear()
    terminal.results()
    showReport(report, terminal)
    if (json) terminal.json(summaryOf(report))
  })
}

function showing(terminal: Terminal, progress: ProgressLine): TrainReporter {
  let table: EpochTable | undefined
  return {
    onModel: (model) => sayModel(terminal, model),
    onBegin(facts, settings, resumed) {
      fact(terminal, 'Training', trainingText(facts, settings.batchSize, 'images'))
      if (resumed !== undefined) {
        const steps = resumed.step > 0 ? ` and ${count(resumed.step)} steps` : ''
        fact(terminal, 'Resumed', `after ${resumed.epoch} of ${settings.epochs} epochs${steps}`)
      }
      for (const { family, variant, alternatives } of facts.choices)
        terminal.detail(`  ${family}: ${variant}, of ${alternatives.join(', ')}`)
      table = new EpochTable(
        terminal,
        resumed?.history.find((logs) => logs.epoch === resumed.best?.epoch),
      )
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

function showReport(report: TrainReport, terminal: Terminal): void {
  const { dim } = terminal.colors
  const { say } = terminal
  say()
  say(resultsText(report, terminal))
  const wrong = errorsText(
    report.errors,
    report.perClass.map((one) => one.class),
    terminal.colors,
  )
  if (wrong !== '') say(wrong)
  say()
  const { keptEpoch, bestEpoch, validation, secondsPerEpoch, millisecondsPerStep } = report
  const which = validation !== null && keptEpoch === bestEpoch ? 'Best epoch' : 'Last epoch'
  const validated =
    validation === null
      ? ''
      : ` (validation accuracy ${percent(validation.accuracy)}, loss ${validation.loss.toFixed(4)})`
  fact(terminal, which, `${keptEpoch}${validated}`)
  const step = millisecondsPerStep === null ? '' : `, ${millisecondsPerStep.toFixed(2)} ms per step`
  fact(terminal, 'Speed', `${secondsPerEpoch.toFixed(1)} s per epoch${step}`)
  fact(terminal, 'Run', `${shown(report.runDir)}  ${dim('model.safetensors, report.json, curves.svg, ...')}`)
}

/** The fields `--json` promises, in their order. */
function summaryOf(report: TrainReport) {
  const { adapter, hardware, parameters, epochs, batchSize, secondsPerEpoch, millisecondsPerStep } = report
  const { dispatchesPerStep, firstStepSeconds, test, validation, history, runDir } = report
  const speed = { secondsPerEpoch, millisecondsPerStep, dispatchesPerStep, firstStepSeconds }
  return { adapter, hardware, parameters, epochs, batchSize, ...speed, test, validation, history, runDir }
}
