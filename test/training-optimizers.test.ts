/** Optimizers and schedules, compared with float64, and what a step changes besides the weights. */
import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { nn } from '../src/index.ts'
import type { Optimizer } from '../src/nn/optimizers.ts'
import { optimizerTable } from '../src/nn/optimizers.ts'
import { Random } from '../src/random.ts'
import { disagreement } from './support/compare.ts'
import { classes, pictures, side } from './support/pictures.ts'
import { useTraining } from './support/training.ts'

const { device, pictureSet } = useTraining()

describe('the state of a step besides the weights', () => {
  it('moving statistics: those of each batch, mixed in by the momentum', async () => {
    const [count, batchSize, epochs, seed, momentum] = [13, 5, 3, 6, 0.7]
    const bytes = pictures(count)
    using data = residentImages(device(), bytes)
    using model = nn.sequential(
      'normalised',
      [side, side, 1],
      [nn.batchNormalization('norm', { momentum }), nn.flatten('flatten'), nn.dense('logits', classes)],
    )
    await nn.fit(model, data, { optimizer: nn.adam(), epochs, batchSize, seed })

    let [movingMean, movingVariance] = [0, 1]
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = new Random(seed, `epoch ${epoch}`).shuffle(Uint32Array.from({ length: count }, (_, i) => i))
      for (let start = 0; start < count; start += batchSize) {
        const pixels = [...order.subarray(start, start + batchSize)].flatMap((i) =>
          Array.from(bytes.images.subarray(i * side * side, (i + 1) * side * side), (byte) => byte / 255),
        )
        const mean = pixels.reduce((sum, x) => sum + x, 0) / pixels.length
        const variance = pixels.reduce((sum, x) => sum + (x - mean) ** 2, 0) / pixels.length
        movingMean = momentum * movingMean + (1 - momentum) * mean
        movingVariance = momentum * movingVariance + (1 - momentum) * variance
      }
    }
    const weights = await model.weightNumbers()
    expect(weights.get('norm/moving_mean')?.data[0]).toBeCloseTo(movingMean, 5)
    expect(weights.get('norm/moving_variance')?.data[0]).toBeCloseTo(movingVariance, 5)
  })

  it('a step count, so that dropout draws another mask each time', async () => {
    // One image and constant weights: only masks differ between the epochs.
    const losses = async (rate: number): Promise<number[]> => {
      using data = pictureSet(1)
      using model = nn.sequential(
        'masked',
        [side, side, 1],
        [nn.flatten('flatten'), nn.dropout('drop', rate), nn.dense('logits', classes)],
      )
      const optimizer = nn.sgd({ learningRate: 1e-30 })
      return (await nn.fit(model, data, { optimizer, epochs: 6, batchSize: 1 })).epochs.map(({ loss }) => loss)
    }
    expect(new Set(await losses(0)).size).toBe(1)
    expect(new Set(await losses(0.5)).size).toBe(6)
  })
})

