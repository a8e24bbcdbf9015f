/**
 * The width of lavapipe's vectors. With 512 bits, subgroups have 16 lanes; Mesa's default is 256 bits, also on
 * processors with AVX-512. There, and from Mesa 26.1 on, 512 bits were 1.0 to 1.8 times as fast in one measurement, and
 * slower before 26.1. So they are used only where `weftgrad setup` measured that they are faster. The results are kept
 * in the cache, by processor and driver, because the width must be chosen before the driver is loaded.
 */
import { readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { cacheFolder } from './cache.ts'
import type { DriverState } from './driver-folder.ts'
import { FAST_MESA, isAtLeast } from './mesa.ts'
import { type Processor, thisProcessor } from './processor.ts'
import { driversAreGiven, systemIcds } from './vulkan.ts'

/** Mesa reads it once, when lavapipe is loaded. */
export const WIDTH_VARIABLE = 'LP_NATIVE_VECTOR_WIDTH'

/** In bits: Mesa's default, and the wider one. */
export const VECTOR_WIDTHS = [256, 512] as const

/** The user's choice, read before this module makes its own. */
const given = process.env[WIDTH_VARIABLE]

/** Milliseconds of the same work at the default and at the larger width. */
export interface WidthTimes {
  readonly usualMs: number
  readonly wideMs: number
}

export interface WidthFacts {
  /** The user's LP_NATIVE_VECTOR_WIDTH. */
  readonly given: string | undefined
  readonly processor: Pick<Processor, 'hasAvx512'>
  /** A text with the driver's version of Mesa. */
  readonly driver: string
  readonly measured: WidthTimes | undefined
}

export interface WidthChoice {
  /** What to set LP_NATIVE_VECTOR_WIDTH to; undefined leaves it as it is. */
  readonly bits: number | undefined
  /** For people: the width, and why. */
  readonly why: string
  /** True if a measurement could change the choice. */
  readonly isOpen: boolean
}

/** Less than this is noise: two measurements of the same width differ by as much. */
const worthwhile = 1.05

export function chooseVectorWidth({ given, processor, driver, measured }: WidthFacts): WidthChoice {
  const [usual, wide] = VECTOR_WIDTHS
  const choice = (bits: number | undefined, why: string, isOpen = false): WidthChoice => ({ bits, why, isOpen })
  if (given !== undefined && given !== '') return choice(undefined, `${given} bits, set by ${WIDTH_VARIABLE}`)
  if (!processor.hasAvx512) return choice(undefined, "Mesa's default, because the processor has no AVX-512")
  if (!isAtLeast(driver, FAST_MESA))
    return choice(undefined, `${usual} bits, because ${wide} are slower before Mesa ${FAST_MESA.join('.')}`)
  if (measured === undefined) return choice(undefined, `${usual} bits; ${wide} were not measured`, true)
  const ratio = measured.usualMs / measured.wideMs
  const figure = `${wide} bits measured ${ratio.toFixed(2)} times as fast as ${usual}`
  return ratio >= worthwhile ? choice(wide, `${wide} bits: ${figure}`) : choice(undefined, `${usual} bits: ${figure}`)
}

/** A lavapipe that may be loaded: `id` tells builds apart, `version` is a text with its version of Mesa, if known. */
export interface Lavapipe {
  readonly id: string
  readonly version: string | undefined
}

/** The one that software Vulkan uses: the cache's, if it is the only or the faster one, else the system's. */
export function lavapipeInUse(cached: DriverState): Lavapipe | undefined {
  const ours: Lavapipe | undefined =
    cached.state === 'whole' && !driversAreGiven()
      ? { id: `Mesa ${cached.driver.mesaVersion}`, version: cached.driver.mesaVersion }
      : undefined
  if (ours?.version !== undefined && isAtLeast(ours.version, FAST_MESA)) return ours
  return systemLavapipe() ?? ours
}

/** The system's version shows only after it is loaded: its manifest's time of change stands for it. */
function systemLavapipe(): Lavapipe | undefined {
  const path = systemIcds().find((icd) => basename(icd).startsWith('lvp_icd'))
  const changed = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })?.mtime
  return changed === undefined ? undefined : { id: `${path} of ${changed.toISOString()}`, version: undefined }
}

/** Sets the measured width for a driver that is about to be loaded. Native code sees the main thread's variables only. */
export function useVectorWidth(lavapipe: Lavapipe | undefined): void {
  if (!isMainThread || lavapipe === undefined) return
  const { bits } = vectorWidthOf(lavapipe, lavapipe.version)
  if (bits !== undefined) process.env[WIDTH_VARIABLE] = String(bits)
}

/**
 * The width for a driver, and why. `version` is a text with its version of Mesa; without one, a measurement proves that
 * it was new enough.
 */
export function vectorWidthOf(lavapipe: Lavapipe, version: string | undefined): WidthChoice {
  const processor = thisProcessor()
  const measured = readWidthTimes()[widthKey(processor, lavapipe)]
  const driver = version ?? (measured === undefined ? '' : `Mesa ${FAST_MESA.join('.')}`)
  return chooseVectorWidth({ given, processor, driver, measured })
}

export function widthKey(processor: Processor, { id }: Lavapipe): string {
  return `${processor.id}; ${id}`
}

/** The file with all measurements: an object of `WidthTimes` by `widthKey`. */
export function widthTimesPath(): string {
  return join(cacheFolder(), 'vector-width.json')
}

/** All measurements. Whatever does not look like one is left out: it is then measured again. */
export function readWidthTimes(path = widthTimesPath()): Readonly<Record<string, WidthTimes>> {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof value !== 'object' || value === null) return {}
    return Object.fromEntries(Object.entries(value).filter(([, times]) => isWidthTimes(times)))
  } catch {
    return {}
  }
}

function isWidthTimes(value: unknown): value is WidthTimes {
  if (typeof value !== 'object' || value === null || !('usualMs' in value) || !('wideMs' in value)) return false
  return [value.usualMs, value.wideMs].every((ms) => typeof ms === 'number' && Number.isFinite(ms) && ms > 0)
}
