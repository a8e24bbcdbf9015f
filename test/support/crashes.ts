/** Jobs that crash at arbitrary moments: their reporter fails after some number of calls. */
import type { Random } from '../../src/random.ts'

export class Crash extends Error {}

/** Acts as any reporter; its methods throw after `calls` calls. */
export function crashingAfter(calls: number): object {
  let left = calls
  return new Proxy(
    {},
    {
      get: () => () => {
        if (left-- <= 0) throw new Crash('the process ends here')
      },
    },
  )
}

/**
 * Runs a job again and again until it completes. Each attempt but the last crashes after a number of calls that
 * `random` draws, but not before the run's folder has its configuration. `between` damages what a crash may leave
 * damaged.
 */
export async function throughCrashes<Result>(
  random: Random,
  run: (reporter: object, attempt: number) => Promise<Result>,
  between: () => Promise<void>,
): Promise<{ readonly result: Result; readonly crashes: number }> {
  for (let attempt = 0; ; attempt++) {
    try {
      return { result: await run(crashingAfter(4 + random.below(20)), attempt), crashes: attempt }
    } catch (error) {
      if (!(error instanceof Crash)) throw error
      await between()
    }
  }
}
