/** `weftgrad tune`: searches for hyperparameters and shows its progress. */
import { clock, count, counted, percent, timeLeft } from '../numbers.ts'
import { writeRunPage } from '../report/run-page.node.ts'
import type { EpochProgress } from '../runs/epoch-clock.ts'
import { shown } from '../runs/run-folder.node.ts'
import type { SearchResult } from '../search/result.ts'
import { type SearchJobOptions, type SearchReporter, searchHyperparameters } from '../search/run.node.ts'
import { Outcomes, type PlannedBracket } from '../search/search.ts'
import type { Task } from '../tasks/task.ts'
import { BarLine } from './bar.ts'
import { type Drawing, runJobCommand } from './job-command.ts'
import { LiveBlock } from './live-block.ts'
import type { QueueOptions } from './queue-options.ts'
import { type OutputOptions, openTerminal, type Terminal } from './terminal.ts'
import { fact } from './training-text.ts'
import { bracketText, type RunningTrial, trialTable } from './trial-table.ts'

export async function tuneCommand(
  task: Task,
  { json, quiet, verbose, queue, store, ...options }: SearchJobOptions & QueueOptions & OutputOptions,
): Promise<void> {
  const terminal = openTerminal({ json, quiet, verbose })
  const view = terminal.live === undefined ? new PlainTrials(terminal) : new LiveTrials(terminal)
  await runJobCommand(
    { task, command: 'tune', terminal, drawing: view, at: { queue, store } },
    async (signal, reporter, remote) => {
      const result = await searchHyperparameters(
        task,
        { ...options, signal, remote },
        { ...reporter, ...view.reporter },
      )
      view.clear()
      terminal.results()
      showResult(result, terminal)
      fact(terminal, 'Report', shown(await writeRunPage(task, result.runDir)))
      if (json) terminal.json(result)
    },
  )
}

interface TrialView extends Drawing {
  readonly reporter: SearchReporter
}

/** The bracket's table on a terminal, redrawn as its trials progress. */
class LiveTrials implements TrialView {
  readonly #terminal: Terminal
  readonly #block: LiveBlock
  readonly #running = new Map<number, RunningTrial>()
  #bracket: PlannedBracket | undefined
  #outcomes = new Outcomes()
  #all: EpochProgress | undefined

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#block = new LiveBlock(terminal)
  }

  readonly reporter: SearchReporter = {
    onPlan: (facts) => sayPlan(this.#terminal, facts),
    onRound: (bracket, _round, _trials, outcomes) => {
      this.#bracket = bracket
      this.#outcomes = outcomes
      this.#draw()
    },
    onProgress: (trial, progress, all) => {
      this.#running.set(trial.id, { ...this.#running.get(trial.id), progress })
      this.#all = all
      this.#draw()
    },
    onEpochEnd: (trial, logs) => {
      const running = this.#running.get(trial.id)
      if (running !== undefined) this.#running.set(trial.id, { ...running, logs })
    },
    onOutcome: ({ trial }) => {
      this.#running.delete(trial.id)
    },
    onBracket: (bracket, outcomes) => {
      this.clear()
      this.#terminal.say()
      for (const line of trialTable(bracket, outcomes, this.#terminal)) this.#terminal.say(line)
    },
  }

  #draw(): void {
    const { noteColors, live } = this.#terminal
    const view = { colors: noteColors, columns: live?.columns ?? Number.POSITIVE_INFINITY }
    const bracket = this.#bracket
    if (bracket === undefined) return
    this.#block.show(() => [
      ...trialTable(bracket, this.#outcomes, view, this.#running),
      '',
      this.#all === undefined ? '' : `  ${noteColors.dim(progressText(this.#all))}`,
    ])
  }

  clear(): void {
    this.#block.clear()
  }

  close(): void {
    this.#block.close()
  }
}

