/** Elementwise kernels: every variant against float64 loops, broadcasting, IEEE 754's special cases, refusals. */
import { describe, expect, it } from 'vitest'
import type { ElementwiseKey, ElementwiseStep } from '../src/kernels/elementwise/elementwise.ts'
import { elementwise } from '../src/kernels/elementwise/elementwise.ts'
import type { Shape } from '../src/kernels/kernel.ts'
import { elementCount, planKernel } from '../src/kernels/kernel.ts'
import { erf, gelu, geluTanh } from './reference/error-function.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import type { BinaryKind, UnaryKind } from './support/elementwise-step.ts'
import { step } from './support/elementwise-step.ts'
import type { HostArray } from './support/run-plan.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

/** Runs every variant, as planned for a CPU and for a GPU. */
async function runAll(
  key: ElementwiseKey,
  inputs: readonly HostArray[],
): Promise<{ name: string; result: HostArray }[]> {
  const results: { name: string; result: HostArray }[] = []
  for (const kind of ['cpu', 'gpu'] as const) {
    const target = targetOf(device(), { class: kind })
    for (const variant of elementwise.variants) {
      if (!variant.supports(key, target)) continue
      const count = elementCount(key.shape)
      const poison = key.output === 'f32' ? new Float32Array(count).fill(77) : new Uint32Array(count).fill(77)
      const [result] = await runPlan(device(), planKernel(elementwise, key, target, variant.name), inputs, [poison])
      results.push({ name: `${variant.name} for a ${kind}`, result: result ?? poison })
    }
  }
  return results
}

async function expectAll(
  key: ElementwiseKey,
  inputs: readonly HostArray[],
  expected: ArrayLike<number>,
  tolerance = { rtol: 0, atol: 0 },
): Promise<void> {
  for (const { name, result } of await runAll(key, inputs)) {
    expect(disagreement(result, expected, tolerance, key.shape), name).toBeUndefined()
  }
}

const f32 = (shape: Shape) => ({ shape, dtype: 'f32' as const })
const source = (index: number): ElementwiseStep => ({ kind: 'input', index })

function unaryKey(kind: UnaryKind, count: number, bounds: { min?: number; max?: number } = {}): ElementwiseKey {
  return {
    shape: [count],
    inputs: [f32([count])],
    steps: [source(0), step(kind, [0], bounds)],
    output: kind === 'toU32' ? 'u32' : 'f32',
  }
}

function binaryKey(kind: BinaryKind, shape: Shape, a: Shape = shape, b: Shape = shape): ElementwiseKey {
  return { shape, inputs: [f32(a), f32(b)], steps: [source(0), source(1), step(kind, [0, 1])], output: 'f32' }
}

const special = Float32Array.of(
  0,
  -0,
  1,
  -1,
  0.5,
  -2.5,
  3,
  1e4,
  -1e4,
  1e-30,
  -1e-30,
  3e38,
  -3e38,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
  88.5,
  -87,
  0.999,
)

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const unaryReference: { readonly [K in UnaryKind]: (x: number) => number } = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  square: (x) => x * x,
  reciprocal: (x) => 1 / x,
  sigmoid,
  tanh: Math.tanh,
  relu: (x) => Math.max(x, 0),
  erf,
  gelu,
  geluTanh,
  clip: (x) => (Number.isNaN(x) ? x : Math.min(Math.max(x, -2), 0.75)),
  toF32: (x) => x,
  toU32: (x) => (x > 0 ? Math.min(Math.trunc(x), 2 ** 32 - 1) : 0),
  copy: (x) => x,
}

