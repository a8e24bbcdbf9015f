/** Reductions, argmax, softmax and cross-entropy: every variant, compared with float64 loops; edge cases; accuracy. */
import { describe, expect, it } from 'vitest'
import type { Family, Shape } from '../src/kernels/kernel.ts'
import { elementCount, planKernel } from '../src/kernels/kernel.ts'
import type { ReduceKey } from '../src/kernels/reduce/reduce.ts'
import { argmax, reduce } from '../src/kernels/reduce/reduce.ts'
import { crossEntropy, crossEntropyGradient, softmax } from '../src/kernels/reduce/softmax.ts'
import { randomStream } from './cases/case.ts'
import type { Tolerance } from './support/compare.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import type { HostArray } from './support/run-plan.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()
const nan = Number.NaN
const infinity = Number.POSITIVE_INFINITY

/** Runs every variant, as planned for a CPU and for a GPU, and compares its result. */
async function expectAll<Key>(
  family: Family<Key>,
  key: Key,
  inputs: readonly HostArray[],
  expected: ArrayLike<number>,
  tolerance: Tolerance = { rtol: 0, atol: 0 },
): Promise<void> {
  for (const kind of ['cpu', 'gpu'] as const) {
    const target = targetOf(device(), { class: kind })
    for (const variant of family.variants) {
      if (!variant.supports(key, target)) continue
      const poison = family.name === 'argmax' ? new Uint32Array(expected.length) : new Float32Array(expected.length)
      const [result] = await runPlan(device(), planKernel(family, key, target, variant.name), inputs, [poison.fill(77)])
      const difference = disagreement(result ?? poison, expected, tolerance)
      expect(difference, `${variant.name} for a ${kind}: ${JSON.stringify(key)}`).toBeUndefined()
    }
  }
}

function randomNumbers(count: number, low: number, high: number, seed = 1): Float32Array<ArrayBuffer> {
  const random = randomStream(seed)
  return Float32Array.from({ length: count }, () => low + (high - low) * random())
}

const operations = {
  sum: { start: 0, join: (a: number, b: number) => a + b },
  max: { start: -infinity, join: Math.max },
  min: { start: infinity, join: Math.min },
}

function reduced({ operation, shape, axes, scale = 1 }: ReduceKey, x: Float32Array): number[] {
  const { start, join } = operations[operation]
  const keptShape = shape.filter((_, axis) => !axes.includes(axis))
  const totals = new Array<number>(elementCount(keptShape)).fill(start)
  x.forEach((value, i) => {
    let rest = i
    let stride = 1
    let to = 0
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const extent = shape[axis] ?? 1
      if (!axes.includes(axis)) {
        to += (rest % extent) * stride
        stride *= extent
      }
      rest = Math.floor(rest / extent)
    }
    totals[to] = join(totals[to] ?? start, value)
  })
  return totals.map((total) => total * scale)
}

