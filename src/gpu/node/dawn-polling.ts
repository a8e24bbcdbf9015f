/**
 * Lets the event loop sleep while the device works. Dawn's Node binding looks for finished work in a callback that puts
 * itself on `setImmediate` again and again for as long as any promise is pending, so a process that waits keeps a core
 * busy with asking. Where Vulkan runs on the CPU that core is missing for the work itself: a LeNet-5 step of 128 images
 * took 13.7 ms instead of 7.5 on two cores.
 *
 * The binding takes `setImmediate` from the global object each time (AsyncRunner.cpp in Dawn, `ScheduleProcessEvents`,
 * with a note there that it should not poll). What stands there after `paceDawn()` passes everything on, but makes the
 * binding's own callback wait for a timer once it has asked for a while. This file may go when Dawn stops polling.
 */

/** Short operations, read-back above all, are done by then: they take 0.1 to 0.2 ms. */
const eagerMs = 0.3

/** The shortest that a timer of Node's waits. */
const pauseMs = 1

let isPaced = false

/** Once for the process; calling it again changes nothing. */
export function paceDawn(): void {
  if (isPaced) return
  isPaced = true
  const immediate = globalThis.setImmediate
  let isPolling = false
  let askingSince = 0

  const paced = (callback: (...values: unknown[]) => void, ...values: unknown[]): unknown => {
    if (!isBindingsOwn(callback)) return immediate(callback, ...values)
    const now = performance.now()
    if (!isPolling) askingSince = now
    const poll = (): void => {
      isPolling = true
      try {
        callback(...values)
      } finally {
        isPolling = false
      }
    }
    return now - askingSince < eagerMs ? immediate(poll) : setTimeout(poll, pauseMs)
  }
  // With `setImmediate`'s own properties, `util.promisify.custom` among them.
  Object.defineProperties(paced, Object.getOwnPropertyDescriptors(immediate))
  Object.defineProperty(globalThis, 'setImmediate', { value: paced, configurable: true, writable: true })
}

/** A native function without a name; those of `bind` are called `bound ...`. */
function isBindingsOwn(callback: unknown): boolean {
  return (
    typeof callback === 'function' &&
    callback.name === '' &&
    Function.prototype.toString.call(callback) === 'function () { [native code] }'
  )
}
