/** `weftgrad evaluate RUN`. */
import { evaluateRun } from '../study/use-run.node.ts'
import type { Task } from '../tasks/task.ts'
import { resultsText } from './results.ts'
import { openTerminal } from './terminal.ts'

export interface EvaluateOptions {
  readonly dataDir?: string
  /** The folder that a run's pictures are in now. */
  readonly images?: string
  readonly json?: boolean
}

export async function evaluateCommand(task: Task, run: string, { dataDir, json }: EvaluateOptions): Promise<void> {
  const terminal = openTerminal({ json })
  const evaluation = await evaluateRun(task, run, { dataDir, onNote: terminal.note })
  terminal.say(resultsText(evaluation, terminal))
  if (json) terminal.json(evaluation)
}
