/** Users' own operators, made with `defineOp`: several results, partial gradients, and what is refused. */
import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  add,
  defineOp,
  dispatch,
  evaluate,
  grad,
  input,
  type KernelPlan,
  mul,
  output,
  reads,
  scratch,
  sum,
  type Tensor,
  tensor,
  WeftgradError,
  writes,
} from '../src/index.ts'
import { useDevice } from './support/device.ts'

useDevice()

const planned = (...dispatches: KernelPlan['dispatches']): KernelPlan => ({
  variant: 'plain',
  dispatches,
  scratchBytes: [],
  flops: 0,
})

/** x + y and x - y. Records the cotangents that its rule receives. */
const noted: (readonly (Tensor | undefined)[])[] = []
const sumAndDifference = defineOp<[x: Tensor, y: Tensor], [sum: Tensor, difference: Tensor]>({
  name: 'sumAndDifference',
  shape([x, y]) {
    if (x.shape.join() !== y.shape.join()) throw new WeftgradError('shape', 'sumAndDifference: the shapes differ.')
    return [x, x]
  },
  plan([x]) {
    const count = x.shape.reduce((a, b) => a * b, 1)
    return planned(
      dispatch({
        label: 'sumAndDifference/plain',
        bindings: [reads('x', input(0)), reads('y', input(1)), writes('s', output(0)), writes('d', output(1))],
        uniforms: { count },
        workgroupSize: 64,
        workgroups: Math.ceil(count / 64),
        body: 'if (index < u.count) { s[index] = x[index] + y[index]; d[index] = x[index] - y[index]; }',
      }),
    )
  },
  vjp(_operands, _results, cotangents) {
    noted.push(cotangents)
    const [ds, dd] = cotangents
    const toX = ds && dd ? add(ds, dd) : (ds ?? dd)
    return [toX, undefined] // y takes no part in learning
  },
})

const x = tensor([1, 2, 3])
const y = tensor([10, 20, 30])

describe('an operator with several results', () => {
  it('returns them in order', async () => {
    expectTypeOf(sumAndDifference).toEqualTypeOf<(x: Tensor, y: Tensor) => [sum: Tensor, difference: Tensor]>()
    const [s, d] = await evaluate(sumAndDifference(x, y))
    expect([...(s ?? [])]).toEqual([11, 22, 33])
    expect([...(d ?? [])]).toEqual([-9, -18, -27])
  })

  it('knows which of them are used, and adds nothing if its rule returns no gradient', async () => {
    const [dx, dy] = grad((x: Tensor, y: Tensor) => sum(mul(sumAndDifference(x, y)[1], tensor([1, 2, 3]))))(x, y)
    expect(noted.at(-1)?.map((cotangent) => cotangent !== undefined)).toEqual([false, true])
    const [toX, toY] = await evaluate([dx, dy])
    expect([...(toX ?? [])]).toEqual([1, 2, 3])
    expect([...(toY ?? [])]).toEqual([0, 0, 0])
  })

  it('refuses operands by its own shape rule while tracing', () => {
    expect(() => sumAndDifference(x, tensor([1, 2]))).toThrow('the shapes differ')
  })
})

describe('an operator with several dispatches', () => {
  it('passes numbers on in scratch memory', async () => {
    const twiceAndOne = defineOp<[x: Tensor], [y: Tensor]>({
      name: 'twiceAndOne',
      shape: ([x]) => [x],
      plan([x]) {
        const count = x.shape.reduce((a, b) => a * b, 1)
        const text = { uniforms: { count }, workgroupSize: 64, workgroups: Math.ceil(count / 64) }
        const twice = dispatch({
          ...text,
          label: 'twiceAndOne/twice',
          bindings: [reads('x', input(0)), writes('half', scratch(0))],
          body: 'if (index < u.count) { half[index] = 2 * x[index]; }',
        })
        const andOne = dispatch({
          ...text,
          label: 'twiceAndOne/andOne',
          bindings: [reads('half', scratch(0)), writes('y', output(0))],
          body: 'if (index < u.count) { y[index] = half[index] + 1; }',
        })
        return { ...planned(twice, andOne), scratchBytes: [count * 4] }
      },
    })
    expect([...(await twiceAndOne(x)[0].data())]).toEqual([3, 5, 7])
  })
})

describe('a rule that returns the wrong shape', () => {
  it('is refused, by name', () => {
    const careless = defineOp<[x: Tensor], [y: Tensor]>({
      name: 'careless',
      shape: ([x]) => [x],
      plan: () => planned(),
      vjp: () => [tensor([1, 2])],
    })
    expect(() => grad((x: Tensor) => sum(careless(x)[0]))(x)).toThrow(/careless/)
  })
})
