/**
 * Measures, once for a processor and driver, whether lavapipe is faster with wider vectors: the part of `weftgrad setup`
 * that takes seconds. Mesa reads the width when it is loaded, so each width is timed in a process of its own.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { thisProcessor } from '../gpu/node/processor.ts'
import { cachedDriver } from '../gpu/node/provision.ts'
import type { SetupReport } from '../gpu/node/setup.ts'
import {
  lavapipeInUse,
  readWidthTimes,
  VECTOR_WIDTHS,
  vectorWidthOf,
  WIDTH_VARIABLE,
  type WidthTimes,
  widthKey,
  widthTimesPath,
} from '../gpu/node/vector-width.ts'

/** Measures the widths if that could change the choice, keeps the result, and logs what was chosen. */
export async function settleVectorWidth(
  { hardware, driver }: Pick<SetupReport, 'hardware' | 'driver'>,
  log: (line: string) => void,
): Promise<void> {
  const lavapipe = hardware ? undefined : lavapipeInUse(cachedDriver())
  if (lavapipe === undefined || !vectorWidthOf(lavapipe, lavapipe.version ?? driver).isOpen) return
  log(`weftgrad: measuring whether vectors of ${VECTOR_WIDTHS[1]} bits are faster here (once, less than a minute)`)
  try {
    const times = await measureWidths(VECTOR_WIDTHS)
    await keepWidthTimes(widthKey(thisProcessor(), lavapipe), times)
    log(`weftgrad: vectors: ${vectorWidthOf(lavapipe, lavapipe.version).why}`)
  } catch (error) {
    // The default width works as well.
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    log(`weftgrad: the widths of vectors could not be measured: ${reason}`)
  }
}

/** Adds a measurement to those of other processors and drivers. The file is written whole or not at all. */
export async function keepWidthTimes(key: string, times: WidthTimes, path = widthTimesPath()): Promise<void> {
  const all = { ...readWidthTimes(path), [key]: times }
  await writeFileAtomic(path, `${JSON.stringify(all, null, 2)}\n`)
}

/** Twice each, in turn: the load of other programs changes within seconds. */
const rounds = 2

/** The least time of the same work at each width. `time` resolves to milliseconds; tests force its results. */
export async function measureWidths(
  [usual, wide]: readonly [usual: number, wide: number],
  time: (bits: number) => Promise<number> = timeInProcess,
): Promise<WidthTimes> {
  let [usualMs, wideMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let round = 0; round < rounds; round++) {
    usualMs = Math.min(usualMs, await time(usual))
    wideMs = Math.min(wideMs, await time(wide))
  }
  return { usualMs, wideMs }
}

/** Compiling everything for a new width took 11 s on a busy machine with two cores. */
const timeoutMs = 120_000

/** Runs `weftgrad time-vectors` with a width. Throws if it fails, or if the driver has not taken the width. */
export async function timeInProcess(bits: number): Promise<number> {
  const command = fileURLToPath(new URL('../../bin/weftgrad.mjs', import.meta.url))
  const env = { ...process.env, [WIDTH_VARIABLE]: String(bits), WEFTGRAD_NO_SETUP: '1' }
  const { stdout } = await promisify(execFile)(process.execPath, [command, 'time-vectors'], { env, timeout: timeoutMs })
  const { ms, lanes }: { readonly ms?: unknown; readonly lanes?: unknown } = JSON.parse(stdout)
  if (lanes !== bits / 32) throw new Error(`the driver has subgroups of ${String(lanes)} lanes at ${bits} bits`)
  if (typeof ms !== 'number' || !(ms > 0)) throw new Error(`${String(ms)} is not a time`)
  return ms
}
