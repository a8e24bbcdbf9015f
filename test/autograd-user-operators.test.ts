/** Users' own operators, operators without a gradient, and the gradient checker, which must notice wrong gradients. */
import { describe, expect, it } from 'vitest'
import type { OpDefinition } from '../src/autograd/define-op.ts'
import { defineOp } from '../src/autograd/define-op.ts'
import type { Tensor } from '../src/index.ts'
import {
  add,
  argmax,
  exp,
  gather,
  gradCheck,
  gradients,
  mul,
  neg,
  square,
  sub,
  sum,
  tensor,
  toF32,
} from '../src/index.ts'
import { toU32Op } from '../src/operators/elementwise.ts'
import { apply } from '../src/operators/operator.ts'
import { useDevice } from './support/device.ts'
import { expectClose, numbersOn, slope } from './support/gradients.ts'
import { noiseTensor } from './support/noise.ts'
import { run, scaling, timesCotangent } from './support/scaling.ts'

const device = useDevice()
const numbers = numbersOn(device)

describe('an operator without a gradient throws an error', () => {
  const x = tensor([
    [1, 2],
    [4, 3],
  ])

  it.each<[what: string, act: () => unknown, code: string, mentions: RegExp]>([
    ['a result with more than one number', () => gradients(x, [x]), 'shape', /one f32 number.*\[2, 2\]/],
    ['a result of whole numbers', () => gradients(tensor([1], [1], 'u32'), [x]), 'shape', /u32/],
    [
      'a derivative with respect to whole numbers',
      () => gradients(sum(x), [tensor([1], [1], 'u32')]),
      'no-gradient',
      /u32/,
    ],
    ['argmax', () => gradients(sum(mul(toF32(argmax(x)), sum(x))), [x]), 'no-gradient', /argmax/],
    ['rounding to whole numbers', () => gradients(sum(toF32(rounded(x))), [x]), 'no-gradient', /toU32/],
    ["a user's operator without a derivative", () => gradients(sum(run(halving, x)), [x]), 'no-gradient', /halving/],
  ])('%s', (_, act, code, mentions) => {
    expect(act).toThrow(expect.objectContaining({ code, message: expect.stringMatching(mentions) }))
  })

  it('only if the derivative has to pass through it', async () => {
    const y = add(sum(square(x)), mul(toF32(argmax(tensor([1, 3]))), 7))
    expect(await numbers(slope(y, x))).toEqual([[2, 4, 8, 6]])
    const z = sum(mul(run(halving, tensor([[8, 8]])), x))
    expect(await numbers(slope(z, x))).toEqual([[4, 4, 4, 4]])
  })
})

const rounded = (x: Tensor): Tensor => apply(toU32Op, [x], {})

const halving = scaling('halving', 0.5)