describe('reduce', () => {
  it.each([
    [[], []],
    [[1, 1], [0]],
    [[7], []],
    [[7], [0]],
    [[5, 3], [0]],
    [[5, 3], [1]],
    [[5, 8], [0]],
    [[5, 8], [1]],
    [
      [5, 7],
      [0, 1],
    ],
    [
      [3, 1, 5],
      [0, 1],
    ],
    [
      [2, 3, 4, 5],
      [1, 3],
    ],
    [
      [2, 3, 4, 8],
      [1, 3],
    ],
    [
      [2, 3, 4, 8],
      [0, 2],
    ],
    [
      [2, 3, 2, 3, 2, 4, 2, 4],
      [0, 2, 4, 6],
    ],
    [
      [2, 3, 2, 3, 2, 4, 2, 4],
      [1, 3, 5, 7],
    ],
    [[9001], [0]], // cut into parts that end in the middle of a vec4
    [[3, 20001], [1]],
    [[3, 20000], [1]],
    [[20001, 3], [0]],
    [[20001, 8], [0]],
    [[2, 30000, 3], [1]],
    [
      [200, 2, 300, 3],
      [0, 2],
    ], // parts that begin in the middle of an inner axis
    [
      [200, 2, 300, 4],
      [0, 2],
    ],
    [
      [100, 2, 400, 3],
      [1, 3],
    ],
    [[20000, 2], [1]],
    [[33, 300], [1]],
  ] as [number[], number[]][])('reduces %j over %j in every variant', async (shape, axes) => {
    const x = randomNumbers(elementCount(shape), -0.7, 1.3)
    for (const operation of ['sum', 'max', 'min'] as const) {
      const key: ReduceKey = { operation, shape, axes, ...(operation === 'sum' ? { scale: 0.25 } : {}) }
      const exact = operation !== 'sum'
      await expectAll(reduce, key, [x], reduced(key, x), exact ? { rtol: 0, atol: 0 } : { rtol: 1e-5, atol: 1e-5 })
    }
  })

  it('adds up a million numbers to a relative error of 2e-6', async () => {
    const numbers = randomNumbers(1_000_000, 0.5, 1.5)
    const equal = new Float32Array(1_000_000).fill(0.1) // rounds the same way at every addition
    const key: ReduceKey = { operation: 'sum', shape: [1_000_000], axes: [0] }
    for (const x of [numbers, equal]) await expectAll(reduce, key, [x], reduced(key, x), { rtol: 2e-6, atol: 0 })
  })

  it('gives the same bits every time', async () => {
    const shape: Shape = [3, 20001]
    const x = randomNumbers(elementCount(shape), -1, 1)
    const plan = planKernel(reduce, { operation: 'sum', shape, axes: [1] }, targetOf(device()))
    const [first] = await runPlan(device(), plan, [x], [new Float32Array(3)])
    for (let i = 0; i < 3; i++) {
      const [again] = await runPlan(device(), plan, [x], [new Float32Array(3)])
      expect(again).toEqual(first)
    }
  })

  it('passes NaN and infinities on', async () => {
    const shape: Shape = [6, 4]
    // biome-ignore format: a matrix
    const x = Float32Array.of(
      1, nan, 2, 3,
      nan, 1, 2, 3,
      1, 2, 3, nan,
      infinity, 1, -infinity, 2,
      infinity, 1, 2, 3,
      -infinity, -infinity, -infinity, -infinity,
    )
    await expectAll(reduce, { operation: 'sum', shape, axes: [1] }, [x], [nan, nan, nan, nan, infinity, -infinity])
    await expectAll(reduce, { operation: 'max', shape, axes: [1] }, [x], [nan, nan, nan, infinity, infinity, -infinity])
    await expectAll(reduce, { operation: 'min', shape, axes: [1] }, [x], [nan, nan, nan, -infinity, 1, -infinity])
    const negativeNan = new Float32Array(Uint32Array.of(0xffc00000, 0x3f800000, 0x40000000, 0).buffer)
    await expectAll(reduce, { operation: 'max', shape: [4], axes: [0] }, [negativeNan], [nan])
    await expectAll(reduce, { operation: 'min', shape: [4], axes: [0] }, [negativeNan], [nan])
  })

  it('finds a NaN in a tensor that is reduced in parts', async () => {
    for (const at of [0, 54321, 99_999]) {
      const x = randomNumbers(100_000, -1, 1)
      x[at] = nan
      await expectAll(reduce, { operation: 'max', shape: [100_000], axes: [0] }, [x], [nan])
    }
  })

  it.each([
    [{ operation: 'sum', shape: [3], axes: [1] }, 'shape'],
    [{ operation: 'sum', shape: [3, 4], axes: [1, 0] }, 'shape'],
    [{ operation: 'sum', shape: [3, 4], axes: [0, 0] }, 'shape'],
    [{ operation: 'sum', shape: [3, 0], axes: [0] }, 'shape'],
    [{ operation: 'max', shape: [3, 4], axes: [0], scale: 2 }, 'argument'],
    [{ operation: 'sum', shape: [3, 4], axes: [0], scale: nan }, 'argument'],
  ] as [ReduceKey, string][])('refuses %j', (key, code) => {
    expect(() => planKernel(reduce, key, targetOf(device()))).toThrow(expect.objectContaining({ code }))
  })
})

describe('argmax', () => {
  it.each([
    [[5], 0],
    [[1, 1], 1],
    [[70, 10], 1],
    [[7, 10], 0],
    [[3, 5, 4], 1],
    [[2, 1000], 1],
  ] as [number[], number][])('finds the first of equal maxima in %j along axis %d', async (shape, axis) => {
    const extent = shape[axis] ?? 1
    const inner = elementCount(shape.slice(axis + 1))
    const outer = elementCount(shape.slice(0, axis))
    const x = randomNumbers(elementCount(shape), -3, 3).map(Math.trunc)
    const expected: number[] = []
    for (let row = 0; row < outer; row++) {
      for (let column = 0; column < inner; column++) {
        const along = Array.from({ length: extent }, (_, i) => x[(row * extent + i) * inner + column] ?? 0)
        expected.push(along.indexOf(Math.max(...along)))
      }
    }
    await expectAll(argmax, { shape, axis }, [x], expected)
  })

  it('treats NaN as the maximum and both zeros as equal, as numpy does', async () => {
    // biome-ignore format: a matrix
    const x = Float32Array.of(
      1, nan, infinity, nan,
      -0, 0, -1, -0,
      -infinity, -infinity, -infinity, -infinity,
      -infinity, -3e38, 1e-45, 1e-40,
    )
    await expectAll(argmax, { shape: [4, 4], axis: 1 }, [x], [1, 0, 0, 3])
  })

  it('refuses an axis that does not exist', () => {
    expect(() => planKernel(argmax, { shape: [3], axis: 1 }, targetOf(device()))).toThrow(/has no axis 1/)
  })
})

interface Rows {
  readonly softmax: number[]
  readonly logSoftmax: number[]
}

