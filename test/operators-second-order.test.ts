/**
 * Gradients are graphs like any other and can be differentiated again. For z = sum(v * gradient of sum(c * f) with
 * respect to one input), with fixed c and v, the gradient of z is compared with differences of the reference: z is the
 * derivative of sum(c * f) in the direction v, so no formula of a derivative is needed.
 */
import { describe, test } from 'vitest'
import type { Tensor } from '../src/index.ts'
import {
  averagePool,
  conv2d,
  depthwiseConv2d,
  evaluate,
  exp,
  gather,
  gradients,
  logSoftmax,
  matmul,
  maxPool,
  mul,
  pow,
  sigmoid,
  softmax,
  softmaxCrossEntropy,
  square,
  sum,
  tanh,
  tensor,
} from '../src/index.ts'
import type { InputSpec } from './cases/case.ts'
import { inputsOf, toleranceFor } from './cases/case.ts'
import type { Array64 } from './reference/array64.ts'
import { build, scalar64 } from './reference/array64.ts'
import * as reference from './reference/index.ts'
import { assertAllClose } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { noise } from './support/noise.ts'

const device = useDevice()

interface SecondOrder {
  readonly name: string
  readonly inputs: readonly InputSpec[]
  readonly run: (...inputs: Tensor[]) => Tensor
  readonly reference: (...inputs: Array64[]) => Array64
}

const uniform = [-1, 1] as const
const window = { padding: 'same', strides: 2 } as const

const operators: readonly SecondOrder[] = [
  {
    name: 'exp(x) * tanh(y)',
    inputs: [
      { shape: [3, 5], uniform },
      { shape: [5], uniform },
    ],
    run: (x, y) => mul(exp(x), tanh(y)),
    reference: (x, y) => reference.mul(reference.exp(x), reference.tanh(y)),
  },
  {
    name: 'sigmoid(x) ** 3',
    inputs: [{ shape: [7], uniform }],
    run: (x) => pow(sigmoid(x), 3),
    reference: (x) => reference.pow(reference.sigmoid(x), scalar64(3)),
  },
  {
    name: 'matmul',
    inputs: [
      { shape: [3, 4], uniform },
      { shape: [5, 4], uniform },
    ],
    run: (x, y) => matmul(x, y, { transposeB: true }),
    reference: (x, y) => reference.matmul(x, y, { transposeB: true }),
  },
  {
    name: 'softmax',
    inputs: [{ shape: [3, 5], uniform }],
    run: (x) => softmax(x),
    reference: (x) => reference.softmax(x),
  },
  {
    name: 'logSoftmax',
    inputs: [{ shape: [3, 5], uniform }],
    run: (x) => logSoftmax(x),
    reference: (x) => reference.logSoftmax(x),
  },
  {
    name: 'conv2d',
    inputs: [
      { shape: [2, 5, 4, 2], uniform },
      { shape: [3, 3, 2, 3], uniform },
    ],
    run: (x, kernel) => conv2d(x, kernel, undefined, window),
    reference: (x, kernel) => reference.conv2d(x, kernel, undefined, window),
  },
  {
    name: 'conv2d with tanh',
    inputs: [
      { shape: [1, 4, 4, 2], uniform },
      { shape: [2, 2, 2, 3], uniform: [-0.5, 0.5] },
      { shape: [3], uniform },
    ],
    run: (x, kernel, bias) => conv2d(x, kernel, bias, { activation: 'tanh' }),
    reference: (x, kernel, bias) => reference.conv2d(x, kernel, bias, { activation: 'tanh' }),
  },
  {
    name: 'depthwiseConv2d',
    inputs: [
      { shape: [1, 5, 4, 2], uniform },
      { shape: [3, 3, 2, 2], uniform },
    ],
    run: (x, kernel) => depthwiseConv2d(x, kernel, window),
    reference: (x, kernel) => reference.depthwiseConv2d(x, kernel, window),
  },
  {
    name: 'averagePool of squares',
    inputs: [{ shape: [1, 5, 4, 2], uniform }],
    run: (x) => averagePool(mul(x, x), { poolSize: 2, padding: 'same' }),
    reference: (x) => reference.averagePool(reference.square(x), { poolSize: 2, padding: 'same' }),
  },
  {
    name: 'maxPool of exponentials, overlapping and padded',
    inputs: [{ shape: [2, 5, 4, 2], distinct: [-1, 1] }],
    run: (x) => maxPool(exp(x), { poolSize: 3, strides: 2, padding: 'same' }),
    reference: (x) => reference.maxPool(reference.exp(x), { poolSize: 3, strides: 2, padding: 'same' }),
  },
  {
    name: 'maxPool of products, side by side',
    inputs: [
      { shape: [1, 5, 4, 3], distinct: [0.5, 1] },
      { shape: [3], uniform: [0.5, 1] },
    ],
    run: (x, y) => maxPool(mul(x, y), { poolSize: 2 }),
    reference: (x, y) => reference.maxPool(reference.mul(x, y), { poolSize: 2 }),
  },
  {
    name: 'matmul of broadcast batches',
    inputs: [
      { shape: [2, 1, 2, 3], uniform },
      { shape: [3, 3, 2], uniform },
    ],
    run: (x, y) => matmul(x, y),
    reference: (x, y) => reference.matmul(x, y),
  },
  {
    name: 'softmaxCrossEntropy with class numbers, per row',
    inputs: [{ shape: [3, 5], uniform }],
    run: (x) => softmaxCrossEntropy(x, tensor([4, 0, 4], [3], 'u32'), { reduction: 'none' }),
    reference: (x) => reference.softmaxCrossEntropy(x, { shape: [3], data: Float64Array.of(4, 0, 4) }, 'none'),
  },
  {
    name: 'the squared mean of softmaxCrossEntropy with class numbers',
    inputs: [{ shape: [3, 5], uniform }],
    run: (x) => square(softmaxCrossEntropy(x, tensor([4, 0, 4], [3], 'u32'))),
    reference: (x) =>
      reference.square(reference.softmaxCrossEntropy(x, { shape: [3], data: Float64Array.of(4, 0, 4) })),
  },
  {
    name: 'softmaxCrossEntropy with weights that sum to any number',
    inputs: [
      { shape: [3, 5], uniform },
      { shape: [3, 5], uniform: [0.1, 1] },
    ],
    run: (x, labels) => softmaxCrossEntropy(x, labels, { reduction: 'none' }),
    reference: (x, labels) => reference.softmaxCrossEntropy(x, labels, 'none'),
  },
  {
    name: 'gather of squares',
    inputs: [{ shape: [4, 3], uniform }],
    run: (x) => gather(mul(x, x), tensor([3, 0, 3], [3], 'u32')),
    reference: (x) => reference.gather(reference.square(x), { shape: [3], data: Float64Array.of(3, 0, 3) }),
  },
]

