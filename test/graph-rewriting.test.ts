/** Rewriting: fewer kernels, the same numbers. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PoolOptions } from '../src/index.ts'
import {
  add,
  broadcastTo,
  constant,
  conv2d,
  div,
  evaluate,
  exp,
  fill,
  gradients,
  matmul,
  maximum,
  maxPool,
  mean,
  mul,
  neg,
  relu,
  sigmoid,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  transpose,
  where,
} from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { conflicts, planned, seed } from './support/graph-plans.ts'
import { noiseTensor } from './support/noise.ts'

const device = useDevice()

/** A random elementwise graph in short form: each step picks an operator and earlier tensors. */
interface Step {
  readonly operator: number
  readonly picks: readonly number[]
  readonly wanted: boolean
}

const steps = fc.array(
  fc.record<Step>({
    operator: fc.nat(),
    picks: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
    wanted: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  }),
  { minLength: 3, maxLength: 30 },
)

const grid = [4, 6] as const
/** All operators keep to shapes that broadcast to the grid, and to numbers that do not grow. */
const operators: readonly ((a: Tensor, b: Tensor, c: Tensor) => Tensor)[] = [
  (a, b) => add(a, b),
  (a, b) => sub(a, b),
  (a, b) => mul(tanh(a), sigmoid(b)),
  (a, b, c) => where(relu(a), b, c),
  (a, b) => maximum(a, neg(b)),
  (a) => square(tanh(a)),
  (a) => mul(a, 0.5),
  (a) => add(constant(1), a),
  (a) => broadcastTo(a, grid),
  (a) => mean(broadcastTo(a, grid), { axes: 1, keepDims: true }),
  (a) => mean(broadcastTo(a, grid), { axes: 0 }),
  (a) => transpose(transpose(broadcastTo(tanh(a), grid))),
  (a, b) => mul(matmul(tanh(broadcastTo(a, grid)), tanh(broadcastTo(b, grid)), { transposeB: true }), 0.1),
  (a) => div(a, add(fill([6], 1.5), 0.5)),
]

function randomGraph(script: readonly Step[]): Tensor[] {
  const tensors = [
    noiseTensor(grid, 'a'),
    noiseTensor([6], 'b'),
    noiseTensor([4, 1], 'c'),
    fill([1, 6], 0.25),
    constant(-1.5),
  ]
  const wanted: Tensor[] = []
  for (const { operator, picks, wanted: isWanted } of script) {
    const [a, b, c] = picks.map((pick) => tensors[pick % tensors.length])
    const apply = operators[operator % operators.length]
    if (a === undefined || b === undefined || c === undefined || apply === undefined)
      throw new Error('picks are indices')
    const result = apply(a, b, c)
    // Products of 4x6 with 6x4 are 4x4: this restores the grid's columns.
    const fits = result.shape.every((extent, axis) => {
      const own = grid[axis + 2 - result.shape.length]
      return extent === 1 || extent === own
    })
    const next = fits ? result : mean(result, { axes: -1, keepDims: true })
    tensors.push(next)
    if (isWanted) wanted.push(next)
  }
  return [...wanted, ...tensors.slice(-1)]
}

async function expectEqualNumbers(tensors: readonly Tensor[]): Promise<void> {
  const fused = await evaluate(tensors, { device: device() })
  const plain = await evaluate(tensors, { device: device(), fuse: false })
  fused.forEach((numbers, i) => {
    const expected = plain[i] ?? []
    expect(numbers.length).toBe(expected.length)
    numbers.forEach((x, j) => {
      const y = expected[j] ?? Number.NaN
      // A compiler may contract a product and a sum into one operation: then the last bits differ.
      if (!Object.is(x, y))
        expect(Math.abs(x - y), `result ${i}, number ${j}`).toBeLessThanOrEqual(1e-6 + 1e-5 * Math.abs(y))
    })
  })
}

