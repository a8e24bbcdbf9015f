/**
 * Stores tuning results in files: one JSON file for each adapter, driver and kernel revision, in weftgrad's cache
 * folder. A corrupt or foreign file counts as empty and is overwritten. If a file cannot be written, the next run only
 * has to measure again.
 */

import { createHash } from 'node:crypto'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { readHostText } from '../format/host-file.node.ts'
import type { Device } from '../gpu/device.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import type { TunedEntries, TuningStore } from '../graph/tuning/store.ts'
import { adapterText, kernelRevision } from '../graph/tuning/store.ts'
import { aFunction, aString, checkOptions } from '../options.ts'

/**
 * `off`: uses the families' preferences and reads nothing; `missing`: measures what the cache lacks; `all`: measures
 * everything.
 */
export type TuningMode = 'off' | 'missing' | 'all'

/** The mode that `WEFTGRAD_TUNE` selects: 0, 1, or unset. */
export function tuningMode(env: Readonly<Record<string, string | undefined>> = process.env): TuningMode {
  if (env.WEFTGRAD_TUNE === '0') return 'off'
  return env.WEFTGRAD_TUNE === '1' ? 'all' : 'missing'
}

/** Where a {@link FileTuningStore} keeps its files. */
export interface FileTuningOptions {
  /** `tuning` in weftgrad's cache folder by default. */
  readonly folder?: string
  /** Receives the reason if results could not be stored. */
  readonly log?: ((line: string) => void) | undefined
}

const what = 'weftgrad kernel tuning'

interface TuningFile {
  readonly what: typeof what
  readonly adapter: string
  readonly kernelRevision: number
  readonly kernels: TunedEntries
}

/**
 * A store in files: one JSON file for each adapter, driver and kernel revision. A corrupt or foreign file counts as
 * empty and is overwritten.
 */
export class FileTuningStore implements TuningStore {
  readonly #folder: string
  readonly #log: ((line: string) => void) | undefined

  /** Reads and writes nothing yet. */
  constructor(options: FileTuningOptions = {}) {
    checkOptions('FileTuningStore', options, { folder: aString, log: aFunction })
    const { folder = join(cacheFolder(), 'tuning'), log } = options
    this.#folder = folder
    this.#log = log
  }

  /** The path of the file for this device. */
  pathFor(device: Device): string {
    const adapter = adapterOf(device)
    const name = device.facts.driver
      .toLowerCase()
      .replaceAll(/[^a-z0-9.]+/g, '-')
      .slice(0, 40)
    const hash = createHash('sha256').update(`${kernelRevision} ${adapter}`).digest('hex').slice(0, 12)
    return join(this.#folder, `${name}-${hash}.json`)
  }

  /** The results for this device; empty if its file is missing, damaged or foreign. */
  async load(device: Device): Promise<TunedEntries> {
    let value: unknown
    try {
      value = JSON.parse(readHostText(this.pathFor(device)))
    } catch {
      return {} // missing, unreadable, or not JSON: overwritten later
    }
    return isTuningFile(value) && value.adapter === adapterOf(device) ? value.kernels : {}
  }

  /** Adds results. Keeps what another process wrote meanwhile, except entries that both have. */
  async add(device: Device, entries: TunedEntries): Promise<void> {
    const kernels = { ...(await this.load(device)), ...entries }
    const file: TuningFile = { what, adapter: adapterOf(device), kernelRevision, kernels }
    try {
      await writeFileAtomic(this.pathFor(device), `${JSON.stringify(file, null, 1)}\n`)
    } catch (error) {
      this.#log?.(`Could not save tuning results: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

/** A software adapter is as fast as its processor, and several machines may share a home folder. */
function adapterOf(device: Device): string {
  const processor = `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} threads`
  return device.facts.hardware ? adapterText(device) : `${adapterText(device)}; ${processor}`
}

function isTuningFile(value: unknown): value is TuningFile {
  if (!isRecord(value) || value.what !== what || value.kernelRevision !== kernelRevision) return false
  const { kernels } = value
  return (
    isRecord(kernels) &&
    Object.values(kernels).every(
      (entry) =>
        isRecord(entry) &&
        typeof entry.variant === 'string' &&
        Array.isArray(entry.candidates) &&
        entry.candidates.every((name) => typeof name === 'string'),
    )
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
