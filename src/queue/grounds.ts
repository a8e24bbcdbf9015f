/**
 * What a worker keeps between units: its adapter, the data of a task, and what units of a kind share, such as images on
 * the device. Opened when a unit first needs it; the least recently used is released when there are too many.
 */
import { WeftgradError } from '../errors.ts'
import type { Device } from '../gpu/device.ts'
import type { LoadedData } from '../runs/data.ts'
import { openForCommand } from '../runs/device.node.ts'
import { fingerprintOf } from '../runs/job.node.ts'
import { taskNamed } from '../tasks/choice.node.ts'
import type { Task } from '../tasks/task.ts'
import type { UnitKind } from '../units/unit.ts'
import type { Unit } from './message.ts'

export interface WorkerPlaces {
  readonly dataDir?: string | undefined
  /** The folder of pictures, for runs on one's own. */
  readonly images?: string | undefined
}

/** What a record says of an adapter. */
export interface AdapterFacts {
  readonly driver: string
  readonly name: string
  readonly hardware: boolean
}

/** Where a worker's units run: `Grounds`, or what a test or a simulation has in its place. */
export interface GroundSource {
  adapter(): Promise<AdapterFacts>
  with<T>(unit: Unit, kind: UnitKind, work: (ground: Disposable, settings: unknown) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** This machine cannot run the unit; another one may. */
export class Refusal extends Error {}

/** The most grounds at a time beyond those in use. */
const mostIdle = 2

interface Kept {
  readonly ground: Promise<Disposable>
  users: number
}

interface Data {
  readonly task: Task
  readonly loaded: LoadedData
  readonly fingerprint: string
}

export class Grounds implements GroundSource {
  readonly #places: WorkerPlaces
  readonly #note: (line: string) => void
  readonly #kept = new Map<string, Kept>()
  readonly #data = new Map<string, Promise<Data>>()
  #device: Promise<Device> | undefined

  constructor(places: WorkerPlaces, note: (line: string) => void) {
    this.#places = places
    this.#note = note
  }

  async adapter(): Promise<AdapterFacts> {
    const { facts, info } = await this.#opened()
    return { driver: facts.driver, name: info.device, hardware: facts.hardware }
  }

  #opened(): Promise<Device> {
    this.#device ??= openForCommand(this.#note).catch((error: unknown) => {
      this.#device = undefined
      throw error
    })
    return this.#device
  }

  /**
   * Runs `work` on the unit's ground.
   * @throws Refusal if this machine lacks the data or the adapter; WeftgradError 'format' for damaged settings; and what
   * `work` throws.
   */
  async with<T>(unit: Unit, kind: UnitKind, work: (ground: Disposable, settings: unknown) => Promise<T>): Promise<T> {
    const device = await refusing(this.#opened())
    const { task, loaded, fingerprint } = await refusing(this.#dataOf(unit))
    if (fingerprint !== unit.data)
      throw new Refusal(`the data in ${loaded.folder} are not the job's: their checksum is another`)
    const settings = kind.read(unit.settings, task)
    const key = [unit.kind, JSON.stringify(unit.task), fingerprint, kind.groundKey(settings)].join(' ')
    const kept = this.#kept.get(key) ?? {
      ground: refusing(kind.open(task, { device, data: loaded, note: this.#note }, settings)),
      users: 0,
    }
    // The last in the order was used last.
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    kept.users++
    try {
      return await work(await kept.ground, settings)
    } catch (error) {
      if (error instanceof WeftgradError && error.code === 'device-lost') await this.#dispose(true)
      // What could not be opened is opened again next time.
      await kept.ground.catch(() => this.#kept.delete(key))
      throw error
    } finally {
      kept.users--
      await this.#release()
    }
  }

  /** Releases everything. */
  async close(): Promise<void> {
    await this.#dispose(false)
  }

  async #dispose(isLost: boolean): Promise<void> {
    const grounds = [...this.#kept.values()]
    const device = this.#device
    this.#kept.clear()
    this.#device = undefined
    // Memory on a lost device is gone.
    if (!isLost) for (const { ground } of grounds) (await ground.catch(() => undefined))?.[Symbol.dispose]()
    ;(await device?.catch(() => undefined))?.dispose()
  }

  async #release(): Promise<void> {
    const idle = [...this.#kept].filter(([, { users }]) => users === 0)
    for (const [key, { ground }] of idle.slice(0, Math.max(0, idle.length - mostIdle))) {
      this.#kept.delete(key)
      ;(await ground.catch(() => undefined))?.[Symbol.dispose]()
    }
  }

  #dataOf({ task: { name, facts } }: Unit): Promise<Data> {
    const key = JSON.stringify([name, facts])
    const known = this.#data.get(key)
    if (known !== undefined) return known
    const { dataDir, images } = this.#places
    const loading = (async (): Promise<Data> => {
      const task = await taskNamed(name, facts, images)
      const loaded = await task.data.load({ dataDir, log: this.#note })
      return { task, loaded, fingerprint: fingerprintOf(loaded) }
    })()
    this.#data.set(key, loading)
    loading.catch(() => this.#data.delete(key))
    return loading
  }
}

async function refusing<T>(preparing: Promise<T>): Promise<T> {
  try {
    return await preparing
  } catch (error) {
    throw error instanceof WeftgradError ? new Refusal(error.message, { cause: error }) : error
  }
}
