/** Starts and stops commands that run a job, and says how to resume them. */
import type { JobReporter } from '../runs/job.node.ts'
import type { Task } from '../tasks/task.ts'
import { areWeightsMissing } from '../transfer/pretrained-base.node.ts'
import type { Remote } from '../units/executor.node.ts'
import { exitCodeAfter, sayHowToResume } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { type OpenRemote, openRemote, type QueueOptions } from './queue-options.ts'
import type { Terminal } from './terminal.ts'
import { adapterText, dataText, fact } from './training-text.ts'

/** Output that is redrawn in place; removed before lines are printed. */
export interface Drawing {
  clear(): void
  close(): void
}

export interface JobCommand {
  /** The queue that works for the job; this process does without one. */
  readonly at?: QueueOptions | undefined
  readonly task: Task
  /** The command as a user types it. */
  readonly command: string
  readonly terminal: Terminal
  readonly drawing: Drawing
}

/**
 * Runs `work` and sets the exit code: 0, 1, 2 for bad arguments and missing weights, 130 or 143 after a signal. Says
 * how to resume, if that helps.
 */
export async function runJobCommand(
  { task, command, terminal, drawing, at = {} }: JobCommand,
  work: (signal: AbortSignal, reporter: Required<JobReporter>, remote: Remote | undefined) => Promise<void>,
): Promise<void> {
  const interrupt = interruptible(
    (name) => {
      drawing.close()
      const again = name === 'SIGINT' ? ' Press Ctrl-C again to quit now.' : ''
      terminal.interrupted(`Stopping: saving a checkpoint.${again}`)
    },
    () => drawing.close(),
  )
  let folder: string | undefined
  const reporter: Required<JobReporter> = {
    onNote(line) {
      drawing.clear()
      terminal.note(terminal.noteColors.dim(line))
    },
    onWait: terminal.wait,
    onDetail: terminal.detail,
    onAdapter({ facts }) {
      drawing.clear()
      fact(terminal, 'Adapter', adapterText(facts.driver, facts.hardware))
    },
    onData: (facts) => fact(terminal, 'Data', dataText(task.data, facts)),
    onFolder(runDir) {
      folder = runDir
    },
  }
  let remote: OpenRemote | undefined
  try {
    remote = await openRemote(at, reporter)
    await work(interrupt.signal, reporter, remote)
  } catch (error) {
    drawing.clear()
    terminal.draws()
    const code = exitCodeAfter(error, interrupt, terminal.warn)
    sayHowToResume(error, command, folder, terminal)
    process.exitCode = areWeightsMissing(error) ? 2 : code
  } finally {
    await remote?.close()
    interrupt.release()
  }
}
