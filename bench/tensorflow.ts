/**
 * TensorFlow.js' WebGPU backend on the same adapter and in the same process as weftgrad, so that both can be sampled in
 * turn. It has its own device: WebGPU gives one device per adapter object.
 */

import type { Tensor } from '@tensorflow/tfjs'
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu'
import { findUnchecked } from '../src/gpu/node/open.ts'
import type { TensorFlow } from '../test/support/tfjs.ts'
import type { Subject } from './measure.ts'

/** The timed work: called inside a `tidy`, returns the result. Tensors that it only reads are made before. */
export type TimedTensorFlow = () => Tensor

export class TensorFlowSide {
  readonly name = 'tfjs'
  readonly title = "TensorFlow.js' WebGPU backend, on the same adapter"
  readonly tf: TensorFlow
  readonly #backend: WebGPUBackend
  #failure: string | undefined

  private constructor(tf: TensorFlow, backend: WebGPUBackend) {
    this.tf = tf
    this.#backend = backend
    backend.device.addEventListener('uncapturederror', (event) => {
      this.#failure ??= event.error.message.split('\n')[0] ?? 'its device reported an error'
    })
  }

  static async open(): Promise<TensorFlowSide> {
    // Both packages are CommonJS. While `navigator.gpu` is missing, the backend does not register itself on import,
    // which is what we want: it would request features in a form that Dawn refuses.
    const { default: tf } = await import('@tensorflow/tfjs')
    const backendPackage = await import('@tensorflow/tfjs-backend-webgpu')
    const { adapter, gpu } = await findUnchecked()
    provideNavigator(gpu)
    // The limits and features that the backend would request itself.
    const { limits } = adapter
    const device = await adapter.requestDevice({
      label: 'TensorFlow.js',
      requiredFeatures: adapter.features.has('timestamp-query') ? ['timestamp-query'] : [],
      requiredLimits: {
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
        maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxBufferSize: limits.maxBufferSize,
        maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
        maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      },
    })
    const backend = new backendPackage.WebGPUBackend(device, adapter.info)
    tf.enableProdMode() // skips its checks of arguments and results
    // Kernels are compared: without this, small tensors are computed on the host.
    tf.env().set('WEBGPU_CPU_FORWARD', false)
    if (tf.findBackend('webgpu') !== null) tf.removeBackend('webgpu')
    tf.registerBackend('webgpu', () => backend)
    await tf.setBackend('webgpu')
    await tf.ready()
    return new TensorFlowSide(tf, backend)
  }

  /** Submits everything, and resolves when it has run. Throws the first error that the device reported. */
  async settle(): Promise<void> {
    this.#backend.ensureCommandEncoderReady()
    this.#backend.endComputePassEncoder()
    this.#backend.submitQueue()
    await this.#backend.queue.onSubmittedWorkDone()
    if (this.#failure !== undefined) throw new Error(this.#failure)
  }

  /** Runs the work once and returns its result. Throws if TensorFlow.js cannot do it. */
  async firstResult(work: TimedTensorFlow): Promise<Float32Array<ArrayBuffer>> {
    const result = this.tf.tidy(work)
    const values = await result.data()
    await this.settle()
    return Float32Array.from(values)
  }

  /** Makes the work a subject for timing, with a `tidy` for every repeat. */
  subject(work: TimedTensorFlow): Subject {
    return {
      maxRepeats: 1000,
      run: async (repeats) => {
        for (let i = 0; i < repeats; i++) {
          this.tf.tidy(() => {
            work()
          })
        }
        await this.settle()
      },
    }
  }

  /** Runs `use` and releases every tensor that it made. */
  async scoped<T>(use: () => Promise<T>): Promise<T> {
    const engine = this.tf.engine()
    engine.startScope('bench')
    try {
      return await use()
    } finally {
      engine.endScope()
      this.tf.disposeVariables()
      this.#failure = undefined
    }
  }

  dispose(): void {
    this.tf.removeBackend('webgpu')
    this.#backend.device.destroy()
  }
}

/** The backend looks for `navigator.gpu`, which Node lacks. It only has to exist. */
function provideNavigator(gpu: GPU): void {
  if (!('navigator' in globalThis))
    Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'Node.js' }, configurable: true })
  if (!('gpu' in globalThis.navigator))
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true })
}
