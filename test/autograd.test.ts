/**
 * Differentiation of whole graphs: derivatives of derivatives, what shares and what is independent, operators that users
 * bring, what has no gradient, and that the gradient checker notices a wrong one. Single operators: operators.test.ts.
 */

import { describe, expect, it } from 'vitest'
import type { OpDefinition } from '../src/autograd/define-op.ts'
import { defineOp } from '../src/autograd/define-op.ts'
import {
  abs,
  add,
  argmax,
  averagePool,
  clip,
  constant,
  conv2d,
  depthwiseConv2d,
  div,
  evaluate,
  exp,
  gather,
  grad,
  gradCheck,
  gradients,
  log,
  matmul,
  max,
  maximum,
  maxPool,
  mean,
  min,
  mul,
  neg,
  planOf,
  pow,
  reciprocal,
  relu,
  reshape,
  sigmoid,
  slice,
  softmaxCrossEntropy,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  toF32,
  valueAndGrad,
  where,
} from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { toU32Op } from '../src/operators/elementwise.ts'
import { apply } from '../src/operators/operator.ts'
import { Random } from '../src/random.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

function noise(shape: readonly number[], stream: string): Tensor {
  const random = new Random(5, stream)
  return tensor(
    Float32Array.from({ length: elementCount(shape) }, () => random.uniform() * 2 - 1),
    shape,
  )
}

async function numbers(...tensors: Tensor[]): Promise<number[][]> {
  return (await evaluate(tensors, { device: device() })).map((one) => [...one])
}

function expectClose(actual: readonly number[] | undefined, expected: readonly number[], rtol = 1e-5): void {
  expect(disagreement(actual ?? [], expected, { rtol, atol: rtol / 10 })).toBeUndefined()
}

/** One row of pixels. */
const strip = (pixels: readonly number[]): Tensor => tensor(pixels, [1, 1, pixels.length, 1])

/** The only gradient by `x`. */
function slope(y: Tensor, x: Tensor): Tensor {
  const [gradient] = gradients(y, [x])
  if (gradient === undefined) throw new Error('one tensor gives one gradient')
  return gradient
}

/** The n-th derivative of an elementwise function. */
function derivative(f: (x: Tensor) => Tensor, x: Tensor, order: number): Tensor {
  return order === 0 ? f(x) : slope(sum(derivative(f, x, order - 1)), x)
}