describe('schedules and tables of rates', () => {
  it('match their formulas', () => {
    const constant = nn.constantRate(0.02)
    expect([0, 1, 999].map((step) => constant.rate(step, 1000))).toEqual([0.02, 0.02, 0.02])
    const steps = nn.stepRate(0.5, { every: 10, factor: 0.2 })
    expect([0, 9, 10, 19, 20].map((step) => steps.rate(step, 100))).toEqual([
      0.5,
      0.5,
      expect.closeTo(0.1, 12),
      expect.closeTo(0.1, 12),
      expect.closeTo(0.02, 12),
    ])
    const cosine = nn.cosineRate(0.3, { warmupSteps: 4, final: 0.1 })
    const expected = Array.from({ length: 12 }, (_, step) =>
      step < 4 ? (0.3 * (step + 1)) / 4 : 0.1 + 0.2 * Math.cos((Math.PI * (step - 4)) / 8 / 2) ** 2,
    )
    expected.forEach((rate, step) => {
      expect(cosine.rate(step, 12)).toBeCloseTo(rate, 12)
    })
    expect(cosine.rate(3, 12)).toBe(0.3)
    expect(cosine.rate(4, 12)).toBe(0.3)
    expect(cosine.rate(12, 12)).toBeCloseTo(0.1, 12)
    expect(cosine.rate(50, 12)).toBeCloseTo(0.1, 12)
    expect(nn.cosineRate(1, { warmupSteps: 5 }).rate(5, 5)).toBe(1)
  })

  it('have names that include all their settings', () => {
    const names = [
      nn.constantRate(1),
      nn.constantRate(2),
      nn.stepRate(1, { every: 3 }),
      nn.stepRate(1, { every: 4 }),
      nn.stepRate(1, { every: 3, factor: 0.5 }),
      nn.cosineRate(1),
      nn.cosineRate(1, { warmupSteps: 2 }),
      nn.cosineRate(1, { final: 0.1 }),
    ].map(({ name }) => name)
    const optimizers = [
      nn.adam(),
      nn.adam({ beta1: 0.8 }),
      nn.adam({ beta2: 0.99 }),
      nn.adam({ epsilon: 1e-8 }),
      nn.adam({ learningRate: 1 }),
      nn.adamw(),
      nn.adamw({ weightDecay: 0.1 }),
      nn.sgd(),
      nn.sgd({ momentum: 0.9 }),
      nn.sgd({ momentum: 0.9, nesterov: true }),
    ].map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(new Set(optimizers).size).toBe(optimizers.length)
  })

  it('hold bias corrections computed in float64, row after row, even late in a run', () => {
    const learningRate = nn.cosineRate(1e-3, { warmupSteps: 10 })
    const [first, steps, total] = [90_000, 3, 100_000]
    const table = optimizerTable(nn.adamw({ learningRate, weightDecay: 0.02 }), first, steps, total)
    const expected = Array.from({ length: steps }, (_, i) => {
      const rate = learningRate.rate(first + i, total)
      const t = first + i + 1
      const corrected = (rate * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t)
      return [corrected, rate * 0.02, 0, 0]
    })
    expect([...table]).toEqual(expected.flat().map(Math.fround))
    const [begin] = optimizerTable(nn.adam({ learningRate: 0.1 }), 0, 1, 10)
    expect(begin).toBe(Math.fround((0.1 * Math.sqrt(0.001)) / 0.1))
    expect([...optimizerTable(nn.sgd({ learningRate: nn.stepRate(1, { every: 2 }) }), 1, 2, 4)]).toEqual(
      [1, 0, 0, 0, 0.1, 0, 0, 0].map(Math.fround),
    )
  })
})

/** Plain float64 training of flatten, dense with tanh, dense: the reference for the optimizers. */
class Reference {
  readonly weights: Float64Array[]
  readonly #features: number
  readonly #units: number

  constructor(weights: readonly ArrayLike<number>[], features: number, units: number) {
    this.weights = weights.map((one) => Float64Array.from(one))
    this.#features = features
    this.#units = units
  }

  /** The mean loss of a batch and the gradients of all weights. */
  gradients(batch: readonly { readonly x: readonly number[]; readonly label: number }[]): {
    loss: number
    slopes: Float64Array[]
  } {
    const [w1 = [], b1 = [], w2 = [], b2 = []]: ArrayLike<number>[] = this.weights
    const slopes = this.weights.map((one) => new Float64Array(one.length))
    const [dw1, db1, dw2, db2] = slopes
    if (dw1 === undefined || db1 === undefined || dw2 === undefined || db2 === undefined)
      throw new Error('the network has four weights')
    const [features, units] = [this.#features, this.#units]
    const at = (array: ArrayLike<number>, i: number): number => array[i] ?? Number.NaN
    const addTo = (array: Float64Array, i: number, value: number): void => {
      array[i] = at(array, i) + value
    }
    const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
    let loss = 0
    for (const { x, label } of batch) {
      const h = range(units).map((j) =>
        Math.tanh(range(features).reduce((sum, i) => sum + at(x, i) * at(w1, i * units + j), at(b1, j))),
      )
      const logits = range(classes).map((k) =>
        range(units).reduce((sum, j) => sum + at(h, j) * at(w2, j * classes + k), at(b2, k)),
      )
      const largest = Math.max(...logits)
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0)
      loss += (Math.log(total) + largest - at(logits, label)) / batch.length
      const dLogits = logits.map((logit, k) => (Math.exp(logit - largest) / total - Number(k === label)) / batch.length)
      for (const k of range(classes)) {
        addTo(db2, k, at(dLogits, k))
        for (const j of range(units)) addTo(dw2, j * classes + k, at(h, j) * at(dLogits, k))
      }
      for (const j of range(units)) {
        const dh = range(classes).reduce((sum, k) => sum + at(dLogits, k) * at(w2, j * classes + k), 0)
        const before = dh * (1 - at(h, j) ** 2)
        addTo(db1, j, before)
        for (const i of range(features)) addTo(dw1, i * units + j, at(x, i) * before)
      }
    }
    return { loss, slopes }
  }
}

