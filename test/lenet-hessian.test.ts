/**
 * A Hessian-vector product of LeNet-5's own loss (the gradient of the gradient's product with a direction), compared
 * with float64: u'Hv is the derivative of the loss along u and v, so mixed differences of the reference give it.
 */
import { describe, expect, it } from 'vitest'
import { add, evaluate, gradients, mul, softmaxCrossEntropy, sum, tensor } from '../src/index.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { inputsOf } from './cases/case.ts'
import type { Array64 } from './reference/array64.ts'
import { array64, build, scalar64 } from './reference/array64.ts'
import * as reference from './reference/index.ts'
import { useDevice } from './support/device.ts'
import { hashedGlorotWeights, hashedNumbers } from './support/hashed-weights.ts'

const device = useDevice()

const images: Array64 = array64([3, 32, 32, 1], hashedNumbers('images', 3 * 32 * 32, 0.5, 0.5))

/** Class numbers, and probabilities. */
const labelings = {
  'class numbers': inputsOf([{ shape: [3], dtype: 'u32', values: [7, 0, 7] }]),
  probabilities: inputsOf([{ shape: [3, 10], uniform: [0, 0.2] }]),
}

/**
 * The loss as a function of the weights, in the model's order, on the smooth piece around `at`: relu and pooling keep
 * the choices that they make there. With this many units, a step of any useful size crosses kinks, where differences
 * are meaningless.
 */
function smoothLoss(at: readonly Array64[], labels: Array64): (weights: readonly Array64[]) => number {
  const steps: Step[] = [pooled, pooled, dense, dense, last]
  const choices: Array64[] = []
  const run = (weights: readonly Array64[], isFirst: boolean): Array64 =>
    steps.reduce((x, step, i) => {
      const [kernel, bias] = weights.slice(2 * i, 2 * i + 2)
      if (kernel === undefined || bias === undefined) throw new Error('a layer has a kernel and a bias')
      const before = step.product(x, kernel, bias)
      if (isFirst) choices[i] = step.choice(before)
      return step.after(reference.mul(before, choices[i] ?? before))
    }, images)
  run(at, true)
  return (weights) => reference.softmaxCrossEntropy(run(weights, false), labels).data[0] ?? Number.NaN
}

interface Step {
  readonly product: (x: Array64, kernel: Array64, bias: Array64) => Array64
  /** 1 for the numbers that pass, 0 for the others. */
  readonly choice: (before: Array64) => Array64
  readonly after: (chosen: Array64) => Array64
}

const isPositive = (x: Array64): Array64 => reference.greater(x, scalar64(0))
const ones = (x: Array64): Array64 => build(x.shape, () => 1)
const half = { poolSize: 2 }
const rows = (x: Array64): Array64 => reference.reshape(x, [3, x.data.length / 3])

const pooled: Step = {
  product: (x, kernel, bias) => reference.conv2d(x, kernel, bias),
  choice: (x) => reference.mul(isPositive(x), reference.maxPoolGradient(x, ones(reference.maxPool(x, half)), half)),
  // One of four numbers remains.
  after: (x) => reference.mul(reference.averagePool(x, half), scalar64(4)),
}
const dense: Step = {
  product: (x, kernel, bias) => reference.dense(rows(x), kernel, bias),
  choice: isPositive,
  after: (x) => x,
}
const last: Step = { ...dense, choice: ones }

const step = 1e-3

describe("a Hessian-vector product of LeNet-5's loss agrees with differences in float64", () => {
  for (const [name, [labels]] of Object.entries(labelings))
    it(`with labels that are ${name}`, async () => {
      if (labels === undefined) throw new Error('there are labels')
      using model = lenet5().to(device())
      const numbers = hashedGlorotWeights(model)
      model.setWeights(numbers)
      const direction = model.weights.map(({ name, shape }) =>
        array64(shape, hashedNumbers(`v of ${name}`, numbers.get(name)?.data.length ?? 0, 0.05)),
      )
      const onDevice = ({ shape, data }: Array64) => tensor(Float32Array.from(data), [...shape])
      const weights = model.weights.map((weight) => weight.tensor)
      const answers = tensor(labels.data, [...labels.shape], labels.dtype)
      const loss = softmaxCrossEntropy(model.call(onDevice(images)), answers)
      const along = gradients(loss, weights).map((slope, i) => {
        const v = direction[i]
        if (v === undefined) throw new Error('one direction per weight')
        return sum(mul(slope, onDevice(v)))
      })
      const slope = along.reduce((total, part) => add(total, part))
      const products = await evaluate(gradients(slope, weights), { device: device() })

      const at = model.weights.map(({ name, shape }) => array64(shape, numbers.get(name)?.data ?? []))
      const loss64 = smoothLoss(at, labels.exact)
      const moved = (k: number, u: Array64, s: number, t: number): number =>
        loss64(
          at.map(({ shape, data }, i) => ({
            shape,
            data: data.map((x, j) => x + (i === k ? s * (u.data[j] ?? 0) : 0) + t * (direction[i]?.data[j] ?? 0)),
          })),
        )
      model.weights.forEach(({ name, shape }, k) => {
        const product = products[k] ?? []
        const u = array64(shape, hashedNumbers(`u of ${name}`, product.length, 0.5))
        const [pp, pm, mp, mm] = [
          moved(k, u, step, step),
          moved(k, u, step, -step),
          moved(k, u, -step, step),
          moved(k, u, -step, -step),
        ]
        const expected = (pp - pm - mp + mm) / (4 * step ** 2)
        const actual = u.data.reduce((total, x, j) => total + x * (product[j] ?? Number.NaN), 0)
        expect(Math.abs(actual / expected - 1), name).toBeLessThan(1e-4)
      })
    })
})
