/** Optimizers, compared with the same rules in float64, over several steps. */
import { describe, expect, test } from 'vitest'
import type { Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import type { AdamKey, SgdKey } from '../src/kernels/training/optimizer.ts'
import { adam, optimizerTableColumns, sgd } from '../src/kernels/training/optimizer.ts'
import type { AdamState } from './reference/training.ts'
import { adamStep } from './reference/training.ts'
import { largestDifference } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const device = useDevice()

let seed = 11
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32 - 0.5
}
/** Flat buffers are allocated up to a multiple of four floats. */
const floats = (count: number) =>
  Float32Array.from({ length: Math.ceil(count / 4) * 4 }, (_, i) => (i < count ? random() : 0))
const targets = (): Target[] => [targetOf(device()), targetOf(device(), { class: 'gpu' })]
const state = (stepsDone: number, flag = 0) => Uint32Array.of(stepsDone, flag, 100 + stepsDone, 0)

const learningRate = 0.01
const steps = 4
const keras: AdamKey = { count: 1, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: false }

/** The table that the host makes: an epoch's rows, for steps counted from 1. */
function adamTable({ beta1, beta2 }: AdamKey, decay: number): Float32Array<ArrayBuffer> {
  const table = new Float32Array(steps * optimizerTableColumns)
  for (let t = 1; t <= steps; t++) {
    const row = [(learningRate * Math.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t), learningRate * decay]
    table.set(row, (t - 1) * optimizerTableColumns)
  }
  return table
}

describe.each([1, 10, 64, 1000, 9216])('Adam on %i parameters', (count) => {
  test.each([
    ['as in Keras', { ...keras, count }, 0],
    ['with other betas and a large epsilon', { ...keras, count, beta1: 0.5, beta2: 0.9, epsilon: 0.1 }, 0],
    ['AdamW', { ...keras, count, weightDecay: true }, 0.2],
  ] as const)('%s', async (_name, key, decay) => {
    for (const target of targets()) {
      const plan = planKernel(adam, key, target)
      const start = floats(count)
      let buffers = [start, new Float32Array(start.length), new Float32Array(start.length), state(0)] as const
      const zeros = new Float64Array(start.length)
      let expected: AdamState = { parameters: Float64Array.from(start), first: zeros, second: zeros }
      const options = { ...key, learningRate, weightDecay: decay }
      for (let t = 1; t <= steps; t++) {
        const g = floats(count)
        const [parameters, first, second] = buffers
        buffers = await runPlan(device(), plan, [g, adamTable(key, decay)], [
          parameters,
          first,
          second,
          state(t),
        ] as const)
        expect(buffers[3]).toEqual(state(t))
        expected = adamStep(expected, g, options, t)
      }
      expect(largestDifference(buffers[0], expected.parameters), target.class).toBeLessThan(1e-6)
      expect(largestDifference(buffers[1], expected.first), target.class).toBeLessThan(1e-6)
      expect(largestDifference(buffers[2], expected.second), target.class).toBeLessThan(1e-6)
    }
  })
})

describe.each([1, 130, 5000])('SGD on %i parameters', (count) => {
  test.each([
    [{ count, momentum: 0, nesterov: false }],
    [{ count, momentum: 0, nesterov: true }],
    [{ count, momentum: 0.9, nesterov: false }],
    [{ count, momentum: 0.8, nesterov: true }],
  ] as [SgdKey][])('%o', async (key) => {
    const table = new Float32Array(steps * optimizerTableColumns)
    for (let t = 0; t < steps; t++) table[t * optimizerTableColumns] = learningRate / (t + 1)
    for (const target of targets()) {
      const plan = planKernel(sgd, key, target)
      let parameters = floats(count)
      let velocity = new Float32Array(parameters.length)
      const p = Float64Array.from(parameters)
      const v = new Float64Array(p.length)
      for (let t = 1; t <= steps; t++) {
        const g = floats(count)
        const rate = learningRate / t
        if (key.momentum === 0)
          [parameters] = await runPlan(device(), plan, [g, table], [parameters, state(t)] as const)
        else
          [parameters, velocity] = await runPlan(device(), plan, [g, table], [parameters, velocity, state(t)] as const)
        for (let i = 0; i < count; i++) {
          const descent = rate * (g[i] ?? 0)
          v[i] = key.momentum * (v[i] ?? 0) - descent
          const ahead = key.momentum * (v[i] ?? 0) - descent
          p[i] = (p[i] ?? 0) + (key.nesterov && key.momentum > 0 ? ahead : (v[i] ?? 0))
        }
      }
      expect(largestDifference(parameters, p), target.class).toBeLessThan(1e-6)
      if (key.momentum > 0) expect(largestDifference(velocity, v), target.class).toBeLessThan(1e-6)
    }
  })
})

test('after a number that is not finite, nothing is written except the settled flag', async () => {
  const count = 300
  const before = [floats(count), floats(count), floats(count), state(1, 1)] as const
  const settled = Uint32Array.of(1, 1, 101, 1)
  const nan = new Float32Array(count).fill(Number.NaN)
  const adamPlan = planKernel(adam, { ...keras, count, weightDecay: true }, targetOf(device()))
  const after = await runPlan(device(), adamPlan, [nan, adamTable(keras, 0.1)], before)
  expect(after).toEqual([...before.slice(0, 3), settled])
  const sgdPlan = planKernel(sgd, { count, momentum: 0.9, nesterov: true }, targetOf(device()))
  const pair = [before[0], before[1], state(1, 1)] as const
  const afterSgd = await runPlan(device(), sgdPlan, [nan, adamTable(keras, 0)], pair)
  expect(afterSgd).toEqual([...pair.slice(0, 2), settled])
})

test('the first step of Adam moves every parameter by the learning rate, against the sign of its gradient', async () => {
  const gradients = Float32Array.of(1e-4, -5, 0, 123)
  const plan = planKernel(adam, { ...keras, count: 4 }, targetOf(device()))
  const zeros = [new Float32Array(4), new Float32Array(4), new Float32Array(4), state(1)] as const
  const [p] = await runPlan(device(), plan, [gradients, adamTable(keras, 0)], zeros)
  expect(p[0]).toBeCloseTo(-learningRate * (1 / (1 + 1e-7 / Math.sqrt(0.001) / 1e-4)), 6)
  expect(p[1]).toBeCloseTo(learningRate, 7)
  expect(p[2]).toBe(0)
  expect(p[3]).toBeCloseTo(-learningRate, 7)
})

test('hyperparameters out of range are refused', () => {
  const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16384 }
  const bad: Partial<AdamKey>[] = [
    { count: 0 },
    { count: 1.5 },
    { beta1: 1 },
    { beta1: Number.NaN },
    { beta2: -0.1 },
    { epsilon: 0 },
    { epsilon: Number.POSITIVE_INFINITY },
  ]
  for (const changes of bad) expect(() => planKernel(adam, { ...keras, ...changes }, target)).toThrow('adam')
  for (const momentum of [-0.1, 1.1, Number.NaN])
    expect(() => planKernel(sgd, { count: 4, momentum, nesterov: false }, target)).toThrow('momentum')
})