/** Computes the new weight and moments from the weight, its gradient, the moments and the step, from 1. */
type Update = (p: number, g: number, moments: readonly number[], t: number) => readonly [number, readonly number[]]

const adamUpdate =
  (rate: (t: number) => number, decay = 0): Update =>
  (p, g, [m = 0, v = 0], t) => {
    const first = 0.9 * m + 0.1 * g
    const second = 0.999 * v + 0.001 * g * g
    // Keras: epsilon outside the correction.
    const size = (rate(t) * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t)
    return [p - rate(t) * decay * p - (size * first) / (Math.sqrt(second) + 1e-7), [first, second]]
  }

const sgdUpdate =
  (rate: number, momentum: number, nesterov: boolean): Update =>
  (p, g, [velocity = 0]) => {
    const v = momentum * velocity - rate * g
    return [p + (nesterov ? momentum * v - rate * g : v), [v]]
  }

describe('optimizers follow the same steps in float64:', () => {
  const cosine = nn.cosineRate(0.02, { warmupSteps: 3 })

  it.each<[name: string, optimizer: Optimizer, update: Update]>([
    ['Adam', nn.adam({ learningRate: 0.01 }), adamUpdate(() => 0.01)],
    ['Adam along a cosine', nn.adam({ learningRate: cosine }), adamUpdate((t) => cosine.rate(t - 1, 24))],
    ['AdamW', nn.adamw({ learningRate: 0.01, weightDecay: 0.1 }), adamUpdate(() => 0.01, 0.1)],
    ['plain descent', nn.sgd({ learningRate: 0.3 }), sgdUpdate(0.3, 0, false)],
    ['momentum', nn.sgd({ learningRate: 0.1, momentum: 0.9 }), sgdUpdate(0.1, 0.9, false)],
    ["Nesterov's momentum", nn.sgd({ learningRate: 0.1, momentum: 0.8, nesterov: true }), sgdUpdate(0.1, 0.8, true)],
  ])('%s', async (_, optimizer, update) => {
    const [count, batchSize, epochs, units, seed] = [23, 4, 4, 5, 11]
    const bytes = pictures(count)
    using data = residentImages(device(), bytes)
    using model = nn.sequential(
      'two layers',
      [side, side, 1],
      [nn.flatten('flatten'), nn.dense('hidden', units, { activation: 'tanh' }), nn.dense('logits', classes)],
      { seed: 4 },
    )
    const begin = await model.weightNumbers()
    const { epochs: history } = await nn.fit(model, data, { optimizer, epochs, batchSize, seed })

    const reference = new Reference(
      [...begin.values()].map((one) => one.data),
      side * side,
      units,
    )
    const moments = reference.weights.map((one) => Array.from(one, (): readonly number[] => []))
    let t = 0
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = new Random(seed, `epoch ${epoch}`).shuffle(Uint32Array.from({ length: count }, (__, i) => i))
      let total = 0
      for (let start = 0; start < count; start += batchSize) {
        t++
        const batch = [...order.subarray(start, start + batchSize)].map((i) => ({
          x: Array.from(bytes.images.subarray(i * side * side, (i + 1) * side * side), (byte) => byte / 255),
          label: bytes.labels[i] ?? -1,
        }))
        const { loss, slopes } = reference.gradients(batch)
        total += loss * batch.length
        reference.weights.forEach((weight, w) => {
          weight.forEach((p, i) => {
            const [next, own] = update(p, slopes[w]?.[i] ?? Number.NaN, moments[w]?.[i] ?? [], t)
            weight[i] = next
            const list = moments[w]
            if (list !== undefined) list[i] = own
          })
        })
      }
      expect(Math.abs((history[epoch]?.loss ?? 0) - total / count), `loss of epoch ${epoch}`).toBeLessThan(1e-5)
    }
    const end = [...(await model.weightNumbers()).values()]
    end.forEach(({ data: numbers }, i) => {
      expect(disagreement(numbers, reference.weights[i] ?? [], { rtol: 2e-4, atol: 2e-5 })).toBeUndefined()
      const moved = numbers.some((x, j) => Math.abs(x - ([...begin.values()][i]?.data[j] ?? 0)) > 0.01)
      expect(moved).toBe(true)
    })
  })
})
