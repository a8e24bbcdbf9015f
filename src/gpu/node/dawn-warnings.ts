/**
 * Keeps two of Dawn's warnings off the terminal. On drivers that allow many dynamic buffers, such as lavapipe, Dawn prints
 * "maxDynamicUniformBuffersPerPipelineLayout artificially reduced ..." and the same for storage buffers whenever it looks at
 * an adapter. weftgrad binds no dynamic buffers, and Dawn has no switch for its warnings; it writes them straight to file
 * descriptor 2. So that descriptor leads to a nameless file during the call, and everything else in it is passed on.
 *
 * Promises: no line is lost but those two. It does nothing where this could go wrong: outside Linux; where standard error
 * is neither a terminal nor a pipe, since it could not be opened a second time; while a thread of Node.js may open a file,
 * which would get number 2. To be removed once Dawn is silent or has a switch.
 */

import { randomUUID } from 'node:crypto'
import { closeSync, constants, openSync, readFileSync, readlinkSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

const stderr = 2
const unwanted = /^Warning: maxDynamic(Uniform|Storage)BuffersPerPipelineLayout artificially reduced from .*\n/gm

let isOn = false

/** Turns the filter on. For commands only: a library leaves its program's descriptors alone. */
export function filterLimitWarnings(): void {
  isOn = true
}

/** Calls a function that looks at adapters before it returns. */
export function withoutLimitWarnings<T>(look: () => T): T {
  const redirected = isOn && canRedirect() ? redirect() : undefined
  if (redirected === undefined) return look()
  try {
    return look()
  } finally {
    const written = redirected()
    if (written !== '') writeSync(stderr, written)
  }
}

function canRedirect(): boolean {
  if (process.platform !== 'linux' || !isMainThread) return false
  const isBusy = process.getActiveResourcesInfo().some((name) => name.includes('Req'))
  return !isBusy && /^(\/dev\/(pts\/|tty)|pipe:)/.test(readlinkSync(`/proc/self/fd/${stderr}`))
}

/** Leads standard error to a file. Returns what leads it back and gives the wanted lines; undefined if it cannot be done. */
function redirect(): (() => string) | undefined {
  let [kept, file] = [-1, -1]
  try {
    kept = openSync(`/proc/self/fd/${stderr}`, constants.O_WRONLY | constants.O_NOCTTY)
    const path = join(tmpdir(), `weftgrad-${randomUUID()}`)
    file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
    unlinkSync(path)
  } catch {
    if (kept >= 0) closeSync(kept)
    if (file >= 0) closeSync(file)
    return undefined
  }
  lead(file)
  return () => {
    lead(kept)
    const text = readFileSync(`/proc/self/fd/${file}`, 'utf8')
    closeSync(file)
    closeSync(kept)
    return text.replace(unwanted, '')
  }
}

/** Opens what a descriptor stands for as standard error: a system gives the lowest number that is free. */
function lead(descriptor: number): void {
  closeSync(stderr)
  openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_APPEND | constants.O_NOCTTY)
}
