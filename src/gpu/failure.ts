/** Device failures: the loss of the device, errors that WebGPU reports out of band, and disposal. */

import { WeftgradError } from '../errors.ts'
import type { Device } from './device.ts'

/** Browsers reject pending work at once and report the loss later, by a message from their GPU process. */
const lossReportedWithinMs = 1000

/** Watches one device and rejects everything that waits for it once it fails. The first failure counts. */
export class FailureWatch {
  readonly lost: Promise<WeftgradError>
  #failure: WeftgradError | undefined
  #disposed = false
  readonly #pending = new Set<(reason: WeftgradError) => void>()

  constructor(gpu: GPUDevice) {
    gpu.addEventListener('uncapturederror', (event) => {
      this.#fail(new WeftgradError('device', `The WebGPU device refused a command: ${event.error.message}`))
    })
    this.lost = gpu.lost.then(({ message, reason }) => {
      const error = this.#disposed
        ? disposedError()
        : new WeftgradError(
            'device-lost',
            `The WebGPU device was lost (${message || reason}). Open a new device and resume from the last checkpoint.`,
            { reason },
          )
      this.#fail(error)
      return error
    })
  }

  #fail(error: WeftgradError): void {
    this.#failure ??= error
    for (const reject of [...this.#pending]) reject(this.#failure)
    this.#pending.clear()
  }

  get usable(): boolean {
    return !this.#disposed && this.#failure === undefined
  }

  check(): void {
    if (this.#disposed) throw disposedError()
    if (this.#failure !== undefined) throw this.#failure
  }

  guard<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure !== undefined) {
        promise.catch(() => undefined)
        reject(this.#failure)
        return
      }
      this.#pending.add(reject)
      promise.then(
        (value) => {
          this.#pending.delete(reject)
          if (this.#failure === undefined) resolve(value)
          else reject(this.#failure)
        },
        (reason: unknown) => {
          // A map or wait can fail because the device is going away. The loss is the better explanation, so wait for
          // it.
          setTimeout(() => {
            this.#pending.delete(reject)
            reject(
              this.#failure ?? new WeftgradError('device', `The WebGPU device failed: ${String(reason)}`, {}, reason),
            )
          }, lossReportedWithinMs)
        },
      )
    })
  }

  /** Makes `check` throw 'disposed'. Pending work rejects when WebGPU reports the device destroyed. */
  markDisposed(): void {
    this.#disposed = true
  }
}

function disposedError(): WeftgradError {
  return new WeftgradError('disposed', 'The device was disposed. Open another one.')
}

/** `Device.validated`. */
export async function validated<T>(device: Device, what: string, create: () => T): Promise<T> {
  device.check()
  device.gpu.pushErrorScope('validation')
  let made: T
  try {
    made = create()
  } catch (error) {
    await device.guard(device.gpu.popErrorScope())
    throw error
  }
  const error = await device.guard(device.gpu.popErrorScope())
  if (error !== null) throw new WeftgradError('device', `${what} was refused by the device: ${error.message}`)
  return made
}