/** Plain output elsewhere: a line for each event and an occasional progress line. */
class PlainTrials implements TrialView {
  readonly #terminal: Terminal
  readonly #bar: BarLine

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#bar = new BarLine(terminal)
  }

  readonly reporter: SearchReporter = {
    onPlan: (facts) => sayPlan(this.#terminal, facts),
    onRound: (bracket, round, trials, outcomes) => {
      const { say } = this.#terminal
      if (round === 1) {
        say()
        say(`  ${bracketText(bracket)}`)
      } else {
        const before = bracket.trials.filter(({ id }) => (outcomes.of(id, round - 1)?.score ?? null) !== null)
        const stopped = before.filter(({ id }) => trials.every((trial) => trial.id !== id))
        const names = (some: readonly { readonly id: number }[]) => some.map(({ id }) => id).join(', ') || 'none'
        say(`  Round ${round}: trials ${names(trials)} continue; stopped early: ${names(stopped)}`)
      }
    },
    onProgress: (trial, progress, all) => {
      const plain = `trial ${trial.id}, epoch ${progress.epoch}; ${progressText(all)}`
      this.#bar.show({ share: all.done / all.total, before: 'Search', after: '', told: [], plain })
    },
    onOutcome: ({ trial, bracket, round }, { epochs, score, problem }) => {
      const reached =
        score === null
          ? `failed: ${problem}`
          : `accuracy ${percent(score.accuracy)}, loss ${score.loss.toFixed(4)} (epoch ${score.epoch} of ${epochs})`
      const place = `bracket ${bracket.bracket}, round ${round} of ${bracket.rounds.length}, trial ${trial.id}`
      this.#terminal.say(`  ${place}: ${pointText(trial.hyperparameters)}: ${reached}`)
    },
  }

  clear(): void {
    this.#bar.clear()
  }

  close(): void {
    this.#bar.close()
  }
}

function sayPlan(terminal: Terminal, facts: Parameters<NonNullable<SearchReporter['onPlan']>>[0]): void {
  const { settings, brackets, trainCount, validationCount, outcomesBefore } = facts
  const trials = brackets.reduce((sum, bracket) => sum + bracket.trials.length, 0)
  const method = settings.method === 'hyperband' ? 'Hyperband' : `${settings.method} search`
  const counts = `${counted(trials, 'trial')} in ${counted(brackets.length, 'bracket')}`
  fact(terminal, 'Search', `${method}, ${counts}, at most ${counted(settings.maxEpochs, 'epoch')} each`)
  fact(
    terminal,
    '',
    `${count(trainCount)} images, ${count(validationCount)} to validate; batch size ${settings.batchSize}`,
  )
  if (outcomesBefore > 0) fact(terminal, 'Resumed', `after ${counted(outcomesBefore, 'training')}`)
}

function progressText({ done, total, etaSeconds }: EpochProgress): string {
  return [`${done.toFixed(1)} of ${total} epochs`, ...timeLeft(etaSeconds)].join(', ')
}

function pointText(point: Readonly<Record<string, unknown>>): string {
  return Object.entries(point)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}

function showResult(result: SearchResult, terminal: Terminal): void {
  const { best, bestInterval, trials, brackets, epochs, seconds, runDir } = result
  const { bold, dim } = terminal.colors
  const rounds = brackets.find(({ bracket }) => bracket === best.bracket)?.rounds.length ?? 1
  const { accuracy, loss, epoch } = best.score
  terminal.say()
  fact(terminal, 'Best', bold(pointText(best.hyperparameters)))
  fact(
    terminal,
    '',
    `trial ${best.id}, bracket ${best.bracket}, round ${best.round} of ${rounds}, best of ${counted(best.epochs, 'epoch')}: ${epoch}`,
  )
  const { low, high } = bestInterval
  fact(
    terminal,
    '',
    `validation accuracy ${bold(percent(accuracy))}, loss ${loss.toFixed(4)}; 95 % confidence interval ${percent(low, 1)} to ${percent(high, 1)}`,
  )
  const close = trials.filter(({ id, score }) => id !== best.id && score !== null && score.accuracy >= low)
  if (close.length > 0)
    fact(
      terminal,
      '',
      dim(
        `also inside this interval: ${close.length === 1 ? 'trial' : 'trials'} ${close.map(({ id }) => id).join(', ')}; their ranking may be chance`,
      ),
    )
  const stopped = trials.filter(({ state }) => state === 'stopped').length
  fact(
    terminal,
    'Trained',
    `${counted(trials.length, 'trial')}, ${stopped} of them stopped early; ${counted(epochs, 'epoch')} in ${clock(seconds)}`,
  )
  fact(terminal, 'Run', `${shown(runDir)}  ${dim('report.json, trials.jsonl')}`)
}