describe('unary operators', () => {
  it.each(Object.keys(unaryReference) as UnaryKind[])('%s follows IEEE 754 at the special numbers', async (kind) => {
    const bounds = kind === 'clip' ? { min: -2, max: 0.75 } : {}
    const expected = Array.from(special, (x) => Math.fround(unaryReference[kind](x)))
    await expectAll(unaryKey(kind, special.length, bounds), [special], expected, { rtol: 1e-5, atol: 1e-37 })
  })

  it.each([
    ['exp', -80, 80],
    ['log', 1e-37, 1e-30],
    ['log', 0.9, 1.1], // where the built-in function of lavapipe is wrong by 4e-4
    ['log', 2, 1e30],
    ['tanh', -1e-3, 1e-3], // and here by 6e-3
    ['tanh', -12, 12],
    ['sigmoid', -80, 80],
    ['sqrt', 1e-20, 1e20],
    ['reciprocal', 1e-20, 1e20],
  ] as const)('%s is accurate to 1e-5 between %d and %d', async (kind, low, high) => {
    const count = 4001
    const x = Float32Array.from({ length: count }, (_, i) => low + ((high - low) * (i + 0.3)) / count)
    await expectAll(unaryKey(kind, count), [x], Array.from(x, unaryReference[kind]), { rtol: 1e-5, atol: 0 })
  })

  it('computes the logarithm of denormals, from their bits', async () => {
    const x = Float32Array.of(1e-38, 1e-40, 1.4e-45)
    await expectAll(unaryKey('log', 3), [x], Array.from(x, Math.log), { rtol: 1e-6, atol: 0 })
  })

  it('clips to one bound if the other is absent', async () => {
    const x = Float32Array.of(-5, 5, Number.POSITIVE_INFINITY, Number.NaN)
    await expectAll(unaryKey('clip', 4, { min: 0 }), [x], [0, 5, Number.POSITIVE_INFINITY, Number.NaN])
  })
})

const binaryReference: { readonly [K in BinaryKind]: (x: number, y: number) => number } = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  // JavaScript's pow differs from IEEE 754's at 1^NaN and 1^infinity.
  pow: (x, y) => (x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y),
  maximum: Math.max,
  minimum: Math.min,
  greater: (x, y) => Number(x > y),
  greaterEqual: (x, y) => Number(x >= y),
  less: (x, y) => Number(x < y),
  lessEqual: (x, y) => Number(x <= y),
  equal: (x, y) => Number(x === y),
}

describe('binary operators', () => {
  it.each(Object.keys(binaryReference) as BinaryKind[])(
    '%s follows IEEE 754 at every pair of special numbers',
    async (kind) => {
      const x = Float32Array.from(Array.from(special).flatMap((a) => Array(special.length).fill(a)))
      const y = Float32Array.from(Array.from(special).flatMap(() => Array.from(special)))
      const expected = Array.from(x, (a, i) => Math.fround(binaryReference[kind](a, y[i] ?? 0)))
      await expectAll(binaryKey(kind, [x.length]), [x, y], expected, { rtol: 1e-5, atol: 1e-37 })
    },
  )

  it('raises negative bases to whole exponents', async () => {
    const x = Float32Array.of(-2, -2, -2, -3, -0.5, -2, -1.5)
    const y = Float32Array.of(2, 3, -1, 5, -3, 0.5, 16777216)
    await expectAll(binaryKey('pow', [7]), [x, y], [4, -8, -0.5, -243, -8, Number.NaN, Number.POSITIVE_INFINITY], {
      rtol: 1e-6,
      atol: 0,
    })
  })

  it('uses multiplication for small whole exponents', async () => {
    for (const exponent of [1, 2, 3]) {
      const key: ElementwiseKey = {
        shape: [3],
        inputs: [f32([3])],
        steps: [source(0), { kind: 'constant', value: exponent }, step('pow', [0, 1])],
        output: 'f32',
      }
      await expectAll(key, [Float32Array.of(-3, 0, 5)], [(-3) ** exponent, 0, 5 ** exponent])
    }
  })

  it('does not fold x - x and x / x of infinities and NaN', async () => {
    const x = Float32Array.of(1, Number.POSITIVE_INFINITY, Number.NaN)
    for (const [kind, value] of [
      ['sub', 0],
      ['div', 1],
    ] as const) {
      const steps: ElementwiseStep[] = [source(0), step('copy', [0]), step(kind, [0, 1])]
      await expectAll({ shape: [3], inputs: [f32([3])], steps, output: 'f32' }, [x], [value, Number.NaN, Number.NaN])
    }
  })
})

