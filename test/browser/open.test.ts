/** Devices in browsers: how they are described, and one with the least that WebGPU guarantees. */
import { describe, expect, it } from 'vitest'
import { currentDevice, open } from 'weftgrad'
import { failuresOf } from '../support/case-failures.ts'
import { plainGpu } from '../support/plain-gpu.ts'
import { shortTraining } from '../support/short-training.ts'
import { useBrowserDevice } from './browser-device.ts'

describe('the browser’s adapter', () => {
  it('is recognised as software with subgroups', async () => {
    using device = await open()
    expect(currentDevice()).toBe(device)
    expect(device.facts).toEqual({ class: 'cpu', hardware: false, driver: 'google swiftshader' })
    expect(device.subgroups.size).toBe(4)
    expect(device.describe()).toBe('swiftshader (google swiftshader; software, subgroups of 4)')
  })

  it('is used with its own limits, not only the guaranteed ones', async () => {
    using device = await open()
    const { limits } = (await navigator.gpu.requestAdapter()) ?? {}
    expect(device.limits.maxStorageBufferBindingSize).toBe(limits?.maxStorageBufferBindingSize)
    expect(device.limits.maxStorageBufferBindingSize).toBeGreaterThan(2 ** 27)
    expect(device.limits.maxStorageBuffersPerShaderStage).toBeGreaterThan(8)
  })
})

describe('a device with default limits, without subgroups and timestamps', () => {
  const plain = useBrowserDevice(plainGpu(navigator.gpu))

  it('says so', async () => {
    expect(plain().subgroups.size).toBeUndefined()
    expect(plain().gpu.features.has('subgroups')).toBe(false)
    expect(plain().limits.maxStorageBuffersPerShaderStage).toBe(8)
    await expect(plain().timeOnDevice([])).rejects.toMatchObject({ code: 'limit' })
  })

  it('computes the first case of every operator correctly', async () => {
    const { ran, failures } = await failuresOf(plain())
    expect(failures).toEqual([])
    expect(ran).toBeGreaterThan(50)
  })

  it('trains to the same losses as other devices, to 1e-4', async () => {
    const own = await shortTraining(plain())
    using device = await open()
    const other = await shortTraining(device)
    for (const [i, { loss, validationLoss = Number.NaN }] of own.epochs.entries()) {
      expect(Math.abs(loss - (other.epochs[i]?.loss ?? Number.NaN))).toBeLessThan(1e-4)
      expect(Math.abs(validationLoss - (other.epochs[i]?.validationLoss ?? Number.NaN))).toBeLessThan(1e-4)
    }
  })
})
