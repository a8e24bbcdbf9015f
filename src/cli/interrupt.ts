/**
 * Ctrl-C in two steps: the first asks the job to stop cleanly, the second ends the process at once. SIGTERM likewise.
 */

export type StopSignal = 'SIGINT' | 'SIGTERM'

const exitCodes: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143 }

/**
 * npm hands the terminal's SIGINT on to the script that got it from the terminal as well, so one Ctrl-C arrives twice
 * within milliseconds. Nobody presses it twice that fast.
 */
const sameKeyMs = 300

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
 */
export function interruptible(onFirst: (signal: StopSignal) => void, onSecond: () => void): Interruptible {
  const controller = new AbortController()
  let exitCode: number | undefined
  let firstAt = 0
  const listeners = (Object.keys(exitCodes) as StopSignal[]).map((name) => {
    const listener = (): void => {
      if (exitCode === undefined) {
        exitCode = exitCodes[name]
        firstAt = performance.now()
        controller.abort(name)
        onFirst(name)
      } else if (performance.now() - firstAt > sameKeyMs) {
        onSecond()
        process.exit(exitCode)
      }
    }
    process.on(name, listener)
    return { name, listener }
  })
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode
    },
    release() {
      for (const { name, listener } of listeners) process.off(name, listener)
    },
  }
}
