/** Losses, metrics and optimizers against Keras: test/fixtures/keras-training/write.py wrote its results. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as losses from '../src/nn/losses.ts'
import * as metrics from '../src/nn/metrics.ts'
import type { Loss, Metric } from '../src/nn/objective.ts'
import type { Optimizer } from '../src/nn/optimizers.ts'
import * as optimizers from '../src/nn/optimizers.ts'
import { trainStep } from '../src/nn/train-step.ts'
import { parameters } from '../src/nn/trainable.ts'
import { add, mean, mul, sum } from '../src/operators/index.ts'
import type { Tensor } from '../src/operators/tensor.ts'
import { tensor } from '../src/operators/tensor.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'

interface Numbers {
  readonly dtype: 'f32' | 'u32'
  readonly shape: number[]
  readonly data: number[]
}

interface ScoreCase {
  readonly name: string
  readonly options: Readonly<Record<string, unknown>>
  readonly output: Numbers
  readonly target: Numbers
  readonly sampleWeight?: Numbers
  readonly value: number
}

interface Fixture {
  readonly losses: readonly ScoreCase[]
  readonly metrics: readonly ScoreCase[]
  readonly start: readonly [Numbers, Numbers]
  readonly slopes: readonly (readonly [Numbers, Numbers])[]
  readonly optimizers: readonly {
    readonly name: string
    readonly options: Readonly<Record<string, unknown>>
    readonly values: readonly [Numbers, Numbers]
  }[]
}

const fixture = JSON.parse(
  readFileSync(new URL('fixtures/keras-training/training.json', import.meta.url), 'utf8'),
) as Fixture

const device = useDevice()
const given = ({ shape, data, dtype }: Numbers): Tensor => tensor(data, shape, dtype)
const titled = <Case extends { readonly name: string; readonly options: object }>(cases: readonly Case[]) =>
  cases.map((one, i) => [`${i + 1}: ${one.name} ${JSON.stringify(one.options)}`, one] as const)
/** Calls what a module exports by this name with these options. */
function made<Made>(module: object, name: string, options: object): Made {
  const make = (module as Readonly<Record<string, (options: object) => Made>>)[name]
  if (make === undefined) throw new Error(`there is no ${name}`)
  // An option named `k` is an argument of its own.
  return make('k' in options ? (options.k as object) : options)
}

describe('a loss has the value of Keras', () => {
  it.each(titled(fixture.losses))('%s', async (_, { name, options, output, target, sampleWeight, value }) => {
    const rows = made<Loss>(losses, name, options).rows(given(output), given(target))
    expect(rows.shape).toEqual([output.shape[0]])
    const weighed = sampleWeight === undefined ? rows : mul(rows, given(sampleWeight))
    expect(await mean(weighed).item({ device: device() })).toBeCloseTo(value, 5)
  })
})

describe('a metric has the value of Keras', () => {
  it.each(titled(fixture.metrics))('%s', async (_, { name, options, output, target, value }) => {
    const metric = made<Metric>({ ...losses, ...metrics }, name, options)
    const rows = metric.rows(given(output), given(target))
    const batch = output.shape[0] ?? 1
    const numbers = Float32Array.from(await rows.data({ device: device() }))
    const columns = numbers.length / batch
    const sums = Array.from({ length: columns }, (_, k) =>
      numbers.reduce((total, x, i) => total + (i % columns === k ? x : 0), 0),
    )
    expect(metric.value?.(sums, batch) ?? (sums[0] ?? Number.NaN) / batch).toBeCloseTo(value, 5)
  })
})

describe('an optimizer makes the steps of Keras', () => {
  it.each(titled(fixture.optimizers))('%s', async (_, { name, options, values }) => {
    const optimizer = made<Optimizer>(optimizers, name, options)
    const [w, b] = fixture.start
    using own = await parameters({ w: given(w), b: given(b) }, device())
    const { tensors } = own
    // Linear in the weights: the gradients are the inputs.
    using step = trainStep(
      own,
      ({ p, q }: Readonly<Record<'p' | 'q', Tensor>>) => add(sum(mul(tensors.w, p)), sum(mul(tensors.b, q))),
      optimizer,
    )
    for (const [p, q] of fixture.slopes) await step.run({ p: given(p), q: given(q) })
    step.useAverages()
    expect(await step.losses()).toHaveLength(fixture.slopes.length)
    for (const [i, weight] of [tensors.w, tensors.b].entries()) {
      const expected = values[i]?.data ?? []
      expect(disagreement(await weight.data(), expected, { rtol: 1e-5, atol: 1e-6 }, weight.shape)).toBeUndefined()
    }
  })
})
