/** Opens a device on the host's WebGPU: a browser's, a worker's, or any other on `navigator.gpu`. */

import { WeftgradError } from '../errors.ts'
import type { Kind } from '../options.ts'
import { anObject, aString, checkOptions } from '../options.ts'
import { driverName, isHardware } from './adapter-info.ts'
import { setCurrentDevice } from './current-device.ts'
import type { Device, Precision } from './device.ts'
import { createDevice } from './webgpu-device.ts'

/** Which of the host's adapters to use. */
export interface OpenOptions {
  /** `navigator.gpu` by default. */
  readonly gpu?: GPU
  /** Which GPU to use on a computer with two. A browser may ignore it. */
  readonly powerPreference?: GPUPowerPreference
  /** 'f16' lets products round their operands to half precision on GPUs; 'f32' by default. */
  readonly precision?: Precision
}

/**
 * Opens a device on the host's adapter, a software one if there is no other. Tensors use it from then on.
 * @throws WeftgradError 'no-adapter' if there is no WebGPU or no adapter, with what to do; 'device' if the adapter
 * creates no device.
 */
export async function open(options: OpenOptions = {}): Promise<Device> {
  checkOptions('open', options, { gpu: anObject, powerPreference: aString, precision: aPrecision })
  const { gpu, powerPreference = 'high-performance', precision } = options
  const host = gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu
  if (host === undefined) throw noWebGpu()
  const adapter =
    (await host.requestAdapter({ powerPreference })) ?? (await host.requestAdapter({ forceFallbackAdapter: true }))
  if (adapter === null)
    throw new WeftgradError(
      'no-adapter',
      'WebGPU found no adapter. Turn on hardware acceleration in the browser, or update the GPU driver.',
    )
  const { info } = adapter
  const hardware = isHardware(info)
  const facts = { class: hardware ? 'gpu' : 'cpu', hardware, driver: driverName(info) } as const
  const device = await createDevice(adapter, facts, precision)
  setCurrentDevice(device)
  return device
}

/** The kind of the option `precision`. */
export const aPrecision: Kind = ["'f32' or 'f16'", (value) => value === 'f32' || value === 'f16']

function noWebGpu(): WeftgradError {
  const isInsecurePage = globalThis.isSecureContext === false
  return new WeftgradError(
    'no-adapter',
    isInsecurePage
      ? 'WebGPU needs a secure page: open this one over https, or as http://localhost.'
      : "There is no WebGPU here. Use a current Chrome, Edge, Safari or Firefox; in Node.js, import `open` from 'weftgrad/node'; in an old Deno, add --unstable-webgpu.",
  )
}
