/**
 * Stopping in two steps: the first Ctrl-C asks the job to stop cleanly, the second ends the process at once. SIGTERM and
 * SIGHUP likewise, but nobody may be there to send a second one: a job that has not stopped after a while is ended.
 */

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

const exitCodes: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }

/**
 * npm hands the terminal's SIGINT on to the script that got it from the terminal as well, so one Ctrl-C arrives twice
 * within milliseconds. Nobody presses it twice that fast.
 */
const sameKeyMs = 300

/** A checkpoint takes well under a second, the step before it a few where the processor is slow. Service managers wait 10 to 90 s. */
const stopWithinMs = 20_000

export interface Interruptible {
  readonly signal: AbortSignal
  /** The exit code that the signal asks for, once there was one. */
  readonly exitCode: number | undefined
  /** Signals have their usual meaning again. */
  release(): void
}

/**
 * @param onFirst the job has been asked to stop: say so.
 * @param onSecond the process is about to end: put the terminal in order.
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
    // By the signal itself: `process.exit` waits for threads, and one that reads from a pipe may never come back.
    process.kill(process.pid, name)
  }
  const listeners = (Object.keys(exitCodes) as StopSignal[]).map((name) => {
    const listener = (): void => {
      if (exitCode === undefined) {
        exitCode = exitCodes[name]
        firstAt = performance.now()
        // Also after `release`: something that the job left behind may keep the process alive.
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
