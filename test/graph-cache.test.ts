/** The cache of plans: which graphs share a plan, and which do not. */
import { describe, expect, it } from 'vitest'
import { defineOp } from '../src/autograd/define-op.ts'
import { PlanCache } from '../src/graph/plan/cache.ts'
import type { Plan } from '../src/graph/plan/plan.ts'
import { add, clip, div, exp, mul, neg, pad, planOf, square, sub, sum, Tensor, tensor } from '../src/index.ts'
import { DeviceStorage, leaf } from '../src/operators/tensor.ts'
import { useDevice } from './support/device.ts'
import { doubling } from './support/doubling.ts'
import { keptOn, target } from './support/graph-plans.ts'

const device = useDevice()
const kept = keptOn(device)

describe('the cache of plans', () => {
  const isShared = (a: Plan, b: Plan): boolean => a.dispatches === b.dispatches
  const plan = (...tensors: Tensor[]): Plan => planOf(tensors, { device: device() })

  it('shares a plan between graphs of equal structure, each with its own numbers', async () => {
    const graph = (numbers: number[]): Tensor => {
      const x = tensor(numbers)
      return add(mul(x, x), sum(x))
    }
    expect(isShared(plan(graph([1, 2])), plan(graph([3, 4])))).toBe(true)
    expect([...(await graph([1, 2]).data({ device: device() }))]).toEqual([4, 7])
    expect([...(await graph([3, 4]).data({ device: device() }))]).toEqual([16, 23])
  })

  it('finds the leaves of a shared plan in any order of creation', async () => {
    const quotient = (numerator: number[], denominator: number[], isFirst: boolean): Tensor => {
      const first = tensor(isFirst ? numerator : denominator)
      const second = tensor(isFirst ? denominator : numerator)
      return isFirst ? div(first, second) : div(second, first)
    }
    for (const isFirst of [true, false, true, false])
      expect([...(await quotient([6, 8], [2, 4], isFirst).data({ device: device() }))]).toEqual([3, 2])
  })

  it.each<[what: string, a: () => Tensor[], b: () => Tensor[]]>([
    ['other constants', () => [add(tensor([1]), 2)], () => [add(tensor([1]), 3)]],
    ['zeros of the other sign', () => [mul(tensor([1]), 0)], () => [mul(tensor([1]), -0)]],
    ['other limits', () => [clip(tensor([1]), -Infinity, 0)], () => [clip(tensor([1]), -1, 0)]],
    ['infinities of the other sign', () => [add(tensor([1]), Infinity)], () => [add(tensor([1]), -Infinity)]],
    ['NaN', () => [add(tensor([1]), Infinity)], () => [add(tensor([1]), Number.NaN)]],
    ['other padding', () => [pad(tensor([1]), [[1, 0]])], () => [pad(tensor([1]), [[0, 1]])]],
    ['other shapes', () => [exp(tensor([1]))], () => [exp(tensor([1, 2]))]],
    ['other dtypes', () => [tensor([1])], () => [tensor([1], [1], 'u32')]],
    ['other wiring', () => [sub(tensor([1]), tensor([2]))], () => [swap(tensor([1]), tensor([2]), sub)]],
    ['a leaf used twice', () => [twice(tensor([1]), sub)], () => [sub(tensor([1]), tensor([2]))]],
    ['other results', () => both(tensor([1])), () => both(tensor([1])).reverse()],
    ['other users’ operators', () => defineOp(doubling())(tensor([1])), () => defineOp(doubling())(tensor([1]))],
  ])('distinguishes %s', (_, a, b) => {
    expect(isShared(plan(...a()), plan(...b()))).toBe(false)
  })

  it('distinguishes one buffer read as two tensors from two buffers', async () => {
    using a = await kept(1, 2)
    using b = await kept(3, 4)
    const difference = (first: DeviceStorage, second: DeviceStorage): Tensor => {
      const [x, y] = [new Tensor(leaf(first, a.value.type)), new Tensor(leaf(second, a.value.type))]
      return sub(mul(x, 10), y)
    }
    const [one, other] = [new DeviceStorage(a.slice), new DeviceStorage(b.slice)]
    expect([...(await difference(one, one).data())]).toEqual([9, 18])
    expect([...(await difference(one, other).data())]).toEqual([7, 16])
    expect([...(await difference(one, one).data())]).toEqual([9, 18])
  })

  it('distinguishes plans by their variants, and by fusion', () => {
    const y = exp(neg(tensor([1, 2])))
    const plain = planOf([y], { device: device() })
    expect(isShared(plain, planOf([y], { device: device(), fuse: true }))).toBe(true)
    expect(isShared(plain, planOf([y], { device: device(), fuse: false }))).toBe(false)
    expect(isShared(plain, planOf([y], { device: device(), variants: { elementwise: 'plain' } }))).toBe(false)
  })

  it('evicts the least recently used plan, and holds no numbers', () => {
    const cache = new PlanCache(2)
    const planning = (y: Tensor): Plan => cache.plan([y.value], { target })
    const a = planning(exp(tensor([1])))
    const b = planning(neg(tensor([1])))
    expect(isShared(planning(exp(tensor([1]))), a)).toBe(true)
    planning(square(tensor([1])))
    expect(isShared(planning(exp(tensor([1]))), a)).toBe(true)
    expect(isShared(planning(neg(tensor([1]))), b)).toBe(false)
  })
})

const swap = (a: Tensor, b: Tensor, f: (a: Tensor, b: Tensor) => Tensor): Tensor => f(b, a)
const twice = (a: Tensor, f: (a: Tensor, b: Tensor) => Tensor): Tensor => f(a, a)
const both = (x: Tensor): Tensor[] => [exp(x), neg(x)]