describe('higher derivatives of smooth functions', () => {
  const points = [0.3, 0.9, 1.7]
  const s = (x: number): number => 1 / (1 + Math.exp(-x))

  it.each<[name: string, order: number, f: (x: Tensor) => Tensor, expected: (x: number) => number]>([
    ['exp', 2, exp, Math.exp],
    ['exp', 4, exp, Math.exp],
    ['log', 2, log, (x) => -1 / x ** 2],
    ['log', 3, log, (x) => 2 / x ** 3],
    ['sqrt', 2, sqrt, (x) => -0.25 * x ** -1.5],
    ['square', 2, square, () => 2],
    ['square', 3, square, () => 0],
    ['reciprocal', 2, reciprocal, (x) => 2 / x ** 3],
    ['sigmoid', 2, sigmoid, (x) => s(x) * (1 - s(x)) * (1 - 2 * s(x))],
    ['tanh', 2, tanh, (x) => -2 * Math.tanh(x) * (1 - Math.tanh(x) ** 2)],
    ['tanh', 3, tanh, (x) => (1 - Math.tanh(x) ** 2) * (6 * Math.tanh(x) ** 2 - 2)],
    ['x ** 4', 3, (x) => pow(x, 4), (x) => 24 * x],
    ['x ** 4, multiplied out', 3, (x) => mul(mul(x, x), mul(x, x)), (x) => 24 * x],
    ['2 ** x', 2, (x) => pow(2, x), (x) => Math.LN2 ** 2 * 2 ** x],
    ['1 / (1 + x ** 2)', 2, (x) => div(1, add(1, square(x))), (x) => (6 * x ** 2 - 2) / (1 + x ** 2) ** 3],
    ['log(1 + exp(x))', 2, (x) => log(add(1, exp(x))), (x) => s(x) * (1 - s(x))],
    ['|x| ** 3', 2, (x) => mul(abs(x), square(x)), (x) => 6 * x],
  ])('%s, differentiated %i times', async (_, order, f, expected) => {
    const [actual] = await numbers(derivative(f, tensor(points), order))
    expectClose(actual, points.map(expected), 2e-5)
  })

  it('of a power exist at exponent 0 too, by base and by exponent', async () => {
    const [base, exponent] = [tensor([2, 4]), tensor([0, 0])]
    expectClose((await numbers(slope(sum(slope(sum(pow(base, exponent)), base)), exponent)))[0], [0.5, 0.25])
    expectClose((await numbers(slope(sum(slope(sum(pow(base, exponent)), exponent)), base)))[0], [0.5, 0.25])
  })

  it('of max-pooling pass through the maxima only', async () => {
    const x = strip([2, 1, 3, 3, -1, 5])
    const [third] = await numbers(derivative((t) => maxPool(pow(t, 4), { poolSize: [1, 2] }), x, 3))
    expectClose(third, [48, 0, 72, 0, 0, 120])
  })

  it('of cross-entropy are NaN only in rows with an invalid label', async () => {
    const logits = tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [4, 3])
    const rows = softmaxCrossEntropy(logits, tensor([0, 3, 2, 4e9], [4], 'u32'), { reduction: 'none' })
    const [second] = await numbers(slope(sum(square(slope(sum(rows), logits))), logits))
    expect([0, 1, 2, 3].map((row) => second?.slice(3 * row, 3 * row + 3).some(Number.isNaN))).toEqual([
      false,
      true,
      false,
      true,
    ])
  })

  it('are zero for piecewise linear functions', async () => {
    const x = tensor([-1, 0, 2])
    const [kink, choice] = await numbers(
      derivative(relu, x, 2),
      derivative((t) => where(x, mul(t, 3), t), x, 2),
    )
    expect(kink).toEqual([0, 0, 0])
    expect(choice).toEqual([0, 0, 0])
  })
})

