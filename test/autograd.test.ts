/**
 * Differentiation of whole graphs: shared tensors, independent ones, and where a gradient is 0 or NaN. For single
 * operators see operators.test.ts.
 */
import { describe, expect, it } from 'vitest'
import type { Tensor } from '../src/index.ts'
import {
  add,
  clip,
  constant,
  exp,
  grad,
  gradients,
  max,
  maximum,
  maxPool,
  mean,
  min,
  mul,
  planOf,
  pow,
  reciprocal,
  relu,
  reshape,
  slice,
  square,
  sub,
  sum,
  tensor,
  valueAndGrad,
  where,
} from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { expectClose, numbersOn, slope, strip } from './support/gradients.ts'

const device = useDevice()
const numbers = numbersOn(device)

describe('a gradient', () => {
  it('is zero, in the right shape, for a tensor that the result does not depend on', async () => {
    const [x, other] = [tensor([1, 2]), tensor([[1, 2, 3]])]
    const slopes = gradients(sum(square(x)), [other, x, exp(other)])
    expect(slopes.map(({ shape }) => shape)).toEqual([[1, 3], [2], [1, 3]])
    expect(await numbers(...slopes)).toEqual([
      [0, 0, 0],
      [2, 4],
      [0, 0, 0],
    ])
  })

  it('is zero for conditions, comparisons and signs', async () => {
    const x = tensor([-1, 2])
    const y = sum(where(x, mul(x, 0), 5))
    expect(await numbers(slope(y, x))).toEqual([[0, 0]])
  })

  it('of x to the power of zero is zero everywhere, including at zero', async () => {
    const x = tensor([0, 2, -3])
    const [gradient] = gradients(sum(pow(x, 0)), [x])
    expect([...((await gradient?.data()) ?? [])].map(Math.abs)).toEqual([0, 0, 0])
  })

  it.each<[what: string, f: (x: Tensor) => Tensor, x: Tensor, expected: readonly number[]]>([
    ['a power by its exponent, at 0', (x) => pow(tensor([0, 0, -0]), x), tensor([-1, 2, -3]), [0, 0, 0]],
    ['clip, beyond its limits', (x) => reciprocal(clip(x, 0, 1)), tensor([-1, 0.5]), [0, -4]],
    ['max, for the smaller elements', (x) => reciprocal(max(x, { axes: 1 })), tensor([[0, -1]]), [-Infinity, 0]],
    ['min, for the larger elements', (x) => reciprocal(min(x, { axes: 1 })), tensor([[0, 1]]), [-Infinity, 0]],
    ['maximum, for the smaller', (x) => reciprocal(maximum(x, 0)), tensor([-1]), [0]],
    ['relu, below 0', (x) => reciprocal(relu(x)), tensor([-1, 2]), [0, -0.25]],
    ['where, for the branch not taken', (x) => reciprocal(where(x, mul(x, 0), x)), tensor([0]), [-Infinity]],
    [
      'maxPool, for the smaller elements',
      (x) => reciprocal(maxPool(x, { poolSize: [1, 2] })),
      strip([0, -1]),
      [-Infinity, 0],
    ],
  ])('is 0 where documented, even beside infinities: %s', async (_, f, x, expected) => {
    const [actual] = await numbers(slope(sum(f(x)), x))
    expect(actual?.map((n) => n + 0)).toEqual(expected)
  })

  it('is NaN where a NaN decides the branch', async () => {
    const x = tensor([[Number.NaN, 1]])
    expect(await numbers(slope(sum(max(x, { axes: 1 })), x))).toEqual([[Number.NaN, Number.NaN]])
    const exponent = tensor([2])
    expect(await numbers(slope(sum(pow(tensor([Number.NaN]), exponent)), exponent))).toEqual([[Number.NaN]])
  })

  it('of a tensor with respect to itself is one, even if requested twice', async () => {
    const x = tensor([3])
    const y = square(x)
    const [own, first, second] = gradients(y, [y, x, x])
    if (own === undefined || first === undefined || second === undefined)
      throw new Error('three tensors, three gradients')
    expect(await numbers(own, first, second)).toEqual([[1], [6], [6]])
  })

  it('can be taken with respect to an intermediate tensor, alone or together with its inputs', async () => {
    const x = tensor([0.5, 2])
    const middle = square(x)
    const y = sum(mul(middle, tensor([3, 5])))
    expect(await numbers(slope(y, middle))).toEqual([[3, 5]])
    const both = gradients(y, [middle, x])
    expect(await numbers(...both)).toEqual([
      [3, 5],
      [3, 20],
    ])
  })

  it('adds up over all paths from a shared tensor to the result', async () => {
    const x = tensor([0.5, 1.5])
    const shared = exp(x)
    const y = sum(add(mul(shared, shared), sub(mul(shared, x), shared)))
    const e = [0.5, 1.5].map(Math.exp)
    const expected = [0.5, 1.5].map((t, i) => 2 * (e[i] ?? 0) ** 2 + (e[i] ?? 0) * (1 + t) - (e[i] ?? 0))
    const [actual] = await numbers(slope(y, x))
    expectClose(actual, expected)
  })

  it('of a deep graph of shared tensors costs as much as its nodes, not its paths', () => {
    const x = tensor([1.0001])
    let y = x
    for (let i = 0; i < 60; i++) y = mul(y, y)
    const plan = planOf([slope(sum(y), x)], { device: device(), fuse: false })
    expect(plan.dispatches.length).toBeLessThan(60 * 6)
  })

  it('is summed to the shape of a broadcast operand', async () => {
    const [row, column, scalar] = [tensor([1, 2, 3]), tensor([[4], [5]]), constant(2)]
    const y = sum(mul(mul(row, column), scalar))
    const slopes = gradients(y, [row, column, scalar])
    expect(slopes.map(({ shape }) => shape)).toEqual([[3], [2, 1], []])
    expect(await numbers(...slopes)).toEqual([[18, 18, 18], [12, 12], [54]])
  })

  it('passes through slices, reshapes and means', async () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    const y = mean(square(reshape(slice(x, [0, 1], [2, 1]), [2])))
    expect(await numbers(slope(y, x))).toEqual([[0, 2, 0, 4]])
  })
})

describe('functions that differentiate functions', () => {
  const w = tensor([2, 3])
  const f = (x: Tensor): Tensor => sum(mul(square(x), w))

  it('grad and valueAndGrad differentiate with respect to arguments, or tensors that the function closes over', async () => {
    const x = tensor([1, 10])
    const [value, [byArgument]] = valueAndGrad(f)(x)
    const [same, [byWeight]] = valueAndGrad(f, [w])(x)
    const [alone] = grad(f)(x)
    if (byArgument === undefined || byWeight === undefined || alone === undefined)
      throw new Error('gradients are there')
    expect(await numbers(value, byArgument, same, byWeight, alone)).toEqual([[302], [4, 60], [302], [1, 100], [4, 60]])
  })

  it('grad nests', async () => {
    const cube = (x: Tensor): Tensor => sum(mul(x, square(x)))
    const second = grad((x) => sum(grad(cube)(x)[0] ?? x))
    const third = grad((x) => sum(second(x)[0] ?? x))
    const [a, b] = [second(tensor([2, 5]))[0], third(tensor([2, 5]))[0]]
    if (a === undefined || b === undefined) throw new Error('one argument, one gradient')
    expect(await numbers(a, b)).toEqual([
      [12, 30],
      [6, 6],
    ])
  })
})