function softmaxRows(logits: Float32Array, rows: number, classes: number): Rows {
  const result: Rows = { softmax: [], logSoftmax: [] }
  for (let row = 0; row < rows; row++) {
    const own = Array.from(logits.subarray(row * classes, (row + 1) * classes))
    const largest = Math.max(...own)
    const sum = own.reduce((total, x) => total + Math.exp(x - largest), 0)
    for (const x of own) {
      result.softmax.push(Math.exp(x - largest) / sum)
      result.logSoftmax.push(x - largest - Math.log(sum))
    }
  }
  return result
}

const rowTolerance = { rtol: 1e-5, atol: 1e-6 }

describe('softmax and cross-entropy', () => {
  it.each([
    [1, 1],
    [3, 1],
    [7, 10],
    [128, 10],
    [33, 33],
    [3, 1000],
    [20, 130],
  ])('agree with float64 for %d rows of %d classes', async (rows, classes) => {
    const count = rows * classes
    const logits = randomNumbers(count, -4, 4)
    for (let i = 0; i < count; i += 7) logits[i] = (logits[i] ?? 0) * 2500 // +-1e4
    const gradient = randomNumbers(rows, 0.5, 1.5, 2)
    const labels = Uint32Array.from(randomNumbers(rows, 0, classes, 3))
    const weights = randomNumbers(count, -0.5, 1, 4).map((w) => Math.max(0, w))
    const exact = softmaxRows(logits, rows, classes)
    await expectAll(softmax, { rows, classes, log: false }, [logits], exact.softmax, rowTolerance)
    await expectAll(softmax, { rows, classes, log: true }, [logits], exact.logSoftmax, rowTolerance)

    const rowOf = (i: number): number => Math.floor(i / classes)
    const sparseLoss = Array.from(labels, (label, row) => -(exact.logSoftmax[row * classes + label] ?? 0))
    const sparseGradient = exact.softmax.map(
      (p, i) => (p - Number(labels[rowOf(i)] === i % classes)) * (gradient[rowOf(i)] ?? 0),
    )
    const sparse = { rows, classes, labels: 'sparse' } as const
    await expectAll(crossEntropy, sparse, [logits, labels], sparseLoss, rowTolerance)
    await expectAll(crossEntropyGradient, sparse, [logits, labels, gradient], sparseGradient, rowTolerance)

    const loss = new Array<number>(rows).fill(0)
    const totals = new Array<number>(rows).fill(0)
    weights.forEach((weight, i) => {
      loss[rowOf(i)] = (loss[rowOf(i)] ?? 0) - weight * (exact.logSoftmax[i] ?? 0)
      totals[rowOf(i)] = (totals[rowOf(i)] ?? 0) + weight
    })
    const denseGradient = exact.softmax.map(
      (p, i) => (p * (totals[rowOf(i)] ?? 0) - (weights[i] ?? 0)) * (gradient[rowOf(i)] ?? 0),
    )
    const dense = { rows, classes, labels: 'dense' } as const
    await expectAll(crossEntropy, dense, [logits, weights], loss, rowTolerance)
    await expectAll(crossEntropyGradient, dense, [logits, weights, gradient], denseGradient, {
      rtol: 1e-5,
      atol: 1e-6 * Math.max(1, ...totals),
    })
  })

  it('are NaN exactly in rows with a NaN among the logits', async () => {
    const logits = Float32Array.of(1, nan, 0, 0, nan, nan, 0, -infinity)
    const expected = [nan, nan, 0.5, 0.5, nan, nan, 1, 0]
    await expectAll(softmax, { rows: 4, classes: 2, log: false }, [logits], expected, rowTolerance)
    const labels = Uint32Array.of(0, 1, 0, 0)
    const losses = [nan, Math.log(2), nan, 0]
    await expectAll(crossEntropy, { rows: 4, classes: 2, labels: 'sparse' }, [logits, labels], losses, rowTolerance)
    const dense = Float32Array.of(1, 0, 0, 1, 0, 0, 1, 0)
    await expectAll(crossEntropy, { rows: 4, classes: 2, labels: 'dense' }, [logits, dense], losses, rowTolerance)
  })

  it('give a NaN loss and gradient for an invalid label', async () => {
    const key = { rows: 3, classes: 2, labels: 'sparse' } as const
    const logits = new Float32Array(6)
    const labels = Uint32Array.of(2, 1, 0xffffffff)
    const gradient = Float32Array.of(1, 1, 1)
    await expectAll(crossEntropy, key, [logits, labels], [nan, Math.log(2), nan], rowTolerance)
    await expectAll(
      crossEntropyGradient,
      key,
      [logits, labels, gradient],
      [nan, nan, 0.5, -0.5, nan, nan],
      rowTolerance,
    )
  })

  it('refuse empty rows', () => {
    expect(() => planKernel(softmax, { rows: 3, classes: 0, log: false }, targetOf(device()))).toThrow(
      /columns must be a positive whole number/,
    )
  })
})
