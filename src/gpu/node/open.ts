/**
 * Opens a device in Node.js: finds an adapter (see adapter.ts) and creates the device that tensors use from then on.
 */

import { aFlag, aFunction, anArray, checkOptions } from '../../options.ts'
import { setCurrentDevice } from '../current-device.ts'
import type { Device, Precision } from '../device.ts'
import type { OpenOptions } from '../open.ts'
import { aPrecision } from '../open.ts'
import { createDevice } from '../webgpu-device.ts'
import type { FindAdapterOptions, FoundAdapter } from './adapter.ts'
import { findAdapter } from './adapter.ts'
import { paceDawnFor } from './dawn-polling.ts'

/** How to open a device in Node.js. */
export interface NodeOpenOptions extends FindAdapterOptions, Pick<OpenOptions, 'precision'> {
  /**
   * False leaves out Dawn's own checks in kernels (clamped indices, guards against endless loops) on a software adapter:
   * VGG16's features take 15 % less time there. weftgrad's kernels do without them: see docs/limits.md. The device refuses
   * operators made by `defineOp`. True by default. Hardware always keeps the checks.
   */
  readonly boundsChecks?: boolean
}

/**
 * Opens a device on the best available adapter: the one named by WEFTGRAD_ADAPTER, else hardware, else software Vulkan,
 * which is downloaded into the cache if it is missing. Tensors use it from then on.
 * @throws WeftgradError 'no-adapter' with what was found and what to do, 'fetch' if a driver could not be downloaded,
 * 'device' if the adapter creates no device.
 */
export async function open(options: NodeOpenOptions = {}): Promise<Device> {
  checkOptions('open', options, {
    ...{ provision: aFlag, log: aFunction, dawnToggles: anArray, precision: aPrecision, boundsChecks: aFlag },
  })
  const { boundsChecks = true, precision, ...search } = options
  const found = await (boundsChecks ? findAdapter(search) : findUnchecked(search))
  const device = await deviceOn(found, precision)
  setCurrentDevice(device)
  return device
}

/** The adapter that `findAdapter` finds; a software one without Dawn's checks in kernels. */
export async function findUnchecked(options: FindAdapterOptions = {}): Promise<FoundAdapter> {
  const found = await findAdapter(options)
  if (found.hardware) return found
  // Dawn fixes this for all devices of an instance.
  const dawnToggles = [...(options.dawnToggles ?? []), 'disable_robustness']
  return { ...(await findAdapter({ ...options, dawnToggles })), fetched: found.fetched }
}

/** Creates a device on an adapter, without making it the one that tensors use. */
export async function deviceOn(found: FoundAdapter, precision?: Precision): Promise<Device> {
  const { adapter, hardware, driver, boundsChecks } = found
  const facts = { class: hardware ? 'gpu' : 'cpu', hardware, driver, boundsChecks } as const
  const device = await createDevice(adapter, facts, precision)
  paceDawnFor(device)
  return device
}
