/**
 * What tuning found, kept from run to run: by adapter and driver, with the candidates each winner was chosen from, so that
 * a variant that is new is measured and one that is gone is not asked for. In memory here; in files in Node.js.
 */

import type { Device } from '../../gpu/device.ts'
import type { KernelTask, VariantTable } from '../plan/choice.ts'
import { classKey } from '../plan/choice.ts'
import type { TuningResult } from './tuning.ts'

/**
 * To be raised when a variant that keeps its name gets faster or slower, or computes something else: what was measured
 * before is then measured anew. New, removed and renamed variants are noticed without it.
 */
export const kernelRevision = 1

/** What tuning found for one shape class. */
export interface TunedEntry {
  /** The fastest. */
  readonly variant: string
  /** All variants that could have been chosen. */
  readonly candidates: readonly string[]
}

/** What tuning found, by `family|shape class`. Plain JSON. */
export type TunedEntries = Readonly<Record<string, TunedEntry>>

/** Keeps what tuning found, so that it is measured once. */
export interface TuningStore {
  /** What is known for this device; nothing where it was never tuned. */
  load(device: Device): Promise<TunedEntries>
  /** Adds to it; entries that are there already are replaced. */
  add(device: Device, entries: TunedEntries): Promise<void>
}

/** A store in memory: lasts as long as the page or the process. */
export class MemoryTuningStore implements TuningStore {
  readonly #entries = new Map<string, TunedEntries>()

  /** What is known for this device. */
  async load(device: Device): Promise<TunedEntries> {
    return this.#entries.get(adapterText(device)) ?? {}
  }

  /** Adds to it. */
  async add(device: Device, entries: TunedEntries): Promise<void> {
    this.#entries.set(adapterText(device), { ...(await this.load(device)), ...entries })
  }
}

/** Equal for devices whose kernels are equally fast, as far as WebGPU tells. */
export function adapterText({ facts, info, subgroupSize }: Device): string {
  const { vendor, architecture, device, description } = info
  return [facts.driver, vendor, architecture, device, description, subgroupSize ?? 'no fixed subgroups'].join('; ')
}

/** The entries for these kernels that were chosen from the candidates there are now. */
export function knownVariants(entries: TunedEntries, tasks: readonly KernelTask[]): VariantTable {
  return Object.fromEntries(
    tasks.flatMap((task) => {
      const entry = entries[classKey(task)]
      const isCurrent = entry !== undefined && entry.candidates.join() === task.candidates.join()
      return isCurrent ? [[classKey(task), entry.variant]] : []
    }),
  )
}

/** What is worth keeping of a tuning. */
export function entriesOf({ kernels }: Pick<TuningResult, 'kernels'>): TunedEntries {
  return Object.fromEntries(
    kernels.map(({ task, chosen }) => [classKey(task), { variant: chosen, candidates: task.candidates }]),
  )
}
