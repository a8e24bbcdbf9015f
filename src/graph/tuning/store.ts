/**
 * Stores tuning results between runs, by adapter and driver, with the candidates of each winner, so that new variants
 * are measured and removed ones are not used. In memory here; in files in Node.js.
 */

import type { Device } from '../../gpu/device.ts'
import type { KernelTask, VariantTable } from '../plan/choice.ts'
import { classKey } from '../plan/choice.ts'
import type { TuningResult } from './tuning.ts'

/**
 * The revision of the kernels. Raise it when a variant of the same name gets faster or slower, or computes something
 * else: all kernels are then measured again. New, removed and renamed variants are noticed without it.
 */
export const kernelRevision = 1

/** The tuning result of one shape class. */
export interface TunedEntry {
  /** The fastest variant. */
  readonly variant: string
  /** All variants to choose from. */
  readonly candidates: readonly string[]
}

/** Tuning results by `family|shape class`. Plain JSON. */
export type TunedEntries = Readonly<Record<string, TunedEntry>>

/** Keeps tuning results, so that each kernel is measured once. */
export interface TuningStore {
  /** The results for this device; empty if it was never tuned. */
  load(device: Device): Promise<TunedEntries>
  /** Adds results and replaces existing ones. */
  add(device: Device, entries: TunedEntries): Promise<void>
}

/** A store in memory, for the life of the page or process. */
export class MemoryTuningStore implements TuningStore {
  readonly #entries = new Map<string, TunedEntries>()

  /** The results for this device. */
  async load(device: Device): Promise<TunedEntries> {
    return this.#entries.get(adapterText(device)) ?? {}
  }

  /** Adds results. */
  async add(device: Device, entries: TunedEntries): Promise<void> {
    this.#entries.set(adapterText(device), { ...(await this.load(device)), ...entries })
  }
}

/** Identifies devices whose kernels are equally fast, as far as WebGPU reports. */
export function adapterText({ facts, info, subgroups, precision }: Device): string {
  const { vendor, architecture, device, description } = info
  const parts = [facts.driver, vendor, architecture, device, description, subgroups.size ?? 'no fixed subgroups']
  return (precision === 'f32' ? parts : [...parts, precision]).join('; ')
}

/** The entries for these kernels whose candidates are still the same. */
export function knownVariants(entries: TunedEntries, tasks: readonly KernelTask[]): VariantTable {
  return Object.fromEntries(
    tasks.flatMap((task) => {
      const entry = entries[classKey(task)]
      const isCurrent = entry !== undefined && entry.candidates.join() === task.candidates.join()
      return isCurrent ? [[classKey(task), entry.variant]] : []
    }),
  )
}

/** The entries to store after a tuning. */
export function entriesOf({ kernels }: Pick<TuningResult, 'kernels'>): TunedEntries {
  return Object.fromEntries(
    kernels.map(({ task, chosen }) => [classKey(task), { variant: chosen, candidates: task.candidates }]),
  )
}
