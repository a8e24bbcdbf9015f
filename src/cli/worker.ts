/** `weftgrad worker`: runs the units of a queue on this machine's adapter until it is stopped. */
import { foldKind } from '../crossval/fold.node.ts'
import { openResults } from '../queue/open-store.ts'
import { UnitWorker } from '../queue/worker.ts'
import { trialKind } from '../search/trial.node.ts'
import { featuresKind } from '../transfer/features-unit.node.ts'
import type { UnitKind } from '../units/unit.ts'
import { exitCodeAfter } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { openTerminal } from './terminal.ts'
import { adapterText, fact } from './training-text.ts'

export interface WorkerCommandOptions {
  readonly queue: string
  readonly store?: string
  readonly concurrency?: number
  readonly dataDir?: string
  readonly images?: string
}

/** All that a worker runs. */
const kinds: readonly UnitKind[] = [trialKind, foldKind, featuresKind]

/** Time that units get to end once the worker is asked to stop, in ms; then they are handed back. */
const graceMs = 10_000

/** Sets the exit code: 0 after a signal, 1 or 2 on failure. */
export async function workerCommand({ queue, store, ...options }: WorkerCommandOptions): Promise<void> {
  const terminal = openTerminal()
  const { dim } = terminal.noteColors
  let stopping: (() => void) | undefined
  const stopped = new Promise<void>((resolve) => {
    stopping = resolve
  })
  const interrupt = interruptible(
    () => {
      terminal.note('Stopping: work that does not end within 10 s is handed back.')
      stopping?.()
    },
    () => undefined,
    2 * graceMs,
  )
  try {
    const worker = await UnitWorker.start({
      ...{ ...options, queue, kinds, results: await openResults(store) },
      onNote: (line) => terminal.note(dim(line)),
      onUnit: (event, unit, detail) => terminal.say(`  ${unit}  ${event}${detail === '' ? '' : `: ${detail}`}`),
    })
    fact(terminal, 'Worker', worker.id)
    const { driver, hardware } = await worker.warmUp()
    fact(terminal, 'Adapter', adapterText(driver, hardware))
    await stopped
    await worker.close(graceMs)
  } catch (error) {
    process.exitCode = exitCodeAfter(error, interrupt, terminal.note)
  } finally {
    interrupt.release()
  }
}
