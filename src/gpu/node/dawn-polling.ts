/**
 * Lets the event loop sleep while the device works. Dawn's Node binding polls for finished work: as long as a promise
 * is pending, a callback re-schedules itself with `setImmediate`, which keeps one core busy. If Vulkan runs on the CPU,
 * the work itself lacks that core: a LeNet-5 step of 128 images took 13.7 ms instead of 7.5 on two cores.
 *
 * The binding looks up the global `setImmediate` each time (AsyncRunner.cpp in Dawn, `ScheduleProcessEvents`, with a
 * note that it should not poll). `paceDawnFor` replaces it with a function that passes everything on, but delays the
 * binding's callback with a timer after it has polled for a while, unless a device is hardware: that one loses time
 * between two ticks of a timer, and does not need the core. Remove this file when Dawn stops polling.
 */

import type { Device } from '../device.ts'

/** Longer than short operations such as read-back, which take 0.1 to 0.2 ms. */
const eagerMs = 0.3

/** The shortest delay of a Node timer. */
const pauseMs = 1

let isPaced = false
/** Live devices that are hardware. As long as there is one, nothing is delayed. */
let hardwareDevices = 0

/** Delays the polling for a software device, for as long as no device is hardware. */
export function paceDawnFor({ facts, lost }: Pick<Device, 'facts' | 'lost'>): void {
  if (facts.hardware) {
    hardwareDevices++
    void lost.then(() => hardwareDevices--)
  } else replaceSetImmediate()
}

function replaceSetImmediate(): void {
  if (isPaced) return
  isPaced = true
  const immediate = globalThis.setImmediate
  let isPolling = false
  let pollingSince = 0

  const paced = (callback: (...values: unknown[]) => void, ...values: unknown[]): unknown => {
    if (!isBindingCallback(callback)) return immediate(callback, ...values)
    const now = performance.now()
    if (!isPolling) pollingSince = now
    const poll = (): void => {
      isPolling = true
      try {
        callback(...values)
      } finally {
        isPolling = false
      }
    }
    const isEager = hardwareDevices > 0 || now - pollingSince < eagerMs
    return isEager ? immediate(poll) : setTimeout(poll, pauseMs)
  }
  // Keeps `setImmediate`'s properties, such as `util.promisify.custom`.
  Object.defineProperties(paced, Object.getOwnPropertyDescriptors(immediate))
  Object.defineProperty(globalThis, 'setImmediate', { value: paced, configurable: true, writable: true })
}

/** The binding's callback is a native function without a name. Results of `bind` are called `bound ...`. */
function isBindingCallback(callback: unknown): boolean {
  return (
    typeof callback === 'function' &&
    callback.name === '' &&
    Function.prototype.toString.call(callback) === 'function () { [native code] }'
  )
}
