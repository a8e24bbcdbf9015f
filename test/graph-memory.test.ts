/** Memory: what is refused before anything is allocated, and what is left after a run. */
import { describe, expect, it } from 'vitest'
import { defineOp } from '../src/autograd/define-op.ts'
import type { Device } from '../src/gpu/device.ts'
import { Program, planFor } from '../src/graph/run/program.ts'
import { add, broadcastTo, evaluate, exp, fill, keep, matmul, mul, sum, type Tensor, tensor } from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { doubling } from './support/doubling.ts'
import { conflicts, keptOn, planned } from './support/graph-plans.ts'
import { noiseTensor } from './support/noise.ts'

const device = useDevice()
const kept = keptOn(device)

/** Counts the buffers created while `act` runs, whether it succeeds or fails. */
async function buffersMade(on: Device, act: () => Promise<unknown>): Promise<number> {
  const { gpu } = on
  const create = gpu.createBuffer
  let made = 0
  gpu.createBuffer = (descriptor) => {
    made++
    return create.call(gpu, descriptor)
  }
  try {
    await act()
  } finally {
    gpu.createBuffer = create
  }
  return made
}

describe('a tensor that is too large for the adapter', () => {
  it('is refused, with the limit, before anything is allocated', async () => {
    const { maxBufferSize, maxStorageBufferBindingSize } = device().limits
    const before = device().memory()
    const beyond = [maxStorageBufferBindingSize, maxBufferSize].map((bytes) => Math.floor(bytes / 4) + 4)
    for (const count of beyond) {
      // Two factors, because each extent must fit 32 bits.
      const y = exp(broadcastTo(noiseTensor([Math.ceil(count / 4096), 1], 'x'), [Math.ceil(count / 4096), 4096]))
      const made = await buffersMade(device(), async () => {
        await expect(y.data({ device: device() })).rejects.toMatchObject({
          code: 'limit',
          details: { bytes: expect.any(Number) },
        })
        await expect(sum(matmul(y, fill([4096, 1], 1))).item({ device: device() })).rejects.toMatchObject({
          code: 'limit',
        })
      })
      expect(made).toBe(0)
    }
    expect(device().memory()).toEqual(before)
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })

  it('is refused by the plan only if it exceeds a binding or a buffer', () => {
    const x = tensor(new Float32Array(1000))
    const y = exp(x)
    for (const limits of [{ maxBufferBytes: 3999 }, { maxBindingBytes: 3999 }])
      expect(() => planned([y], limits)).toThrow(expect.objectContaining({ code: 'limit' }))
    expect(() => planned([sum(x)], { maxBindingBytes: 3999 })).toThrow(expect.objectContaining({ code: 'limit' }))
    expect(planned([y], { maxBufferBytes: 4096, maxBindingBytes: 4000 }).dispatches).toHaveLength(1)
  })

  it('does not stop smaller ones from sharing memory: they go into another arena', () => {
    const parts = Array.from({ length: 6 }, (_, i) => exp(noiseTensor([100], i)))
    const plan = planned(parts, { maxBufferBytes: 1024 })
    expect(plan.arenaBytes.every((bytes) => bytes <= 1024)).toBe(true)
    expect(plan.arenaBytes.length).toBeGreaterThanOrEqual(3)
    expect(conflicts(plan)).toEqual([])
  })
})

describe('live bytes', () => {
  it('return to their old value after evaluating, keeping and disposing', async () => {
    const before = device().memory()
    const x = noiseTensor([100, 100], 'x')
    await evaluate([matmul(x, x), sum(x), x], { device: device() })
    expect(device().memory().liveBytes).toBe(before.liveBytes)
    const y = await matmul(x, x).keep({ device: device() })
    expect(device().memory().liveBytes).toBe(before.liveBytes + 40_192)
    await sum(y).item()
    expect(device().memory().liveBytes).toBe(before.liveBytes + 40_192)
    y.dispose()
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('count each kept tensor separately, even one that is kept twice', async () => {
    const before = device().memory()
    const x = tensor([1, 2, 3])
    const y = mul(x, x)
    const [first, again, own, last] = await keep([y, y, x, add(y, 1)], { device: device() })
    expect(device().memory().liveBuffers).toBe(before.liveBuffers + 4)
    first?.dispose()
    expect(await again?.data()).toEqual(Float32Array.of(1, 4, 9))
    expect(await own?.data()).toEqual(Float32Array.of(1, 2, 3))
    expect(await last?.data()).toEqual(Float32Array.of(2, 5, 10))
    for (const one of [again, own, last]) one?.dispose()
    expect(device().memory().liveBytes).toBe(before.liveBytes)
    await expect(keep([y, defineOp(doubling('nonsense'))(x)[0] ?? x])).rejects.toMatchObject({ code: 'device' })
    expect(device().memory().liveBytes).toBe(before.liveBytes)
  })

  it('return to their old value after a failed run', async () => {
    const before = device().memory()
    const x = noiseTensor([64], 'x')
    const broken = (): Tensor => defineOp(doubling('nonsense'))(exp(x))[0] ?? x
    await expect(sum(broken()).item({ device: device() })).rejects.toMatchObject({ code: 'device' })
    await expect(broken().keep({ device: device() })).rejects.toMatchObject({ code: 'device' })
    const gone = await exp(x).keep({ device: device() })
    gone.dispose()
    await expect(add(gone, noiseTensor([64], 'y')).data()).rejects.toMatchObject({ code: 'disposed' })
    await expect(add(gone, x).keep()).rejects.toMatchObject({ code: 'disposed' })
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
    const [fine] = defineOp(doubling())(x)
    expect((await fine?.data({ device: device() }))?.length).toBe(64)
  })

  it('do not grow while a program is replayed', async () => {
    using state = await kept(1, 1)
    const plan = planFor(device(), [{ value: mul(state, 2).value, destination: state.slice }])
    using program = await Program.create(device(), plan, 'doubling')
    const before = device().memory()
    const made = await buffersMade(device(), async () => {
      for (let i = 0; i < 10; i++) await program.run(2)
      await device().idle()
    })
    expect(made).toBe(0)
    expect(device().memory()).toEqual(before)
    expect([...(await state.data())]).toEqual([2 ** 20, 2 ** 20])
  })
})
