/** Derivatives of derivatives: of smooth functions against their formulas, of layers against differences. */
import { describe, expect, it } from 'vitest'
import type { Tensor } from '../src/index.ts'
import {
  abs,
  add,
  averagePool,
  conv2d,
  depthwiseConv2d,
  div,
  exp,
  gradCheck,
  gradients,
  log,
  matmul,
  maxPool,
  mul,
  pow,
  reciprocal,
  relu,
  sigmoid,
  softmaxCrossEntropy,
  sqrt,
  square,
  sum,
  tanh,
  tensor,
  where,
} from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { expectClose, numbersOn, slope, strip } from './support/gradients.ts'
import { noiseTensor } from './support/noise.ts'

const device = useDevice()
const numbers = numbersOn(device)

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

  it('of a power exist at exponent 0 too, by base and exponent', async () => {
    const [base, exponent] = [tensor([2, 4]), tensor([0, 0])]
    expectClose((await numbers(slope(sum(slope(sum(pow(base, exponent)), base)), exponent)))[0], [0.5, 0.25])
    expectClose((await numbers(slope(sum(slope(sum(pow(base, exponent)), exponent)), base)))[0], [0.5, 0.25])
  })

  it('of max-pooling pass only through the maxima', async () => {
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
  const image = noiseTensor([2, 5, 4, 3], 'image')
  const pool = { poolSize: 2, padding: 'same' } as const
  const convolution = { strides: 2, padding: 'same' } as const

  /** A function of the gradients, weighted so that no symmetry hides a mistake. */
  const ofGradients = (f: (...inputs: Tensor[]) => Tensor, shapes: readonly (readonly number[])[]) => {
    const weights = shapes.map((shape, i) => noiseTensor(shape, `weight ${i}`))
    return (...inputs: Tensor[]): Tensor => {
      const slopes = gradients(f(...inputs), inputs)
      return slopes.map((one, i) => sum(mul(one, weights[i] ?? 0))).reduce((a, b) => add(a, b))
    }
  }

  it.each<[name: string, f: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]]>([
    ['matmul', (a = image, b = image) => sum(tanh(matmul(a, b))), [noiseTensor([3, 4], 'a'), noiseTensor([4, 2], 'b')]],
    [
      'matmul of batches, transposed',
      (a = image, b = image) => sum(square(matmul(a, b, { transposeA: true, transposeB: true }))),
      [noiseTensor([2, 4, 3], 'a'), noiseTensor([2, 5, 4], 'b')],
    ],
    [
      'conv2d',
      (x = image, k = image, b = image) => sum(square(conv2d(x, k, b, convolution))),
      [image, noiseTensor([3, 3, 3, 2], 'kernel'), noiseTensor([2], 'bias')],
    ],
    [
      'dilated conv2d with tanh',
      (x = image, k = image) => sum(conv2d(x, k, undefined, { dilationRate: 2, activation: 'tanh' })),
      [mul(image, 0.5), mul(noiseTensor([2, 2, 3, 2], 'kernel'), 0.5)],
    ],
    [
      'depthwiseConv2d',
      (x = image, k = image) => sum(square(depthwiseConv2d(x, k, convolution))),
      [image, noiseTensor([3, 3, 3, 2], 'kernel')],
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
    const kernel = noiseTensor([3, 3, 3, 2], 'kernel')
    const y = sum(square(conv2d(image, kernel, undefined, convolution)))
    const [u, v] = [noiseTensor(image.shape, 'u'), noiseTensor(kernel.shape, 'v')]
    const oneWay = sum(mul(slope(sum(mul(slope(y, image), u)), kernel), v))
    const otherWay = sum(mul(slope(sum(mul(slope(y, kernel), v)), image), u))
    const [[a = 0] = [], [b = 1] = []] = await numbers(oneWay, otherWay)
    expect(Math.abs(a)).toBeGreaterThan(1)
    expect(Math.abs(a - b)).toBeLessThan(1e-4 * Math.abs(a))
  })
})