describe('rewriting', () => {
  it('does not change the numbers of any graph, and never adds dispatches', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const tensors = randomGraph(script)
        const [fused, plain] = [planned(tensors), planned(tensors, { fuse: false })]
        expect(fused.dispatches.length).toBeLessThanOrEqual(plain.dispatches.length)
        expect(conflicts(fused)).toEqual([])
        await expectEqualNumbers(tensors)
      }),
      { seed, numRuns: 20 },
    )
  })

  it('does not change gradients of convolutions with activations and pools, whatever else reads the intermediates', async () => {
    const kernelOf = (size: number, channels: number, filters: number): Tensor =>
      mul(noiseTensor([size, size, channels, filters], size), 0.5)
    const x = noiseTensor([2, 9, 10, 3], 'image')
    const bias = noiseTensor([4], 'bias')
    const half = { poolSize: 2 } as const
    type Variant = readonly [variation: string, activation: 'linear' | 'relu' | 'tanh', size: number, PoolOptions]
    const variants: readonly Variant[] = [
      ...['plain', 'no bias', 'image only', 'kernel only', 'looked at', 'pooled twice'].map(
        (variation): Variant => [variation, 'relu', 3, half],
      ),
      ['plain', 'linear', 2, half],
      ['pooled twice', 'linear', 2, half],
      ['plain', 'tanh', 3, half],
      ['plain', 'relu', 2, half],
      ['plain', 'relu', 3, { poolSize: 2, padding: 'same' }],
      ['plain', 'relu', 3, { poolSize: 3, strides: 2 }],
    ]
    for (const [variation, activation, size, pool] of variants) {
      const kernel = kernelOf(size, 3, 4)
      const inner = variation === 'image only' ? mul(x, 1.5) : x
      const y = conv2d(inner, kernel, variation === 'no bias' ? undefined : bias, { activation })
      const z = maxPool(y, pool)
      const more = variation === 'pooled twice' ? sum(maxPool(y, { poolSize: 2, strides: 1 })) : constant(0)
      const loss = add(sum(mul(z, z)), more)
      const all = variation === 'no bias' ? [x, kernel] : [x, kernel, bias]
      const by = { 'image only': [inner], 'kernel only': [kernel] }[variation] ?? all
      const looked = variation === 'looked at' ? [y] : []
      await expectEqualNumbers([loss, ...gradients(loss, by), ...looked])
    }
  })

  it('fuses a chain into one kernel, including its broadcasts', async () => {
    const x = noiseTensor([4, 6], 'x')
    const row = noiseTensor([6], 'row')
    const y = sigmoid(mul(add(square(x), broadcastTo(row, [4, 6])), 0.5))
    expect(planned([y]).dispatches).toHaveLength(1)
    expect(planned([y], { fuse: false }).dispatches.length).toBeGreaterThan(3)
    await expectEqualNumbers([y])
  })

  it('does not fuse values with several readers, or values that are wanted', () => {
    const x = noiseTensor([8], 'x')
    const e = exp(x)
    expect(planned([add(e, 1)]).dispatches).toHaveLength(1)
    expect(planned([add(e, 1), e]).dispatches).toHaveLength(2)
    expect(planned([add(e, 1), mul(e, 2)]).dispatches).toHaveLength(3)
  })

  it('fuses an activation into the layer before it, unless the layer is wanted too', async () => {
    const x = noiseTensor([3, 5], 'x')
    const kernel = noiseTensor([5, 4], 'kernel')
    const y = matmul(x, kernel)
    const image = noiseTensor([1, 5, 5, 2], 'image')
    const c = conv2d(image, noiseTensor([3, 3, 2, 3], 'k'))
    expect(planned([tanh(c)]).dispatches).toHaveLength(1)
    expect(planned([tanh(c), c]).dispatches).toHaveLength(2)
    await expectEqualNumbers([tanh(c)])
    await expectEqualNumbers([relu(c), sigmoid(c), c])
    await expectEqualNumbers([relu(y), y])
  })

  it('stops before a kernel would bind more tensors than WebGPU allows', async () => {
    const tensors = Array.from({ length: 40 }, (_, i) => noiseTensor([8], i))
    const total = tensors.reduce((a, b) => add(a, b))
    const plan = planned([total])
    expect(Math.max(...plan.dispatches.map((dispatch) => dispatch.operands.length))).toBeLessThanOrEqual(8)
    expect(plan.dispatches.length).toBeLessThan(12)
    await expectEqualNumbers([total])
  })

  it('folds constants while planning', async () => {
    const y = mul(sub(add(fill([3], 2), 3), neg(constant(1))), 4)
    const plan = planned([y])
    expect(plan.dispatches).toHaveLength(1)
    expect(plan.dispatches[0]?.operands).toHaveLength(1)
    expect([...(await y.data({ device: device() }))]).toEqual([24, 24, 24])
    const x = tensor([1, 2, 3])
    expect(planned([add(x, div(fill([3], 1), 4))]).dispatches[0]?.operands).toHaveLength(2)
  })

  it('folds them as a kernel would: in float32, with infinities, NaN and negative zero', async () => {
    const tiny = mul(constant(1e-30), 1e-30)
    const cases = [
      add(constant(0.1), 0.2),
      add(constant(16_777_216), 1),
      mul(constant(1e30), 1e30),
      tiny,
      div(constant(1), 3),
      neg(constant(0)),
      sub(mul(constant(1e30), 1e30), mul(constant(1e30), 1e30)),
    ]
    // Read by a kernel, so that the numbers become literals.
    const x = tensor([1])
    const folded = await evaluate(
      cases.map((one) => mul(x, one)),
      { device: device() },
    )
    const numbers = folded.map((one) => one[0])
    const f = Math.fround
    expect(numbers).toEqual([f(f(0.1) + f(0.2)), 16_777_216, Infinity, 0, f(1 / 3), -0, Number.NaN])
  })
})