/** The offset in `from` of the element that broadcasts to `index` of `to`. */
function broadcastOffset(from: Shape, to: Shape, index: number): number {
  let rest = index
  let stride = 1
  let offset = 0
  for (let axis = to.length - 1; axis >= 0; axis--) {
    const extent = to[axis] ?? 1
    const own = from[axis - (to.length - from.length)] ?? 1
    offset += own === 1 ? 0 : (rest % extent) * stride
    stride *= own
    rest = Math.floor(rest / extent)
  }
  return offset
}

describe('broadcasting', () => {
  it.each([
    [[], [], []],
    [[1, 1], [1], [1, 1]],
    [[7], [7], []],
    [[1000], [1], [1000]],
    [[5, 10], [5, 1], [10]],
    [[5, 8], [5, 1], [8]],
    [[6, 3], [3], [6, 1]],
    [
      [2, 3, 4, 8],
      [3, 1, 8],
      [2, 1, 4, 1],
    ],
    [
      [2, 3, 4, 5],
      [3, 1, 5],
      [2, 1, 4, 1],
    ],
    [
      [3, 1, 4],
      [3, 1, 4],
      [1, 1, 1],
    ],
    [
      [2, 3, 2, 3, 2, 3, 2, 4],
      [2, 1, 2, 1, 2, 1, 2, 1],
      [3, 1, 3, 1, 3, 1, 4],
    ],
    [[257, 33], [33], [257, 33]],
    [
      [40, 50, 36],
      [50, 1],
      [40, 1, 36],
    ],
  ] as [number[], number[], number[]][])('writes %j from %j and %j', async (shape, a, b) => {
    const x = Float32Array.from({ length: elementCount(a) }, (_, i) => i)
    const y = Float32Array.from({ length: elementCount(b) }, (_, i) => i * 1000)
    const expected = Array.from(
      { length: elementCount(shape) },
      (_, i) => (x[broadcastOffset(a, shape, i)] ?? 0) + (y[broadcastOffset(b, shape, i)] ?? 0),
    )
    await expectAll(binaryKey('add', shape, a, b), [x, y], expected)
  })

  it('covers a large tensor that leaves its last vec4 and workgroup partly empty', async () => {
    const count = 600_005
    const x = Float32Array.from({ length: count }, (_, i) => i % 1024)
    const expected = x.map((v) => -v)
    await expectAll(unaryKey('neg', count), [x], expected)
  })
})

