/**
 * Stops in two steps: the first Ctrl-C asks the job to stop cleanly, the second ends the process at once. SIGTERM and
 * SIGHUP work the same way, but a second one may never come, so a job that has not stopped after a while is ended.
 */

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

const exitCodes: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }

/**
 * npm forwards the terminal's SIGINT to the script, which also gets it from the terminal: one Ctrl-C arrives twice
 * within milliseconds. People press it more slowly.
 */
const sameKeyMs = 300

/**
 * A checkpoint takes well under a second, the step before it a few seconds on a slow processor. Service managers wait
 * 10 to 90 s.
 */
const stopWithinMs = 20_000

export interface Interruptible {
  readonly signal: AbortSignal
  /** The exit code for the signal, once one has arrived. */
  readonly exitCode: number | undefined
  /** Gives the signals their usual meaning again. */
  release(): void
}

/**
 * @param onFirst called when the job has been asked to stop, to report it.
 * @param onSecond called when the process is about to end, to restore the terminal.
 * @param withinMs how long SIGTERM and SIGHUP give the job to stop; 20 s unless given.
 */
export function interruptible(
  onFirst: (signal: StopSignal) => void,
  onSecond: () => void,
  withinMs = stopWithinMs,
): Interruptible {
  const controller = new AbortController()
  let exitCode: number | undefined
  let firstAt = 0
  const release = (): void => {
    for (const { name, listener } of listeners) process.off(name, listener)
  }
  const end = (name: StopSignal): void => {
    onSecond()
    release()
    // Ended by the signal itself: `process.exit` waits for threads, and one that reads from a pipe may never return.
    process.kill(process.pid, name)
  }
  const listeners = (Object.keys(exitCodes) as StopSignal[]).map((name) => {
    const listener = (): void => {
      if (exitCode === undefined) {
        exitCode = exitCodes[name]
        firstAt = performance.now()
        // Applies after `release` too: something that the job left behind may keep the process alive.
        if (name !== 'SIGINT') setTimeout(() => end(name), withinMs).unref()
        controller.abort(name)
        onFirst(name)
      } else if (performance.now() - firstAt > sameKeyMs) end(name)
    }
    process.on(name, listener)
    return { name, listener }
  })
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode
    },
    release,
  }
}
