/** `weftgrad study`: runs the whole study and prints where its report is. */
import { clock, percent, timeLeft } from '../numbers.ts'
import { levelText, sureText } from '../report/commentary.ts'
import { rankedOf } from '../report/comparison.ts'
import { partTitle, type StudyPart, studyParts } from '../report/parts.ts'
import { type StudyReport, writtenReport } from '../report/study-report.ts'
import { shown } from '../runs/run-folder.node.ts'
import { totalSeconds } from '../study/clock.ts'
import { studyFiles } from '../study/folder.node.ts'
import type { FinishedStudy } from '../study/report.node.ts'
import { runStudy, type StudyOptions, type StudyReporter } from '../study/run.node.ts'
import type { PublishedFigures, PublishedTask } from '../tasks/task.ts'
import { zoo, zooNames } from '../weights/zoo.ts'
import { BarLine } from './bar.ts'
import { column } from './columns.ts'
import { runJobCommand } from './job-command.ts'
import type { QueueOptions } from './queue-options.ts'
import { type OutputOptions, openTerminal, type Terminal } from './terminal.ts'
import { fact } from './training-text.ts'

export type StudyCommandOptions = Omit<StudyOptions, 'signal' | 'plan' | 'featureDir' | 'remote'> &
  QueueOptions &
  OutputOptions

export async function studyCommand(
  task: PublishedTask,
  { json, quiet, verbose, queue, store, ...options }: StudyCommandOptions,
): Promise<void> {
  const terminal = openTerminal({ json, quiet, verbose })
  const bar = new BarLine(terminal)
  await runJobCommand(
    { task, command: 'study', terminal, drawing: bar, at: { queue, store } },
    async (signal, reporter, remote) => {
      const study = await runStudy(
        task,
        { ...options, signal, remote },
        { ...reporter, ...showing(task, terminal, bar) },
      )
      bar.clear()
      terminal.results()
      showResult(study, task.published, terminal)
      if (json) terminal.json(writtenReport(study.report, task))
    },
  )
}

function showing(task: PublishedTask, terminal: Terminal, bar: BarLine): StudyReporter {
  const all = studyParts(task)
  const title = (part: StudyPart): string => partTitle(task, part)
  const place = (part: StudyPart): string => `[${all.indexOf(part) + 1}/${all.length}]`
  return {
    onEstimate(estimate, { millisecondsPerStep, imagesPerSecond }) {
      const rates = zooNames.flatMap((name) => {
        const rate = imagesPerSecond[name]
        return rate === undefined ? [] : [`${zoo[name].title} ${rate.toFixed(1)} images/s`]
      })
      const measured = [`${task.network.title} ${millisecondsPerStep.toFixed(2)} ms per step`, ...rates].join(', ')
      fact(terminal, 'Measured', `${measured} (before autotuning)`)
      fact(terminal, 'Estimate', `${clock(totalSeconds(estimate))} in total, less if features are cached`)
      for (const part of all) {
        const seconds = estimate[part]
        if (seconds === undefined) continue
        const text = seconds > 0 ? clock(seconds) : 'unknown: its weights are not on this computer'
        fact(terminal, '', `${column(title(part), 32)}${text}`)
      }
      terminal.say()
    },
    onPartBegin(part) {
      bar.clear()
      terminal.say(`${place(part)} ${terminal.colors.bold(title(part))}`)
    },
    onProgress({ part, share, etaSeconds }, detail) {
      const told = [...timeLeft(etaSeconds), detail]
      const after = `${Math.floor(100 * share)} % of the study`
      const plain = `${title(part)}: ${detail}; ${[after, ...timeLeft(etaSeconds)].join(', ')}`
      bar.show({ share, before: place(part), after, told, plain })
    },
    onPartEnd(part, outcome, isNew) {
      bar.clear()
      if (!isNew) terminal.say(`${place(part)} ${terminal.colors.bold(title(part))}`)
      if (outcome.state === 'skipped') terminal.say(`      ${outcome.reason}`)
      else terminal.say(`      ${isNew ? `done in ${clock(outcome.seconds)}` : 'done before'}`)
    },
  }
}

function showResult({ report, runDir, page }: FinishedStudy, published: PublishedFigures, terminal: Terminal): void {
  const { colors } = terminal
  terminal.say()
  modelLines(report, published, terminal)
  fact(terminal, 'Report', `${colors.bold(shown(page))}  ${colors.dim(`and ${studyFiles.report}`)}`)
  fact(terminal, 'Folder', shown(runDir))
}

function modelLines({ comparison }: StudyReport, { source }: PublishedFigures, terminal: Terminal): void {
  if (comparison === null) return
  const { say, colors } = terminal
  const width = Math.max(...comparison.models.map(({ name }) => name.length)) + 2
  say(
    colors.dim(
      `  ${'Model'.padEnd(width)}${'Test accuracy'.padStart(14)}   ${column('95 % interval', 22)}${source[0]?.toUpperCase()}${source.slice(1)}`,
    ),
  )
  for (const { name, test, interval, notebook } of comparison.models) {
    const range = `${percent(interval.low)} to ${percent(interval.high)}`
    const other = notebook === null ? '' : percent(notebook)
    say(`  ${name.padEnd(width)}${percent(test.accuracy).padStart(14)}   ${column(range, 22)}${other}`)
  }
  say()
  const [first, second] = rankedOf(comparison.models)
  if (first !== undefined && second !== undefined)
    say(
      `${comparison.leaders.length > 1 ? levelText(comparison) : `${first.name} is the most accurate.`} ${sureText(comparison, first, second)}`,
    )
  say()
}
