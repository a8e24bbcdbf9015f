/** What a device finds out about its subgroups, on adapters that report what they should not. */
import { describe, expect, test } from 'vitest'
import type { Device } from '../src/gpu/device.ts'
import { findAdapter } from '../src/gpu/node/adapter.ts'
import { createDevice } from '../src/gpu/webgpu-device.ts'
import { planFor } from '../src/graph/run/program.ts'
import { matmul, tensor } from '../src/index.ts'
import { checkForward, checkGradients, computed, expectationOf } from './cases/verify.ts'
import { cases } from './cases.ts'
import { useDevice } from './support/device.ts'

const honest = useDevice()

interface Report {
  readonly sizes: readonly [number, number]
  readonly without?: string
}

/** A device on the tests' adapter, which reports these sizes and, on request, one feature less. */
async function reporting({ sizes: [subgroupMinSize, subgroupMaxSize], without }: Report): Promise<Device> {
  const { adapter, driver } = await findAdapter()
  const features = new Set([...adapter.features].filter((feature) => feature !== without))
  const info = new Proxy(adapter.info, {
    get: (own, name) => {
      if (name === 'subgroupMinSize') return subgroupMinSize
      return name === 'subgroupMaxSize' ? subgroupMaxSize : Reflect.get(own, name)
    },
  })
  const lying = { features, info, limits: adapter.limits, requestDevice: adapter.requestDevice.bind(adapter) }
  return createDevice(lying as unknown as GPUAdapter, { ...honest().facts, driver })
}

/** The size that the adapter really has; undefined skips a test, which says so. */
function realSize(skip: (note: string) => void): number {
  const { size, problem } = honest().subgroups
  if (size === undefined) skip(`the adapter has no subgroups to lie about: ${problem}`)
  return size ?? 0
}

const names = ["conv2d: LeNet's second", 'dense: relu', 'conv2d: with bias and relu, then max-pooling, as in LeNet']

/** Runs cases whose kernels use subgroups. */
async function compute(device: Device): Promise<void> {
  for (const name of names) {
    const found = cases.find((one) => one.name === name)
    if (found === undefined) throw new Error(`there is no case ${name}`)
    const expected = expectationOf(found)
    const { forward, gradients } = await computed(device, found, expected)
    checkForward(found, forward, expected.forward, name)
    checkGradients(found, expected, gradients, name)
  }
}

function shadersOf(device: Device): string[] {
  const [a, b] = [tensor(new Float32Array(256 * 256), [256, 256]), tensor(new Float32Array(256 * 256), [256, 256])]
  return planFor(device, [{ value: matmul(a, b).value }]).dispatches.map(({ wgsl }) => wgsl)
}

describe('a device', () => {
  test('whose adapter tells the truth uses its subgroups', ({ skip }) => {
    expect(realSize(skip)).toBeGreaterThanOrEqual(4)
    expect(honest().subgroups).toMatchObject({ pinned: false, problem: undefined })
  })

  test('whose adapter reports a wrong size does without subgroups, says so, and computes right', async ({ skip }) => {
    const wrong = realSize(skip) * 2
    using device = await reporting({ sizes: [wrong, wrong] })
    expect(device.subgroups.size).toBeUndefined()
    expect(device.subgroups.problem).toMatch(`reports subgroups of ${wrong} lanes`)
    expect(device.describe()).toContain('no fixed subgroups')
    expect(shadersOf(device).join()).not.toContain('enable subgroups')
    await compute(device)
  })

  test('whose adapter has a range of sizes fixes one of them in every kernel', async ({ skip }) => {
    const real = realSize(skip)
    using device = await reporting({ sizes: [real / 2, real * 2] })
    if (!device.gpu.features.has('subgroup-size-control' as GPUFeatureName)) skip('no subgroup-size-control here')
    expect(device.subgroups).toEqual({ size: real, pinned: true, problem: undefined })
    for (const wgsl of shadersOf(device))
      expect(wgsl.includes('enable subgroups')).toBe(wgsl.includes(`@subgroup_size(${real})`))
    await compute(device)
  })

  test('whose adapter has a range, but cannot fix a size, does without subgroups', async ({ skip }) => {
    const real = realSize(skip)
    using device = await reporting({ sizes: [real / 2, real * 2], without: 'subgroup-size-control' })
    expect(device.subgroups.size).toBeUndefined()
    expect(device.subgroups.problem).toContain(`${real / 2} to ${real * 2} lanes`)
  })
})
