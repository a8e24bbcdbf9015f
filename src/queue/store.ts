/**
 * The store that results travel through: bytes by name, in a folder that all machines share or in an S3-compatible
 * service. `Results` puts content and answers into it.
 *
 * | name | what |
 * |---|---|
 * | store.json | the store's identity: coordinator and workers must use the same store |
 * | content/SHA256 | a file that a unit left, by the SHA-256 of its bytes, which reading verifies |
 * | results/UNIT.json | a unit's answer, the keys of its files, and a record of how it was made; written after its files |
 *
 * Promises: a reader finds an object whole or not at all. Damaged objects count as missing. A failed write is tried again.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { WeftgradError } from '../errors.ts'
import { boundedJson, isRecord } from '../format/json.ts'
import { sha256 } from '../format/sha256.node.ts'

export interface StoredObject {
  readonly name: string
  readonly bytes: number
  /** Time of writing by the store's clock, in ms. */
  readonly writtenAt: number
}

/** Bytes by name. Names are short paths of letters, digits, dots and dashes. */
export interface Store {
  /** For messages, without credentials. */
  readonly shown: string
  /** Writes an object, whole or not at all. Throws on any failure. */
  put(name: string, bytes: Uint8Array): Promise<void>
  /** Writes an object unless one has the name. */
  create(name: string, bytes: Uint8Array): Promise<void>
  /** Reads an object; undefined if there is none. Throws on any other failure. */
  get(name: string): Promise<Uint8Array | undefined>
  list(folder: string): Promise<readonly StoredObject[]>
  delete(name: string): Promise<void>
}

/** The SHA-256 of content, in hexadecimal. */
export type ContentKey = string

export const isKey = (value: unknown): value is ContentKey => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)

/** Files by name. */
export type FileKeys = Readonly<Record<string, ContentKey>>

/** How an answer was made. */
export interface UnitRecord {
  readonly worker: string
  readonly adapter: { readonly driver: string; readonly name: string; readonly hardware: boolean }
  /** Whether adapter and kernels were those of the job, so that the numbers are the same bit for bit. */
  readonly isSamePlan: boolean
  readonly seconds: number
  readonly versions: Readonly<Record<string, string>>
}

export interface UnitResult {
  readonly unit: string
  readonly answer: unknown
  readonly files: FileKeys
  readonly record: UnitRecord
}

/** Tries of an operation: a store that fails half of its writes then loses one in a thousand. */
const mostTries = 10
const firstPauseMs = 20

export class Results {
  readonly store: Store

  constructor(store: Store) {
    this.store = store
  }

  /** The store's identity, made by the first who asks. */
  async identity(): Promise<string> {
    const fresh = new TextEncoder().encode(JSON.stringify({ id: randomUUID() }))
    await this.#patiently('write', () => this.store.create('store.json', fresh))
    const bytes = await this.#patiently('read', () => this.store.get('store.json'))
    const value = bytes === undefined ? undefined : boundedJson(new TextDecoder().decode(bytes))
    if (isRecord(value) && typeof value.id === 'string') return value.id
    throw new WeftgradError('queue', `${this.store.shown} is not a store of weftgrad. Name another one with --store.`)
  }

  async putContent(bytes: Uint8Array): Promise<ContentKey> {
    const key = sha256(bytes)
    await this.#patiently('write', () => this.store.put(`content/${key}`, bytes))
    return key
  }

  /** Throws WeftgradError 'queue' if the content is missing or damaged. */
  async content(key: ContentKey): Promise<Uint8Array> {
    const bytes = await this.#patiently('read', () => this.store.get(`content/${key}`))
    if (bytes !== undefined && sha256(bytes) === key) return bytes
    const problem = bytes === undefined ? 'is missing' : 'is damaged: its SHA-256 is another'
    throw new WeftgradError('queue', `Content ${key} ${problem} in ${this.store.shown}.`, { key })
  }

  /** Stores a result. Its files must be stored already. */
  async putResult(result: UnitResult): Promise<void> {
    const text = JSON.stringify(result)
    const bytes = new TextEncoder().encode(JSON.stringify({ sha256: sha256(text), result: text }))
    await this.#patiently('write', () => this.store.put(resultName(result.unit), bytes))
  }

  /** A unit's result; undefined if there is none, or it is damaged. */
  async result(unit: string): Promise<UnitResult | undefined> {
    const bytes = await this.#patiently('read', () => this.store.get(resultName(unit)))
    return bytes === undefined ? undefined : resultIn(bytes, unit)
  }

  /**
   * Deletes results older than `days`, and content that no result names. Ages are by the store's clock, from its newest
   * object on. Content of the last hour stays: its result may be about to be written.
   */
  async collect(days: number): Promise<{ readonly objects: number; readonly bytes: number }> {
    const results = await this.store.list('results')
    const contents = await this.store.list('content')
    const newest = Math.max(0, ...[...results, ...contents].map(({ writtenAt }) => writtenAt))
    const isOld = ({ writtenAt }: StoredObject): boolean => newest - writtenAt > days * 86_400_000
    const named = new Set<string>()
    for (const { name } of results.filter((one) => !isOld(one))) {
      const unit = name.replace(/^results\/|\.json$/g, '')
      for (const key of Object.values((await this.result(unit))?.files ?? {})) named.add(`content/${key}`)
    }
    const unnamed = contents.filter(({ name, writtenAt }) => !named.has(name) && newest - writtenAt > 3_600_000)
    const garbage = [...results.filter(isOld), ...unnamed]
    for (const { name } of garbage) await this.#patiently('delete', () => this.store.delete(name))
    return { objects: garbage.length, bytes: garbage.reduce((sum, { bytes }) => sum + bytes, 0) }
  }

  /** Repeats an operation that fails, with growing pauses: 20 ms to 10 s. */
  async #patiently<T>(verb: string, operation: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await operation()
      } catch (error) {
        // A disk may answer again, as a service may; other typed errors stay what they are.
        const isFinal = error instanceof WeftgradError && error.code !== 'file'
        if (attempt === mostTries || isFinal) {
          const problem = error instanceof Error ? error.message : String(error)
          throw new WeftgradError(
            'queue',
            `The store ${this.store.shown} could not ${verb}: ${problem.replace(/\.$/, '')}. Check it, and --store.`,
            { attempt },
            error,
          )
        }
        await pause(firstPauseMs * 2 ** (attempt - 1))
      }
    }
  }
}

const resultName = (unit: string): string => `results/${unit}.json`

function resultIn(bytes: Uint8Array, unit: string): UnitResult | undefined {
  try {
    const outer = boundedJson(new TextDecoder().decode(bytes))
    if (!isRecord(outer) || typeof outer.result !== 'string' || sha256(outer.result) !== outer.sha256) return undefined
    const value = boundedJson(outer.result)
    const isWhole =
      isRecord(value) &&
      value.unit === unit &&
      isRecord(value.files) &&
      Object.values(value.files).every(isKey) &&
      isRecord(value.record)
    // `putResult` wrote it, as the checksum shows.
    return isWhole ? (value as unknown as UnitResult) : undefined
  } catch {
    return undefined
  }
}
