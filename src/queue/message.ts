/**
 * What a job of the queue says: which unit to run, with which kernels, on which data. It carries settings and content
 * keys, never code or paths, and everything in it is checked before it is used.
 */
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import { sha256 } from '../format/sha256.node.ts'
import type { VariantTable } from '../graph/plan/choice.ts'
import { type FileKeys, isKey } from './store.ts'

/** All that an answer depends on. Equal units are the same unit. */
export interface Unit {
  readonly kind: string
  /** The version of weftgrad: another one may compute other numbers. */
  readonly version: string
  readonly task: { readonly name: string; readonly facts: Readonly<Record<string, unknown>> }
  /** `published`, or the SHA-256 of all images and labels. */
  readonly data: string
  /** The job's kernel variants, and the driver that they were chosen on. */
  readonly kernels: { readonly driver: string; readonly variants: VariantTable }
  readonly settings: unknown
}

/** A job of the queue. */
export interface Message {
  readonly unit: Unit
  /** The identity of the store that holds inputs and takes results. */
  readonly store: string
  /** The files of the unit that it continues. */
  readonly before: FileKeys
  /** The files of an attempt that was handed back. */
  readonly reached: FileKeys
}

/** The unit's name, from all that its answer depends on. */
export function keyOf(unit: Unit): string {
  return sha256(canonical(unit))
}

/** Checks a message. Throws WeftgradError 'format'. */
export function messageIn(value: unknown, kinds: readonly { readonly name: string }[]): Message {
  const { unit, store, before, reached } = isRecord(value) ? value : {}
  const { kind, version, task, data, kernels } = isRecord(unit) ? unit : {}
  const isWhole =
    typeof store === 'string' &&
    isFiles(before) &&
    isFiles(reached) &&
    kinds.some(({ name }) => name === kind) &&
    typeof version === 'string' &&
    isRecord(task) &&
    typeof task.name === 'string' &&
    isRecord(task.facts) &&
    typeof data === 'string' &&
    isRecord(kernels) &&
    typeof kernels.driver === 'string' &&
    isRecord(kernels.variants) &&
    Object.values(kernels.variants).every((name) => typeof name === 'string')
  if (!isWhole) throw new WeftgradError('format', 'The queue holds a job that is not a unit of weftgrad.')
  // Every field but the settings, which the kind checks, has been checked.
  return value as unknown as Message
}

/** Names of files become part of paths. */
function isFiles(value: unknown): value is FileKeys {
  return isRecord(value) && Object.entries(value).every(([name, key]) => /^[a-z][\w.-]*$/.test(name) && isKey(key))
}

/** JSON with sorted names. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    isRecord(one) && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  )
}
