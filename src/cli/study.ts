/** `weftgrad study`: the whole study in one command, and where its report is. */
import { levelText, rankedOf, sureText } from '../study/comparison.ts'
import { shown } from '../study/run-folder.node.ts'
import { totalSeconds } from '../study/study-clock.ts'
import { studyFiles } from '../study/study-folder.node.ts'
import { partTitles, type StudyPart, studyParts } from '../study/study-plan.ts'
import type { FinishedStudy } from '../study/study-report.node.ts'
import type { StudyReport } from '../study/study-result.ts'
import { runStudy, type StudyOptions, type StudyReporter } from '../study/study-run.node.ts'
import { zoo, zooNames } from '../weights/zoo.ts'
import { BarLine } from './bar.ts'
import { exitCodeAfter, sayHowToResume } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { clock, grouped, openTerminal, percent, type Terminal } from './terminal.ts'
import { adapterText, fact } from './training-text.ts'

export type StudyCommandOptions = Omit<StudyOptions, 'signal' | 'plan' | 'featureDir'> & { readonly json?: boolean }

/** Sets the exit code: 0, 1, 2 for bad arguments, 130 or 143 after a signal. */
export async function studyCommand({ json, ...options }: StudyCommandOptions): Promise<void> {
  const terminal = openTerminal({ json })
  const bar = new BarLine(terminal)
  const interrupt = interruptible(
    (name) => {
      bar.close()
      const again = name === 'SIGINT' ? ' Ctrl-C again ends at once.' : ''
      terminal.note(`Stopping; what is done so far is kept.${again}`)
    },
    () => bar.close(),
  )
  let folder: string | undefined
  const reporter = showing(terminal, bar, (place) => {
    folder = place
  })
  try {
    const study = await runStudy({ ...options, signal: interrupt.signal }, reporter)
    bar.clear()
    showResult(study, terminal)
    if (json) terminal.json(study.report)
  } catch (error) {
    bar.clear()
    const code = exitCodeAfter(error, interrupt, terminal.note)
    sayHowToResume(error, 'study', folder, terminal)
    process.exitCode = code
  } finally {
    interrupt.release()
  }
}

function showing(terminal: Terminal, bar: BarLine, onFolder: (folder: string) => void): StudyReporter {
  const { noteColors } = terminal
  return {
    onFolder,
    onNote(line) {
      bar.clear()
      terminal.note(noteColors.dim(line))
    },
    onAdapter: ({ facts }) => fact(terminal, 'Adapter', adapterText(facts.driver, facts.hardware)),
    onData({ folder, published, train, test }) {
      const kind = published ? 'Fashion-MNIST' : 'Fashion-MNIST, not the published bytes'
      fact(terminal, 'Data', `${kind}: ${grouped(train)} images to train, ${grouped(test)} to test (${folder})`)
    },
    onEstimate(estimate, { millisecondsPerStep, imagesPerSecond }) {
      const rates = zooNames.flatMap((name) => {
        const rate = imagesPerSecond[name]
        return rate === undefined ? [] : [`${zoo[name].title} ${rate.toFixed(1)} images/s`]
      })
      const measured = [`LeNet-5 ${millisecondsPerStep.toFixed(2)} ms a step`, ...rates].join(', ')
      fact(terminal, 'Measured', `${measured}, before kernels are tuned`)
      fact(terminal, 'Estimate', `${clock(totalSeconds(estimate))} in all, less where features are in the cache`)
      for (const part of studyParts) {
        const seconds = estimate[part]
        if (seconds === undefined) continue
        const text = seconds > 0 ? clock(seconds) : 'unknown: its weights are not on this computer'
        fact(terminal, '', `${partTitles[part].padEnd(32)}${text}`)
      }
      terminal.say()
    },
    onPartBegin(part) {
      bar.clear()
      terminal.say(`${place(part)} ${terminal.colors.bold(partTitles[part])}`)
    },
    onProgress({ part, share, etaSeconds }, detail) {
      const told = [`${clock(etaSeconds)} left`, detail]
      const after = `${Math.floor(100 * share)} % of the study`
      const plain = `${partTitles[part]}: ${detail}; ${after}, ${clock(etaSeconds)} left`
      bar.show({ share, before: place(part), after, told, plain })
    },
    onPartEnd(part, outcome, isNew) {
      bar.clear()
      if (!isNew) terminal.say(`${place(part)} ${terminal.colors.bold(partTitles[part])}`)
      if (outcome.state === 'skipped') terminal.say(`      ${outcome.reason}`)
      else terminal.say(`      ${isNew ? `done in ${clock(outcome.seconds)}` : 'done before'}`)
    },
  }
}

function place(part: StudyPart): string {
  return `[${studyParts.indexOf(part) + 1}/${studyParts.length}]`
}

function showResult({ report, folder, page }: FinishedStudy, terminal: Terminal): void {
  const { colors } = terminal
  terminal.say()
  modelLines(report, terminal)
  fact(terminal, 'Report', `${colors.bold(shown(page))}  ${colors.dim(`${studyFiles.report} beside it`)}`)
  fact(terminal, 'Folder', shown(folder))
}

function modelLines({ comparison }: StudyReport, terminal: Terminal): void {
  if (comparison === null) return
  const { say, colors } = terminal
  const width = Math.max(...comparison.models.map(({ name }) => name.length)) + 2
  say(colors.dim(`  ${'Model'.padEnd(width)}${'Test accuracy'.padStart(14)}   ${'95 % interval'.padEnd(20)}Notebook`))
  for (const { name, test, interval, notebook } of comparison.models) {
    const range = `${percent(interval.low)} to ${percent(interval.high)}`
    const other = notebook === null ? '' : percent(notebook)
    say(`  ${name.padEnd(width)}${percent(test.accuracy).padStart(14)}   ${range.padEnd(20)}${other}`)
  }
  say()
  const [first, second] = rankedOf(comparison.models)
  if (first !== undefined && second !== undefined)
    say(
      `${comparison.leaders.length > 1 ? levelText(comparison) : `${first.name} is right most often.`} ${sureText(comparison, first, second)}`,
    )
  say()
}
