/**
 * The workers on a queue: each says every few seconds what it is and does, under a name that the server forgets when it
 * stops saying so. Times are the server's, so clocks need not agree.
 */
import { isRecord, parsedJson } from '../format/json.ts'
import { queueName, times, type UnitQueue } from './bullmq.ts'

/** What a worker says of itself. */
export interface WorkerState {
  /** `host-pid-random`. */
  readonly id: string
  readonly host: string
  readonly version: string
  readonly adapter: string
  readonly hardware: boolean
  readonly concurrency: number
  /** Units under way: their keys, kinds, and the share that is done. */
  readonly units: readonly { readonly key: string; readonly kind: string; readonly share: number }[]
  readonly done: number
  readonly failed: number
  /** Seconds of work on finished units, added over all of them. */
  readonly busySeconds: number
  readonly upSeconds: number
  /** Why it handed its last unit back; absent once it finishes one. */
  readonly refuses?: string | undefined
}

const nameOf = (id: string): string => `${queueName}:worker:${id}`

export async function announce(queue: UnitQueue, state: WorkerState): Promise<void> {
  const client = await redis(queue)
  await client.call('SET', nameOf(state.id), JSON.stringify(state), 'PX', String(times.gone))
}

export async function leave(queue: UnitQueue, id: string): Promise<void> {
  const client = await redis(queue)
  await client.call('DEL', nameOf(id))
}

/** The workers, by name. */
export async function workersOf(queue: UnitQueue): Promise<WorkerState[]> {
  const client = await redis(queue)
  const names: string[] = []
  for (let cursor = '0'; ; ) {
    const answer = await client.call('SCAN', cursor, 'MATCH', nameOf('*'), 'COUNT', '1000')
    const [next, found] = Array.isArray(answer) ? answer : []
    names.push(...(Array.isArray(found) ? found.map(String) : []))
    cursor = String(next ?? '0')
    if (cursor === '0') break
  }
  const states: WorkerState[] = []
  for (const name of [...new Set(names)].toSorted()) {
    const value = parsedJson(String(await client.call('GET', name)))
    // Workers write it; it is only shown.
    if (isRecord(value) && typeof value.id === 'string' && Array.isArray(value.units))
      states.push(value as unknown as WorkerState)
  }
  return states
}

interface Caller {
  call(command: string, ...args: readonly string[]): Promise<unknown>
}

async function redis(queue: UnitQueue): Promise<Caller> {
  // BullMQ names fewer commands than its client has.
  return (await queue.client) as unknown as Caller
}
