/** `weftgrad train lenet`: runs the job and shows how it goes. */
import { WeftgradError } from '../errors.ts'
import type { EpochLogs } from '../nn/contract.ts'
import { shown } from '../study/run-folder.node.ts'
import { type DataFacts, type TrainLenetOptions, type TrainReporter, trainLenet } from '../study/train-lenet.node.ts'
import type { TrainReport } from '../study/train-report.node.ts'
import { reportFailure } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { ProgressLine } from './progress.ts'
import { resultsText } from './results.ts'
import { grouped, openTerminal, percent, type Terminal } from './terminal.ts'

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
    const stopped = error instanceof WeftgradError && error.code === 'aborted' && interrupt.exitCode !== undefined
    if (stopped) terminal.note(error.message)
    const code = stopped ? interrupt.exitCode : reportFailure(error)
    // A run that went wrong for its numbers would do so again.
    const again = error instanceof WeftgradError && !['not-finite', 'argument', 'mismatch'].includes(error.code)
    if (resumable !== undefined && again) {
      terminal.note(`Go on with:  npx weftgrad train lenet --resume ${quoted(shown(resumable))}`)
    }
    process.exitCode = code
  } finally {
    interrupt.release()
  }
}

function showing(terminal: Terminal, progress: ProgressLine, onSaved: (runDir: string) => void): TrainReporter {
  const { bold, dim } = terminal.colors
  const fact = (name: string, text: string): void => terminal.say(`${bold(name.padEnd(10))}${text}`)
  let best: EpochLogs | undefined
  return {
    onNote(line) {
      progress.clear()
      terminal.note(terminal.noteColors.dim(line))
    },
    onAdapter: (device) => fact('Adapter', adapterText(device.facts.driver, device.facts.hardware)),
    onData: (facts) => fact('Data', dataText(facts)),
    onModel(model) {
      terminal.say()
      terminal.say(model.summary().replace(/^(?=.)/gm, '  '))
      terminal.say()
    },
    onBegin(facts, settings, resumed) {
      fact(
        'Training',
        `${grouped(facts.trainCount)} images, ${grouped(facts.validationCount)} to validate; ` +
          `batches of ${settings.batchSize}, ${grouped(facts.stepsPerEpoch)} steps an epoch, ${facts.dispatchesPerStep} dispatches a step`,
      )
      if (resumed !== undefined) {
        best = resumed.history.find((logs) => logs.epoch === resumed.best?.epoch)
        const steps = resumed.step > 0 ? ` and ${grouped(resumed.step)} steps` : ''
        fact('Resumed', `after ${resumed.epoch} of ${settings.epochs} epochs${steps}`)
      }
      terminal.say()
      terminal.say(dim('  Epoch   Train loss  Accuracy   Validation loss  Accuracy   Seconds'))
    },
    onProgress: (now) => progress.update(now),
    onEpochEnd(logs) {
      progress.clear()
      const isBest = best === undefined || isBetter(logs, best)
      if (isBest) best = logs
      terminal.say(epochText(logs, terminal) + (isBest ? dim('  best so far') : ''))
    },
    onSaved,
    onTest: () => progress.clear(),
  }
}

/** The rule of `fit`: the higher validation accuracy, the lower loss at a tie. */
function isBetter(logs: EpochLogs, best: EpochLogs): boolean {
  const [own = 0, other = 0] = [logs.validationAccuracy, best.validationAccuracy]
  return own > other || (own === other && (logs.validationLoss ?? 0) < (best.validationLoss ?? 0))
}

function adapterText(driver: string, hardware: boolean): string {
  return `${driver} (${hardware ? 'hardware' : 'software, on the CPU'})`
}

function dataText({ folder, published, split, limit, train, test, duplicates }: DataFacts): string {
  const kind = published ? 'Fashion-MNIST' : 'Fashion-MNIST, not the published bytes'
  const splitting = split === 'official' ? '' : `; test set drawn by seed, ${grouped(duplicates)} duplicates left out`
  const limited = limit === null ? '' : `; limited to the first ${grouped(limit)} images`
  return `${kind}: ${grouped(train)} images to train and validate, ${grouped(test)} to test${splitting}${limited} (${folder})`
}

function epochText(logs: EpochLogs, { colors }: Terminal): string {
  const { epoch, loss, accuracy, validationLoss, validationAccuracy, seconds } = logs
  const validation =
    validationLoss === undefined || validationAccuracy === undefined
      ? ' '.repeat(28)
      : `${validationLoss.toFixed(4).padStart(18)}${colors.bold(percent(validationAccuracy).padStart(10))}`
  return `  ${String(epoch).padStart(5)}${loss.toFixed(4).padStart(13)}${percent(accuracy).padStart(10)}${validation}${seconds.toFixed(1).padStart(10)}`
}

function showReport(report: TrainReport, terminal: Terminal): void {
  const { bold, dim } = terminal.colors
  const { say } = terminal
  say()
  say(resultsText(report, terminal.colors))
  say()
  const { keptEpoch, bestEpoch, validation, secondsPerEpoch, millisecondsPerStep } = report
  const kept = keptEpoch === bestEpoch ? 'the best by validation' : 'the last'
  say(
    `${bold('Weights')}   of epoch ${keptEpoch}, ${kept}: loss ${validation.loss.toFixed(4)}, accuracy ${percent(validation.accuracy)}`,
  )
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

/** As a shell takes it. */
function quoted(path: string): string {
  return /^[\w./:@%+=-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}
