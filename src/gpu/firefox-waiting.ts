/**
 * Shortens waits in Firefox. It looks for finished work every 100 ms, from a timer
 * (https://bugzilla.mozilla.org/show_bug.cgi?id=1870699, "Don't poll WebGPU from a timer"), so that even a wait for an
 * empty queue takes that long. It also looks whenever something is submitted, so while anyone waits, an empty submission
 * follows every few milliseconds. Remove this file when that bug is fixed in all supported versions.
 */

/** The shortest pause between a browser's repeated timers. */
const pauseMs = 4

interface Waiting {
  count: number
  readonly timer: ReturnType<typeof setInterval>
}

const waiting = new WeakMap<GPUDevice, Waiting>()

/** Settles like `wait`, which is a wait for submitted work: in Firefox, soon after that has run. */
export function toldSoon<T>(gpu: GPUDevice, wait: Promise<T>): Promise<T> {
  const agent = (globalThis.navigator as Navigator | undefined)?.userAgent ?? ''
  if (!agent.includes('Firefox/')) return wait
  const entry = waiting.get(gpu) ?? { count: 0, timer: setInterval(() => gpu.queue.submit([]), pauseMs) }
  entry.count++
  waiting.set(gpu, entry)
  return wait.finally(() => {
    entry.count--
    if (entry.count > 0) return
    clearInterval(entry.timer)
    waiting.delete(gpu)
  })
}