describe('chains', () => {
  it('computes several steps over inputs of several shapes in one dispatch', async () => {
    const shape = [6, 8]
    const key: ElementwiseKey = {
      shape,
      inputs: [f32(shape), f32([8]), f32([]), { shape: [6, 1], dtype: 'u32' }],
      steps: [
        source(0),
        source(1),
        step('mul', [0, 1]),
        source(2),
        step('add', [2, 3]),
        step('relu', [4]),
        source(3),
        { kind: 'constant', value: 2 },
        step('toF32', [6]),
        step('greater', [8, 7]),
        { kind: 'constant', value: Number.NEGATIVE_INFINITY },
        step('where', [9, 5, 10]),
      ],
      output: 'f32',
    }
    const x = Float32Array.from({ length: 48 }, (_, i) => i - 20)
    const row = Float32Array.from({ length: 8 }, (_, i) => i - 3)
    const column = Uint32Array.from({ length: 6 }, (_, i) => i)
    const expected = Array.from(x, (v, i) =>
      Math.floor(i / 8) > 2 ? Math.max(0, v * ((i % 8) - 3) + 7) : Number.NEGATIVE_INFINITY,
    )
    await expectAll(key, [x, row, Float32Array.of(7), column], expected)
    expect(planKernel(elementwise, key, targetOf(device())).dispatches).toHaveLength(1)
  })

  it('writes constants that are not finite', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -0.1]) {
      const key: ElementwiseKey = { shape: [2, 3], inputs: [], steps: [{ kind: 'constant', value }], output: 'f32' }
      await expectAll(key, [], Array(6).fill(Math.fround(value)))
    }
  })

  it('selects exactly the chosen side of a where', async () => {
    const key: ElementwiseKey = {
      shape: [4],
      inputs: [f32([4]), f32([4]), f32([4])],
      steps: [source(0), source(1), source(2), step('where', [0, 1, 2])],
      output: 'f32',
    }
    const nan = Number.NaN
    const infinity = Number.POSITIVE_INFINITY
    const inputs = [
      Float32Array.of(1, 0, -0, nan),
      Float32Array.of(1, nan, infinity, 4),
      Float32Array.of(nan, 2, 3, nan),
    ]
    await expectAll(key, inputs, [1, 2, 3, 4])
  })

  it('compares and copies u32 without passing through floats', async () => {
    const words = Uint32Array.of(0, 16777216, 16777217, 4294967295, 5)
    const others = Uint32Array.of(0, 16777217, 16777217, 4294967294, 6)
    const u32 = { shape: [5], dtype: 'u32' as const }
    await expectAll(
      { shape: [5], inputs: [u32, u32], steps: [source(0), source(1), step('equal', [0, 1])], output: 'f32' },
      [words, others],
      [1, 0, 1, 0, 0],
    )
    await expectAll({ shape: [2, 5], inputs: [u32], steps: [source(0)], output: 'u32' }, [words], [...words, ...words])
  })

  it('leaves zeros between the end of the tensor and the end of its last vec4', async () => {
    const plan = planKernel(elementwise, unaryKey('exp', 5), targetOf(device()), 'vec4')
    const [result] = await runPlan(device(), plan, [Float32Array.of(0, 0, 0, 0, 0, 9, 9, 9)], [new Float32Array(8)])
    expect(Array.from(result)).toEqual([1, 1, 1, 1, 1, 0, 0, 0])
  })
})

describe('refusals', () => {
  const ordinary = unaryKey('neg', 4)
  const refusals: readonly [string, ElementwiseKey, string][] = [
    ['an extent of zero', { ...ordinary, shape: [0] }, 'shape'],
    ['an input that does not broadcast', binaryKey('add', [4, 3], [4, 3], [4]), 'shape'],
    ['an input of higher rank', binaryKey('add', [3], [3], [1, 3]), 'shape'],
    ['u8 inputs', { ...ordinary, inputs: [{ shape: [4], dtype: 'u8' }] }, 'shape'],
    ['an output type other than that of the steps', { ...ordinary, output: 'u32' }, 'shape'],
    [
      'arithmetic on mixed types',
      { ...binaryKey('add', [4]), inputs: [f32([4]), { shape: [4], dtype: 'u32' }] },
      'shape',
    ],
    ['steps that read later ones', { ...ordinary, steps: [step('neg', [0])] }, 'argument'],
    ['inputs that do not exist', { ...ordinary, steps: [source(1)] }, 'argument'],
    ['too few arguments', { ...ordinary, steps: [source(0), step('add', [0])] }, 'argument'],
    ['no steps', { ...ordinary, steps: [] }, 'argument'],
    ['bounds in the wrong order', unaryKey('clip', 4, { min: 1, max: 0 }), 'argument'],
    ['a bound of NaN', unaryKey('clip', 4, { min: Number.NaN }), 'argument'],
    ['eight inputs', { ...ordinary, inputs: Array(8).fill(f32([4])) }, 'limit'],
  ]
  it.each(refusals)('refuses %s', (_, key, code) => {
    expect(() => planKernel(elementwise, key, targetOf(device()))).toThrow(expect.objectContaining({ code }))
  })
})