describe('the gradient of a gradient agrees with differences of the gradient', () => {
  const image = noise([2, 5, 4, 3], 'image')
  const pool = { poolSize: 2, padding: 'same' } as const
  const convolution = { strides: 2, padding: 'same' } as const

  /** Any function of the gradient: weighted, so that no symmetry hides a mistake. */
  const ofGradients = (f: (...inputs: Tensor[]) => Tensor, shapes: readonly (readonly number[])[]) => {
    const weights = shapes.map((shape, i) => noise(shape, `weight ${i}`))
    return (...inputs: Tensor[]): Tensor => {
      const slopes = gradients(f(...inputs), inputs)
      return slopes.map((one, i) => sum(mul(one, weights[i] ?? 0))).reduce((a, b) => add(a, b))
    }
  }

  it.each<[name: string, f: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]]>([
    ['matmul', (a = image, b = image) => sum(tanh(matmul(a, b))), [noise([3, 4], 'a'), noise([4, 2], 'b')]],
    [
      'matmul of batches, transposed',
      (a = image, b = image) => sum(square(matmul(a, b, { transposeA: true, transposeB: true }))),
      [noise([2, 4, 3], 'a'), noise([2, 5, 4], 'b')],
    ],
    [
      'conv2d',
      (x = image, k = image, b = image) => sum(square(conv2d(x, k, b, convolution))),
      [image, noise([3, 3, 3, 2], 'kernel'), noise([2], 'bias')],
    ],
    [
      'dilated conv2d with tanh',
      (x = image, k = image) => sum(conv2d(x, k, undefined, { dilationRate: 2, activation: 'tanh' })),
      [mul(image, 0.5), mul(noise([2, 2, 3, 2], 'kernel'), 0.5)],
    ],
    [
      'depthwiseConv2d',
      (x = image, k = image) => sum(square(depthwiseConv2d(x, k, convolution))),
      [image, noise([3, 3, 3, 2], 'kernel')],
    ],
    ['averagePool', (x = image) => sum(tanh(square(averagePool(x, pool)))), [image]],
  ])('%s', async (_, f, inputs) => {
    const { error, directions } = await gradCheck(
      ofGradients(
        f,
        inputs.map(({ shape }) => shape),
      ),
      inputs,
      { device: device() },
    )
    expect(error).toBeLessThan(5e-3)
    expect(Math.max(...directions.map(({ analytic }) => Math.abs(analytic)))).toBeGreaterThan(0.1)
  })

  it('is symmetric in image and kernel', async () => {
    const kernel = noise([3, 3, 3, 2], 'kernel')
    const y = sum(square(conv2d(image, kernel, undefined, convolution)))
    const [u, v] = [noise(image.shape, 'u'), noise(kernel.shape, 'v')]
    const oneWay = sum(mul(slope(sum(mul(slope(y, image), u)), kernel), v))
    const otherWay = sum(mul(slope(sum(mul(slope(y, kernel), v)), image), u))
    const [[a = 0] = [], [b = 1] = []] = await numbers(oneWay, otherWay)
    expect(Math.abs(a)).toBeGreaterThan(1)
    expect(Math.abs(a - b)).toBeLessThan(1e-4 * Math.abs(a))
  })
})

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
    ['max, for what is smaller', (x) => reciprocal(max(x, { axes: 1 })), tensor([[0, -1]]), [-Infinity, 0]],
    ['min, for what is larger', (x) => reciprocal(min(x, { axes: 1 })), tensor([[0, 1]]), [-Infinity, 0]],
    ['maximum, for the smaller', (x) => reciprocal(maximum(x, 0)), tensor([-1]), [0]],
    ['relu, below 0', (x) => reciprocal(relu(x)), tensor([-1, 2]), [0, -0.25]],
    ['where, for what is not taken', (x) => reciprocal(where(x, mul(x, 0), x)), tensor([0]), [-Infinity]],
    [
      'maxPool, for what is smaller',
      (x) => reciprocal(maxPool(x, { poolSize: [1, 2] })),
      strip([0, -1]),
      [-Infinity, 0],
    ],
  ])('is 0 where it is said to be, also beside infinities: %s', async (_, f, x, expected) => {
    const [actual] = await numbers(slope(sum(f(x)), x))
    expect(actual?.map((n) => n + 0)).toEqual(expected)
  })

  it('is NaN where a NaN decides the branch', async () => {
    const x = tensor([[Number.NaN, 1]])
    expect(await numbers(slope(sum(max(x, { axes: 1 })), x))).toEqual([[Number.NaN, Number.NaN]])
    const exponent = tensor([2])
    expect(await numbers(slope(sum(pow(tensor([Number.NaN]), exponent)), exponent))).toEqual([[Number.NaN]])
  })

  it('of a tensor by itself is one, also if it is asked for twice', async () => {
    const x = tensor([3])
    const y = square(x)
    const [own, first, second] = gradients(y, [y, x, x])
    if (own === undefined || first === undefined || second === undefined)
      throw new Error('three tensors, three gradients')
    expect(await numbers(own, first, second)).toEqual([[1], [6], [6]])
  })

  it('can be taken by an intermediate tensor, alone or together with its inputs', async () => {
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

  it('grad and valueAndGrad differentiate by arguments, or by tensors that the function closes over', async () => {
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

describe('an operator without a gradient throws an error', () => {
  const x = tensor([
    [1, 2],
    [4, 3],
  ])

  it.each<[what: string, act: () => unknown, code: string, mentions: RegExp]>([
    ['a result of more than one number', () => gradients(x, [x]), 'shape', /one f32 number.*\[2, 2\]/],
    ['a result of whole numbers', () => gradients(tensor([1], [1], 'u32'), [x]), 'shape', /u32/],
    ['a derivative by whole numbers', () => gradients(sum(x), [tensor([1], [1], 'u32')]), 'no-gradient', /u32/],
    ['argmax', () => gradients(sum(mul(toF32(argmax(x)), sum(x))), [x]), 'no-gradient', /argmax/],
    ['rounding to whole numbers', () => gradients(sum(toF32(rounded(x))), [x]), 'no-gradient', /toU32/],
    [
      'an operator of a user without a derivative',
      () => gradients(sum(run(halving, x)), [x]),
      'no-gradient',
      /halving/,
    ],
  ])('%s', (_, act, code, mentions) => {
    expect(act).toThrow(expect.objectContaining({ code, message: expect.stringMatching(mentions) }))
  })

  it('but only if the derivative has to pass through it', async () => {
    const y = add(sum(square(x)), mul(toF32(argmax(tensor([1, 3]))), 7))
    expect(await numbers(slope(y, x))).toEqual([[2, 4, 8, 6]])
    const z = sum(mul(run(halving, tensor([[8, 8]])), x))
    expect(await numbers(slope(z, x))).toEqual([[4, 4, 4, 4]])
  })
})

const rounded = (x: Tensor): Tensor => apply(toU32Op, [x], {})

/** The first result of a user's operator. */
function run(op: OpDefinition, ...inputs: Tensor[]): Tensor {
  const [result] = defineOp(op)(...inputs)
  if (result === undefined) throw new Error('the operator has a result')
  return result
}

/** y = factor * x, with WGSL, plan and derivative of its own. */
function scaling(name: string, factor: number, vjp?: NonNullable<OpDefinition['vjp']>): OpDefinition {
  const wgsl = `struct Uniforms { count: u32 }
@group(0) @binding(0) var<uniform> u: Uniforms;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < u.count) {
    y[id.x] = ${factor.toFixed(8)} * x[id.x];
  }
}
`
  return {
    name,
    shape: (inputs) => inputs,
    plan: (_, [output]) => {
      const count = elementCount(output?.shape ?? [])
      return {
        variant: 'plain',
        dispatches: [
          {
            label: name,
            wgsl,
            bindings: [
              { name: 'x', element: 'f32', access: 'read', operand: { role: 'input', index: 0 } },
              { name: 'y', element: 'f32', access: 'read_write', operand: { role: 'output', index: 0 } },
            ],
            uniforms: new Uint32Array([count, 0, 0, 0]),
            workgroups: [Math.ceil(count / 32), 1, 1],
          },
        ],
        scratchBytes: [],
        flops: count,
      }
    },
    ...(vjp === undefined ? {} : { vjp }),
  }
}

const halving = scaling('halving', 0.5)
/** A rule that multiplies the cotangent by a number of its own. */
const timesCotangent =
  (factor: number | Tensor): NonNullable<OpDefinition['vjp']> =>
  (_inputs, _outputs, [cotangent]) => [cotangent === undefined ? undefined : mul(cotangent, factor)]

describe("a user's operator", () => {
  const tripling = scaling('tripling', 3, timesCotangent(3))
  const x = noise([5, 41], 'x')

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
      // By `b` only; `a` is taken for a constant.
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

  it('whose rule gives another shape than the operand has is refused by name', () => {
    const wrong = (gradient: Tensor): OpDefinition => scaling('crooked', 1, () => [gradient])
    for (const shape of [[205], [], [41, 5]])
      expect(() => gradients(sum(run(wrong(noise(shape, 'g')), x)), [x])).toThrow(
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
  const x = noise([40], 'x')
  const errorOf = async (vjp: NonNullable<OpDefinition['vjp']>): Promise<number> => {
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
    ['is forgotten', () => [undefined]],
    ['is wrong in one element of forty', timesCotangent(tensor(oneWrong))],
    ['belongs to other elements', reversed],
  ])('%s', async (_, vjp) => {
    expect(await errorOf(vjp)).toBeGreaterThan(0.02)
  })

  it('is NaN', async () => {
    expect(await errorOf(timesCotangent(Number.NaN))).toBeNaN()
  })

  it('accepts a correct one, reproducibly for a seed', async () => {
    const error = await errorOf(timesCotangent(3))
    expect(error).toBeLessThan(2e-3)
    expect(await errorOf(timesCotangent(3))).toBe(error)
  })
})
