/**
 * Tuning in files: one JSON file for each adapter, driver and revision of the kernels, in weftgrad's cache folder. A file
 * that is corrupt or another's is taken for empty and written anew; one that cannot be written costs the next run the
 * measuring, and nothing else.
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

/** `off`: families' preferences, nothing is read; `missing`: what the cache lacks is measured; `all`: everything is. */
export type TuningMode = 'off' | 'missing' | 'all'

/** What `WEFTGRAD_TUNE` asks for: 0, 1, or nothing. */
export function tuningMode(env: Readonly<Record<string, string | undefined>> = process.env): TuningMode {
  if (env.WEFTGRAD_TUNE === '0') return 'off'
  return env.WEFTGRAD_TUNE === '1' ? 'all' : 'missing'
}

/** Where a {@link FileTuningStore} keeps its files. */
export interface FileTuningOptions {
  /** `tuning` in weftgrad's cache folder by default. */
  readonly folder?: string
  /** Takes the line that says why nothing could be kept. */
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
 * A store in files: one JSON file for each adapter, driver and revision of the kernels. A file that is corrupt or another's is
 * taken for empty and written anew.
 */
export class FileTuningStore implements TuningStore {
  readonly #folder: string
  readonly #log: ((line: string) => void) | undefined

  /** Nothing is read or written yet. */
  constructor(options: FileTuningOptions = {}) {
    checkOptions('FileTuningStore', options, { folder: aString, log: aFunction })
    const { folder = join(cacheFolder(), 'tuning'), log } = options
    this.#folder = folder
    this.#log = log
  }

  /** Where the entries for this device are. */
  pathFor(device: Device): string {
    const adapter = adapterOf(device)
    const name = device.facts.driver
      .toLowerCase()
      .replaceAll(/[^a-z0-9.]+/g, '-')
      .slice(0, 40)
    const hash = createHash('sha256').update(`${kernelRevision} ${adapter}`).digest('hex').slice(0, 12)
    return join(this.#folder, `${name}-${hash}.json`)
  }

  /** What is known for this device; nothing where its file is missing, damaged or another's. */
  async load(device: Device): Promise<TunedEntries> {
    let value: unknown
    try {
      value = JSON.parse(readHostText(this.pathFor(device)))
    } catch {
      return {} // missing, unreadable, or no JSON: written anew
    }
    return isTuningFile(value) && value.adapter === adapterOf(device) ? value.kernels : {}
  }

  /** What another process wrote meanwhile stays, but for the entries that both have. */
  async add(device: Device, entries: TunedEntries): Promise<void> {
    const kernels = { ...(await this.load(device)), ...entries }
    const file: TuningFile = { what, adapter: adapterOf(device), kernelRevision, kernels }
    try {
      await writeFileAtomic(this.pathFor(device), `${JSON.stringify(file, null, 1)}\n`)
    } catch (error) {
      this.#log?.(`Tuning could not be kept: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

/** A software adapter is as fast as its processor, and a home folder may be shared by several machines. */
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
