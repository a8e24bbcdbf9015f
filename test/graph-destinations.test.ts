/** Results that a run writes where the caller wants them, even over values that it still has to read. */
import { describe, expect, it } from 'vitest'
import type { Plan, Wanted } from '../src/graph/plan/plan.ts'
import { Program, planFor } from '../src/graph/run/program.ts'
import { add, argmax, exp, matmul, mul, reshape, sub, sum, tensor } from '../src/index.ts'
import { leaf } from '../src/operators/tensor.ts'
import { useDevice } from './support/device.ts'
import { conflicts, keptOn } from './support/graph-plans.ts'

const device = useDevice()
const kept = keptOn(device)

/** Runs a graph whose results have destinations, `times` times. */
async function runWanted(wanted: readonly Wanted[], times = 1): Promise<{ plan: Plan; results: number[][] }> {
  const plan = planFor(device(), wanted)
  using program = await Program.create(device(), plan, 'destinations')
  await program.run(times)
  const bytes = await device().readAll(program.results)
  return { plan, results: bytes.map((one) => [...new Float32Array(one)]) }
}

describe('results with destinations', () => {
  it('are written to their destination by the kernel that computes them', async () => {
    using a = await kept(1, 2)
    using b = await kept(0, 0)
    const { plan, results } = await runWanted([{ value: mul(a, 10).value, destination: b.slice }])
    expect(plan.dispatches).toHaveLength(1)
    expect(results).toEqual([[10, 20]])
    expect([...(await b.data())]).toEqual([10, 20])
  })

  it('that replace values that are still needed are written at the end (moving statistics)', async () => {
    using average = await kept(8, 16)
    using x = await kept(4, 4)
    const next = add(mul(average, 0.5), mul(x, 0.5))
    // Traced after the update, but reads the average from before the step.
    const normal = sub(x, average)
    const wanted = [
      { value: next.value, destination: average.slice },
      { value: normal.value },
      { value: mul(next, 2).value },
    ]
    const once = await runWanted(wanted)
    expect(once.results).toEqual([
      [6, 10],
      [-4, -12],
      [12, 20],
    ])
    expect(conflicts(once.plan)).toEqual([])
    const again = await runWanted(wanted, 2)
    expect(again.results[0]).toEqual([4.5, 5.5])
    expect(again.results[1]).toEqual([-1, -3])
    expect([...(await average.data())]).toEqual([4.5, 5.5])
  })

  it('can be one value wanted in two places, and once without a place', async () => {
    using x = await kept(1, 2)
    using a = await kept(0, 0)
    using b = await kept(0, 0)
    const y = mul(x, 3).value
    const { results } = await runWanted([
      { value: y },
      { value: y, destination: a.slice },
      { value: y, destination: b.slice },
    ])
    expect(results).toEqual([
      [3, 6],
      [3, 6],
      [3, 6],
    ])
    expect([...(await a.data()), ...(await b.data())]).toEqual([3, 6, 3, 6])
  })

  it('can be leaves, even two that are swapped', async () => {
    using a = await kept(1, 2)
    using b = await kept(3, 4)
    const { plan } = await runWanted([
      { value: a.value, destination: b.slice },
      { value: b.value, destination: a.slice },
    ])
    expect(conflicts(plan)).toEqual([])
    expect([...(await a.data())]).toEqual([3, 4])
    expect([...(await b.data())]).toEqual([1, 2])
  })

  it('can be leaves that move within their own buffer', async () => {
    const buffer = device().allocate(512, 'two halves')
    device().write(buffer.slice(), new Float32Array([1, 2]))
    using whole = await kept(0)
    const storage = { on: () => buffer.slice(0, 8), device: device(), transient: false }
    const first = leaf(storage, { shape: [2], dtype: 'f32' })
    await runWanted([
      { value: first, destination: buffer.slice(256, 8) },
      { value: whole.value, destination: whole.slice },
    ])
    const [low, high] = await device().readAll([buffer.slice(0, 8), buffer.slice(256, 8)])
    expect([...new Float32Array(low ?? new ArrayBuffer(0))]).toEqual([1, 2])
    expect([...new Float32Array(high ?? new ArrayBuffer(0))]).toEqual([1, 2])
    buffer.dispose()
  })

  it('can share a buffer, one computed from the other (gradients)', async () => {
    using x = await kept(1, 2)
    using buffer = device().allocate(1024, 'gradients')
    const a = exp(x)
    const b = sum(mul(a, a))
    const c = matmul(reshape(a, [1, 2]), reshape(a, [2, 1]))
    const { plan, results } = await runWanted([
      { value: a.value, destination: buffer.slice(0, 8) },
      { value: b.value, destination: buffer.slice(256, 4) },
      { value: c.value, destination: buffer.slice(512, 4) },
    ])
    expect(conflicts(plan)).toEqual([])
    const square = Math.exp(2) + Math.exp(4)
    expect(results[0]?.map((y) => Math.log(y))).toEqual([expect.closeTo(1, 5), expect.closeTo(2, 5)])
    expect(results[1]).toEqual([expect.closeTo(square, 3)])
    expect(results[2]).toEqual([expect.closeTo(square, 3)])
  })

  it('can be reshaped, and can be whole numbers', async () => {
    using numbers = await argmax(
      tensor([
        [1, 5, 2],
        [7, 0, 3],
      ]),
    ).keep({ device: device() })
    expect([...(await numbers.data())]).toEqual([1, 0])
    using reshaped = await reshape(numbers, [2, 1]).keep({ device: device() })
    expect(reshaped.shape).toEqual([2, 1])
    expect([...(await reshaped.data())]).toEqual([1, 0])
  })
})
