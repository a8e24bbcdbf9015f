/** Commands of many trainings: how they begin, and how they are stopped and gone on with. */
import type { StudyJobReporter } from '../study/study-job.node.ts'
import { exitCodeAfter, sayHowToResume } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { grouped, type Terminal } from './terminal.ts'
import { adapterText, fact } from './training-text.ts'

/** What is drawn again in place: taken away before lines are printed. */
export interface Drawing {
  clear(): void
  close(): void
}

/**
 * Runs `work` and sets the exit code: 0, 1, 2 for bad arguments, 130 or 143 after a signal. Says how to go on where that
 * helps.
 * @param command as a user types it.
 */
export async function runStudyCommand(
  command: string,
  terminal: Terminal,
  drawing: Drawing,
  work: (signal: AbortSignal, reporter: StudyJobReporter) => Promise<void>,
): Promise<void> {
  const interrupt = interruptible(
    (name) => {
      drawing.close()
      const again = name === 'SIGINT' ? ' Ctrl-C again ends at once.' : ''
      terminal.note(`Stopping; the checkpoints are written first.${again}`)
    },
    () => drawing.close(),
  )
  let folder: string | undefined
  const reporter: StudyJobReporter = {
    onNote(line) {
      drawing.clear()
      terminal.note(terminal.noteColors.dim(line))
    },
    onAdapter: ({ facts }) => fact(terminal, 'Adapter', adapterText(facts.driver, facts.hardware)),
    onData({ folder: from, published, train, split, limit, duplicates }) {
      const kind = published ? 'Fashion-MNIST' : 'Fashion-MNIST, not the published bytes'
      const test = split === 'official' ? 'the published test images' : 'the test images, a tenth drawn by seed,'
      const which = limit === null ? '' : 'the first '
      const dropped = duplicates === 0 ? '' : `; ${grouped(duplicates)} exact duplicates left out`
      fact(terminal, 'Data', `${kind}: ${which}${grouped(train)} training images${dropped} (${from})`)
      fact(terminal, '', `${test} have no say in what follows`)
    },
    onFolder(runDir) {
      folder = runDir
    },
  }
  try {
    await work(interrupt.signal, reporter)
  } catch (error) {
    drawing.clear()
    const code = exitCodeAfter(error, interrupt, terminal.note)
    sayHowToResume(error, command, folder, terminal)
    process.exitCode = code
  } finally {
    interrupt.release()
  }
}
