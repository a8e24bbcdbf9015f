/**
 * Units that only wait, for tests of the queue itself, and a worker of them. As a program it runs such a worker, to be
 * killed: `idle-units.ts QUEUE STORE [skew in ms]`.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WeftgradError } from '../../src/errors.ts'
import { isRecord } from '../../src/format/json.ts'
import type { GroundSource } from '../../src/queue/grounds.ts'
import { openResults } from '../../src/queue/open-store.ts'
import { UnitWorker, type WorkerOptions } from '../../src/queue/worker.ts'
import { fashionMnistLenet5 as task } from '../../src/tasks/fashion-mnist-lenet5.node.ts'
import type { JobGround } from '../../src/units/executor.node.ts'
import type { UnitKind } from '../../src/units/unit.ts'

export interface IdleSettings {
  readonly n: number
  readonly ms: number
  /** Whether the unit fails each time. */
  readonly fails?: boolean
}

const nothing: Disposable = { [Symbol.dispose]: () => undefined }

/** Waits in slices of 10 ms, keeps the number of slices as its checkpoint, and answers n squared. */
export const idleKind: UnitKind<IdleSettings, Disposable, { readonly square: number; readonly resumedAt: number }> = {
  name: 'idle',
  files: ['slices.txt'],
  read(value) {
    if (!isRecord(value) || typeof value.n !== 'number' || typeof value.ms !== 'number')
      throw new WeftgradError('format', 'no idle unit')
    return value as unknown as IdleSettings
  },
  isAnswer: (answer, { n }): answer is { readonly square: number; readonly resumedAt: number } =>
    isRecord(answer) && answer.square === n * n,
  groundKey: () => '',
  open: async () => nothing,
  async run(_, { n, ms, fails }, { folder, signal, events }) {
    if (fails) throw new WeftgradError('data', `unit ${n} is poisoned`)
    const path = join(folder, 'slices.txt')
    const resumedAt = Number(await readFile(path, 'utf8').catch(() => '0'))
    const slices = Math.ceil(ms / 10)
    const began = performance.now()
    for (let slice = resumedAt; slice < slices; slice++) {
      if (signal?.aborted) {
        await writeFile(path, String(slice))
        throw new WeftgradError('aborted', 'stopped')
      }
      events.onProgress?.({ epoch: 1, epochs: 1, step: slice, steps: slices, imagesPerSecond: 0, etaSeconds: 0 })
      // Not later than in total, however late a timer is.
      await pause(Math.max(0, 10 * (slice + 1 - resumedAt) - (performance.now() - began)))
    }
    await writeFile(path, String(slices))
    return { square: n * n, resumedAt }
  },
}

/** A job of idle units. */
export const idleJob: JobGround = { task, data: 'none', driver: 'idle', kernels: {} }

const grounds: GroundSource = {
  adapter: async () => ({ driver: 'idle', name: 'idle', hardware: false }),
  with: async (unit, kind, work) => await work(nothing, kind.read(unit.settings, task)),
  close: async () => undefined,
}

export async function idleWorker(options: Omit<WorkerOptions, 'kinds'>): Promise<UnitWorker> {
  return await UnitWorker.start({ ...options, kinds: [idleKind as UnitKind], grounds })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [queue = '', store = '', skew = '0'] = process.argv.slice(2)
  const now = Date.now
  Date.now = () => now() + Number(skew)
  const worker = await idleWorker({
    queue,
    results: await openResults(store),
    onUnit: (...what) => console.log(what.join(' ')),
  })
  process.once('SIGTERM', () => void worker.close())
}
