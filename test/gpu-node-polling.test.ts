/** The event loop sleeps while the device works, and nobody else's `setImmediate` is affected. */
import { performance } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { paceDawnFor } from '../src/gpu/node/dawn-polling.ts'
import { matmul, tensor } from '../src/index.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const timeoutClass = setTimeout(() => undefined).constructor

/** Like the function that Dawn passes to `setImmediate`: callable, without a name or source text. */
function bindingLike(callback: () => void): () => void {
  return new Proxy(() => callback(), {})
}

/** What `setImmediate` answers to a callback that asks again and again, until it is delayed or has asked for long. */
async function answers(): Promise<object[]> {
  const handles: object[] = []
  const began = performance.now()
  let late = 0
  await new Promise<void>((resolve) => {
    const ask = bindingLike(() => {
      if (handles.at(-1) instanceof timeoutClass || late === 3) return resolve()
      if (performance.now() - began > 2) late++
      handles.push(globalThis.setImmediate(ask))
    })
    handles.push(globalThis.setImmediate(ask))
  })
  return handles
}

describe('the callback that asks for finished work', () => {
  it('asks immediately at first and then waits for a timer', async () => {
    const handles = await answers()
    expect(handles[0]).not.toBeInstanceOf(timeoutClass)
    expect(handles.at(-1)).toBeInstanceOf(timeoutClass)
  })

  it('never waits for a timer while a device is hardware', async () => {
    const isTimed = async (): Promise<boolean> => (await answers()).some((handle) => handle instanceof timeoutClass)
    let lose: (reason: WeftgradError) => void = () => undefined
    const lost = new Promise<WeftgradError>((resolve) => {
      lose = resolve
    })
    paceDawnFor({ facts: { class: 'gpu', hardware: true, driver: 'made up' }, lost })
    expect(await isTimed()).toBe(false)
    lose(new WeftgradError('disposed', 'made up'))
    await lost
    expect(await isTimed()).toBe(true)
  })

  it('leaves the event loop asleep while the device is busy', async () => {
    const side = 512
    const x = tensor(new Float32Array(side * side).fill(1e-3), [side, side])
    let product = x
    for (let i = 0; i < 20; i++) product = matmul(product, x)
    await product.data() // compiled
    const before = performance.eventLoopUtilization()
    await product.data()
    await device().idle()
    expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.8)
  })
})

describe('other callbacks of setImmediate', () => {
  it('run in the same turn as before, with their arguments, and can be cleared', async () => {
    const seen: unknown[] = []
    const cleared = setImmediate(() => seen.push('cleared'))
    clearImmediate(cleared)
    setImmediate((...values) => seen.push(...values), 1, 'two')
    const bound = seen.push.bind(seen, 'bound')
    setImmediate(bound)
    await promisify(setImmediate)()
    expect(seen).toEqual([1, 'two', 'bound'])
  })
})