describe("a user's operator", () => {
  const tripling = scaling('tripling', 3, timesCotangent(3))
  const x = noiseTensor([5, 41], 'x')

  it('runs forward, between other operators', async () => {
    const [actual, expected] = await numbers(exp(run(tripling, neg(x))), exp(mul(x, -3)))
    expectClose(actual, expected ?? [])
  })

  it('runs backward, and can be differentiated twice', async () => {
    const y = sum(square(run(tripling, square(x))))
    const [first, expected] = await numbers(slope(y, x), mul(mul(square(x), x), 36))
    expectClose(first, expected ?? [])
    const [second, again] = await numbers(slope(sum(slope(y, x)), x), mul(square(x), 108))
    expectClose(second, again ?? [])
    expect((await gradCheck((t) => sum(square(run(tripling, t))), [x], { device: device() })).error).toBeLessThan(1e-3)
  })

  it('can have unused results, and operands without a derivative', async () => {
    const seen: (readonly boolean[])[] = []
    const sumAndDifference: OpDefinition = {
      name: 'sumAndDifference',
      shape: ([a]) => (a === undefined ? [] : [a, a]),
      plan: () => ({
        variant: 'plain',
        dispatches: [
          {
            label: 'sumAndDifference',
            wgsl: `@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> total: array<f32>;
@group(0) @binding(4) var<storage, read_write> difference: array<f32>;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < 3u) {
    total[id.x] = a[id.x] + b[id.x];
    difference[id.x] = a[id.x] - b[id.x];
  }
}
`,
            bindings: [
              { name: 'a', element: 'f32', access: 'read', operand: { role: 'input', index: 0 } },
              { name: 'b', element: 'f32', access: 'read', operand: { role: 'input', index: 1 } },
              { name: 'total', element: 'f32', access: 'read_write', operand: { role: 'output', index: 0 } },
              { name: 'difference', element: 'f32', access: 'read_write', operand: { role: 'output', index: 1 } },
            ],
            uniforms: new Uint32Array(),
            workgroups: [1, 1, 1],
          },
        ],
        scratchBytes: [],
        flops: 6,
      }),
      // By `b` only; `a` counts as a constant.
      vjp: (_inputs, _outputs, cotangents) => {
        seen.push(cotangents.map((cotangent) => cotangent !== undefined))
        const [total = 0, difference = 0] = cotangents
        return [undefined, sub(total, difference)]
      },
    }
    const [a, b] = [tensor([1, 2, 3]), tensor([10, 20, 30])]
    const [total, difference] = defineOp(sumAndDifference)(a, b)
    if (total === undefined || difference === undefined) throw new Error('the operator has two results')
    expect(await numbers(total, difference)).toEqual([
      [11, 22, 33],
      [-9, -18, -27],
    ])
    const both = add(sum(mul(difference, 5)), sum(total))
    expect(await numbers(...gradients(sum(mul(difference, 5)), [a, b]), ...gradients(both, [b]))).toEqual([
      [0, 0, 0],
      [-5, -5, -5],
      [-4, -4, -4],
    ])
    expect(seen).toEqual([
      [false, true],
      [true, true],
    ])
  })

  it("whose rule returns a shape other than the operand's is refused by name", () => {
    const wrong = (gradient: Tensor): OpDefinition => scaling('crooked', 1, () => [gradient])
    for (const shape of [[205], [], [41, 5]])
      expect(() => gradients(sum(run(wrong(noiseTensor(shape, 'g')), x)), [x])).toThrow(
        expect.objectContaining({ code: 'shape', message: expect.stringContaining('crooked') }),
      )
  })

  it('may refuse its operands', () => {
    const picky: OpDefinition = {
      ...tripling,
      shape: () => {
        throw new RangeError('only on Sundays')
      },
    }
    expect(() => run(picky, x)).toThrow('only on Sundays')
  })
})

describe('the gradient checker notices a derivative that', () => {
  const x = noiseTensor([40], 'x')
  const gradientError = async (vjp: NonNullable<OpDefinition['vjp']>): Promise<number> => {
    const op = scaling('suspect', 3, vjp)
    const { error } = await gradCheck((t) => sum(square(run(op, t))), [x], { device: device(), seed: 3 })
    return error
  }
  const reversed: NonNullable<OpDefinition['vjp']> = (_inputs, _outputs, [cotangent]) => {
    const backward = tensor(Uint32Array.from({ length: 40 }, (_, i) => 39 - i))
    return [cotangent === undefined ? undefined : mul(gather(cotangent, backward), 3)]
  }
  const oneWrong = Float32Array.from({ length: 40 }, (_, i) => (i === 17 ? 0 : 3))

  it.each<[what: string, vjp: NonNullable<OpDefinition['vjp']>]>([
    ['has the wrong sign', timesCotangent(-3)],
    ['is a tenth too large', timesCotangent(3.3)],
    ['is missing', () => [undefined]],
    ['is wrong in one element of forty', timesCotangent(tensor(oneWrong))],
    ['is assigned to the wrong elements', reversed],
  ])('%s', async (_, vjp) => {
    expect(await gradientError(vjp)).toBeGreaterThan(0.02)
  })

  it('is NaN', async () => {
    expect(await gradientError(timesCotangent(Number.NaN))).toBeNaN()
  })

  it('accepts a correct one, reproducibly for a seed', async () => {
    const error = await gradientError(timesCotangent(3))
    expect(error).toBeLessThan(2e-3)
    expect(await gradientError(timesCotangent(3))).toBe(error)
  })
})
