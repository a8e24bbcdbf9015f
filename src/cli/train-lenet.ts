/** `weftgrad train lenet`: runs the job and shows how it goes. */
import { shown } from '../study/run-folder.node.ts'
import { type DataFacts, type TrainLenetOptions, type TrainReporter, trainLenet } from '../study/train-lenet.node.ts'
import type { TrainReport } from '../study/train-report.node.ts'
import { exitCodeAfter, sayHowToResume } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { ProgressLine } from './progress.ts'
import { resultsText } from './results.ts'
import { grouped, openTerminal, percent, type Terminal } from './terminal.ts'
import { adapterText, EpochTable, fact, sayModel, trainingText } from './training-text.ts'

/** Sets the exit code: 0, 1, 2 for bad arguments, 130 or 143 after a signal. */
export async function trainLenetCommand({ json, ...options }: TrainLenetOptions & { json?: boolean }): Promise<void> {
  const terminal = openTerminal({ json })
  const progress = new ProgressLine(terminal)
  const interrupt = interruptible(
    (name) => {
      progress.close()
      const again = name === 'SIGINT' ? ' Ctrl-C again ends at once.' : ''
      terminal.note(`Stopping; the checkpoint is written first.${again}`)
    },
    () => progress.close(),
  )
  let resumable: string | undefined
  const reporter = showing(terminal, progress, (runDir) => {
    resumable = runDir
  })
  try {
    const report = await trainLenet({ ...options, signal: interrupt.signal }, reporter)
    progress.clear()
    showReport(report, terminal)
    if (json) terminal.json(summaryOf(report))
  } catch (error) {
    progress.clear()
    const code = exitCodeAfter(error, interrupt, terminal.note)
    sayHowToResume(error, 'train lenet', resumable, terminal)
    process.exitCode = code
  } finally {
    interrupt.release()
  }
}

function showing(terminal: Terminal, progress: ProgressLine, onSaved: (runDir: string) => void): TrainReporter {
  let table: EpochTable | undefined
  return {
    onNote(line) {
      progress.clear()
      terminal.note(terminal.noteColors.dim(line))
    },
    onAdapter: ({ facts }) => fact(terminal, 'Adapter', adapterText(facts.driver, facts.hardware)),
    onData: (facts) => fact(terminal, 'Data', dataText(facts)),
    onModel: (model) => sayModel(terminal, model),
    onBegin(facts, settings, resumed) {
      fact(terminal, 'Training', trainingText(facts, settings.batchSize, 'images'))
      if (resumed !== undefined) {
        const steps = resumed.step > 0 ? ` and ${grouped(resumed.step)} steps` : ''
        fact(terminal, 'Resumed', `after ${resumed.epoch} of ${settings.epochs} epochs${steps}`)
      }
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
    onSaved,
    onTest: () => progress.clear(),
  }
}

function dataText({ folder, published, split, limit, train, test, duplicates }: DataFacts): string {
  const kind = published ? 'Fashion-MNIST' : 'Fashion-MNIST, not the published bytes'
  const splitting = split === 'official' ? '' : `; test set drawn by seed, ${grouped(duplicates)} duplicates left out`
  const limited = limit === null ? '' : `; limited to the first ${grouped(limit)} images`
  return `${kind}: ${grouped(train)} images to train and validate, ${grouped(test)} to test${splitting}${limited} (${folder})`
}

function showReport(report: TrainReport, terminal: Terminal): void {
  const { bold, dim } = terminal.colors
  const { say } = terminal
  say()
  say(resultsText(report, terminal.colors))
  say()
  const { keptEpoch, bestEpoch, validation, secondsPerEpoch, millisecondsPerStep } = report
  const kept = validation !== null && keptEpoch === bestEpoch ? 'the best by validation' : 'the last'
  const validated =
    validation === null ? '' : `: loss ${validation.loss.toFixed(4)}, accuracy ${percent(validation.accuracy)}`
  say(`${bold('Weights')}   of epoch ${keptEpoch}, ${kept}${validated}`)
  const step = millisecondsPerStep === null ? '' : `, ${millisecondsPerStep.toFixed(2)} ms a step`
  say(`${bold('Speed')}     ${secondsPerEpoch.toFixed(1)} s an epoch${step}`)
  say(`${bold('Run')}       ${shown(report.runDir)}  ${dim('model.safetensors, report.json, curves.svg, ...')}`)
}

/** The fields `--json` promises, in their order. */
function summaryOf(report: TrainReport) {
  const { adapter, hardware, parameters, epochs, batchSize, secondsPerEpoch, millisecondsPerStep } = report
  const { dispatchesPerStep, firstStepSeconds, test, validation, history, runDir } = report
  const speed = { secondsPerEpoch, millisecondsPerStep, dispatchesPerStep, firstStepSeconds }
  return { adapter, hardware, parameters, epochs, batchSize, ...speed, test, validation, history, runDir }
}