const weights = (shape: readonly number[], stream: string): Array64 => ({
  shape,
  data: Float64Array.from(noise(shape, stream)),
})

const moved = (x: Array64, by: number, direction: Array64): Array64 => ({
  shape: x.shape,
  data: x.data.map((value, i) => value + by * (direction.data[i] ?? 0)),
})

const onHost = (x: Array64): Tensor => tensor(Float32Array.from(x.data), [...x.shape])

/** Differences of differences: a larger step limits rounding errors; the reference is in float64. */
const step = 1e-3

/** d/ds d/dt sum(c * f(..., x_i + t * v, ...)) with element j of input k moved by s. */
function mixedDifference(f: (...xs: Array64[]) => Array64, c: Array64, xs: readonly Array64[], i: number, v: Array64) {
  const value = (inputs: readonly Array64[]): Float64Array => f(...inputs).data
  return (k: number, j: number): number => {
    const at = (s: number, t: number): Float64Array => {
      const direction = build(xs[k]?.shape ?? [], () => 0)
      direction.data[j] = 1
      const once = xs.map((x, position) => (position === k ? moved(x, s, direction) : x))
      return value(once.map((x, position) => (position === i ? moved(x, t, v) : x)))
    }
    const [pp, pm, mp, mm] = [at(step, step), at(step, -step), at(-step, step), at(-step, -step)]
    return c.data.reduce(
      (total, weight, n) =>
        total + (weight * ((pp[n] ?? 0) - (pm[n] ?? 0) - (mp[n] ?? 0) + (mm[n] ?? 0))) / (4 * step * step),
      0,
    )
  }
}

describe('the gradient of a gradient agrees with differences of the reference', () => {
  for (const { name, inputs, run, reference: f } of operators) {
    inputs.forEach((_, i) => {
      test(`${name}, first with respect to input ${i}`, async () => {
        const exact = inputsOf(inputs).map((input) => input.exact)
        const leaves = exact.map(onHost)
        const y = run(...leaves)
        const c = weights(y.shape, 'c')
        const v = weights(exact[i]?.shape ?? [], 'v')
        const [first] = gradients(sum(mul(y, onHost(c))), leaves.slice(i, i + 1))
        if (first === undefined) throw new Error('one input gives one gradient')
        const second = gradients(sum(mul(first, onHost(v))), leaves)
        const numbers = await evaluate(second, { device: device() })
        const difference = mixedDifference(f, c, exact, i, v)
        exact.forEach((x, k) => {
          const expected = Float64Array.from(x.data, (_value, j) => difference(k, j))
          assertAllClose(
            { shape: x.shape, data: numbers[k] ?? [] },
            { shape: x.shape, data: expected },
            // Differences of differences are accurate to about 1e-6.
            { rtol: 1e-5, atol: 10 * toleranceFor(expected).atol },
            `by input ${k}`,
          )
        })
      })
    })
  }
})
