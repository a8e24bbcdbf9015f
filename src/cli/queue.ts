/** `weftgrad queue ...`: serves a queue on this machine, shows one, pauses and resumes it, retries, empties, collects. */
import { setTimeout as pause } from 'node:timers/promises'
import { clock, count, counted, percent } from '../numbers.ts'
import { queueAddress } from '../queue/address.ts'
import { openQueue, type UnitQueue } from '../queue/bullmq.ts'
import { drain, type QueueState, queueState, retrySetAside } from '../queue/control.ts'
import { openResults } from '../queue/open-store.ts'
import { startServer } from '../queue/server.ts'
import { column } from './columns.ts'
import { interruptible } from './interrupt.ts'
import { LiveBlock } from './live-block.ts'
import type { Colors } from './shown.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { fact } from './training-text.ts'

interface OnQueue {
  readonly queue: string
  readonly json?: boolean
}

/** Runs `work` on the queue. Throws WeftgradError 'argument', 'queue'. */
async function withQueue(
  { queue, json }: OnQueue,
  work: (queue: UnitQueue, terminal: Terminal) => Promise<void>,
): Promise<void> {
  const opened = await openQueue(queueAddress(queue))
  try {
    await work(opened, openTerminal({ json }))
  } finally {
    await opened.close()
  }
}

/** Runs a server until it is stopped. Throws WeftgradError 'fetch', 'queue'. */
export async function serveCommand({
  port,
  persist,
}: {
  readonly port: number
  readonly persist: boolean
}): Promise<void> {
  const terminal = openTerminal()
  const server = await startServer({ port, persistent: persist, log: terminal.note })
  const interrupt = interruptible(
    () => void server.stop(),
    () => undefined,
  )
  fact(terminal, 'Queue', terminal.colors.bold(server.url))
  fact(terminal, 'Server', `${server.program}, reachable from this machine only`)
  fact(terminal, '', `jobs ${persist ? 'survive' : 'do not survive'} a restart; Ctrl-C ends it`)
  await server.ended
  interrupt.release()
  if (interrupt.exitCode !== undefined) return
  terminal.note('The server has ended by itself.')
  process.exitCode = 1
}

/** Time between two looks, in ms. */
const watchMs = 1_000

/** Shows the queue and its workers once, or with `watch` until it is stopped. */
export async function statusCommand({
  watch = false,
  ...options
}: OnQueue & { readonly watch?: boolean }): Promise<void> {
  await withQueue(options, async (queue, terminal) => {
    if (options.json) {
      terminal.json(await queueState(queue))
      return
    }
    if (!watch || terminal.live === undefined) {
      for (const line of stateLines(await queueState(queue), terminal.colors)) terminal.say(line)
      return
    }
    const block = new LiveBlock(terminal)
    const interrupt = interruptible(
      () => undefined,
      () => block.close(),
    )
    while (!interrupt.signal.aborted) {
      const state = await queueState(queue)
      block.show(() => stateLines(state, terminal.noteColors))
      await pause(watchMs, undefined, { signal: interrupt.signal }).catch(() => undefined)
    }
    block.close()
    interrupt.release()
  })
}

export async function pauseCommand(options: OnQueue): Promise<void> {
  await withQueue(options, async (queue, { say }) => {
    await queue.pause()
    say('The queue is paused: units under way end, others wait for `weftgrad queue resume`.')
  })
}

export async function resumeCommand(options: OnQueue): Promise<void> {
  await withQueue(options, async (queue, { say }) => {
    await queue.resume()
    say('The queue is running.')
  })
}

export async function retryCommand(options: OnQueue): Promise<void> {
  await withQueue(options, async (queue, { say }) => {
    say(`Queued again: ${counted(await retrySetAside(queue), 'unit')}.`)
  })
}

export async function drainCommand(options: OnQueue): Promise<void> {
  await withQueue(options, async (queue, { say }) => {
    say(`Removed: ${counted(await drain(queue), 'unit')}. Those under way end.`)
  })
}

/** Deletes old results, and content that no result names. Throws WeftgradError 'argument', 'queue'. */
export async function collectCommand({
  store,
  days,
}: {
  readonly store?: string
  readonly days: number
}): Promise<void> {
  const results = await openResults(store)
  const { objects, bytes } = await results.collect(days)
  openTerminal().say(`Deleted from ${results.store.shown}: ${counted(objects, 'object')}, ${count(bytes)} bytes.`)
}

/** The table of `weftgrad queue status`. */
export function stateLines(state: QueueState, { bold, dim, red }: Colors): string[] {
  const { isPaused, waiting, active, setAside, workers, donePerMinute, etaSeconds } = state
  const minutes = donePerMinute.slice(0, 5)
  const rate = minutes.reduce((sum, one) => sum + one, 0) / Math.max(1, minutes.length)
  const left = etaSeconds === null ? 'time left unknown' : `${clock(etaSeconds)} left`
  const lines = [
    `${bold(isPaused ? 'Paused' : 'Running')}: ${active} under way, ${waiting} waiting, ${setAside.length} set aside; ${rate.toFixed(1)} units/min, ${left}`,
    '',
    dim(
      `  ${column('Worker', 30)}${column('Adapter', 36)}${column('Done', 6)}${column('Failed', 8)}${column('Busy', 7)}Under way`,
    ),
  ]
  for (const { id, adapter, done, failed, busySeconds, upSeconds, concurrency, units, refuses } of workers) {
    const busy = percent(Math.min(1, busySeconds / Math.max(1, upSeconds * concurrency)), 0)
    const under = units.map(({ key, kind, share }) => `${kind} ${key.slice(0, 12)} ${percent(share, 0)}`).join(', ')
    const cells = `${column(id, 30)}${column(adapter, 36)}${column(String(done), 6)}${column(String(failed), 8)}${column(busy, 7)}`
    lines.push(`  ${cells}${refuses === undefined ? under : red(`refuses: ${refuses}`)}`)
  }
  if (workers.length === 0) lines.push('  none')
  for (const { unit, kind, attempts, reason, log } of setAside) {
    lines.push('', red(`Set aside after ${attempts} attempts: ${kind} ${unit.slice(0, 12)}: ${reason}`))
    for (const line of log) lines.push(dim(`  ${line}`))
  }
  return lines
}
