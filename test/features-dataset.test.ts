/** Feature data sets and the layer that standardises them: rows in one block or several, statistics, training. */
import { describe, expect, it } from 'vitest'
import type { FeatureSpec } from '../src/data/feature-dataset.ts'
import { FeatureDataset } from '../src/data/feature-dataset.ts'
import { evaluate, nn, tensor } from '../src/index.ts'
import type { FitOptions, TrainingCheckpoint } from '../src/nn/contract.ts'
import { normalization } from '../src/nn/layers/standardization.ts'
import type { Model } from '../src/nn/model.ts'
import type { WeightNumbers } from '../src/nn/model-weights.ts'
import { Random } from '../src/random.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()
const width = 21
const classes = 3

/** Rows whose class shows in some of their numbers. Column 5 never varies; column 9 is large. */
function labelledRows(count: number, seed = 1): { readonly rows: Float32Array; readonly labels: Uint8Array } {
  const random = new Random(seed, 'features')
  const labels = Uint8Array.from({ length: count }, () => random.below(classes))
  const rows = Float32Array.from({ length: count * width }, (_, at) => {
    const [row, column] = [Math.floor(at / width), at % width]
    if (column === 5) return 0.1
    const own = column % classes === labels[row] ? 0.4 : 0
    return (column === 9 ? 1000 : 1) * (random.uniform() + own)
  })
  return { rows, labels }
}

function featureSet(count: number, options: Partial<FeatureSpec> = {}, seed = 1): FeatureDataset {
  const { rows, labels } = labelledRows(count, seed)
  const data = FeatureDataset.allocate(device(), { width, labels, classes, ...options })
  data.write(0, rows)
  return data
}

/** The smallest block of several columns: four. */
const inBlocks = (count: number): Partial<FeatureSpec> => ({ blockBytes: count * 4 * 6 })

function head(seed = 1): Model {
  return nn.sequential(
    'head',
    [width],
    [
      normalization('normalization'),
      nn.dense('hidden', 8, { activation: 'relu' }),
      nn.dropout('dropout', 0.2),
      nn.dense('logits', classes),
    ],
    { seed },
  )
}

const base: FitOptions = { optimizer: nn.adam({ learningRate: 3e-3 }), epochs: 4, batchSize: 16, validationSplit: 0.25 }

async function trained(
  options: Partial<FitOptions> = {},
  spec: Partial<FeatureSpec> = {},
): Promise<{ readonly weights: WeightNumbers; readonly epochs: unknown[] }> {
  using data = featureSet(90, spec)
  using model = head()
  const { epochs } = await nn.fit(model, data, { ...base, ...options })
  return { weights: await model.weightNumbers(), epochs: epochs.map(({ seconds: _, ...numbers }) => numbers) }
}

describe('a batch of features', () => {
  for (const [what, spec] of [
    ['in one block', {}],
    ['in six blocks of columns', inBlocks(30)],
  ] as const)
    it(`has the step's rows by the order, with their labels, ${what}`, async () => {
      using data = featureSet(30, spec)
      expect(data.blockCount).toBe(what === 'in one block' ? 1 : 6)
      const { rows, labels } = labelledRows(30)
      const order = [4, 4, 0, 29, 17, 8]
      const batch = data.batch(
        { batch: 3, tensor: tensor(Uint32Array.from(order)) },
        tensor(Uint32Array.of(1, 7, 7, 7)),
      )
      const [x, y] = await evaluate([batch.x, batch.target], { device: device() })
      const picked = order.slice(3)
      expect(batch.x.shape).toEqual([3, width])
      expect(Array.from(x ?? [])).toEqual(picked.flatMap((row) => [...rows.slice(row * width, (row + 1) * width)]))
      expect(Array.from(y ?? [])).toEqual(picked.map((row) => labels[row]))
    })

  it('is NaN without a class if the order names no row', async () => {
    using data = featureSet(5)
    const batch = data.batch({ batch: 1, tensor: tensor(Uint32Array.of(5)) }, tensor(Uint32Array.of(0)))
    const [x = [], y = []] = await evaluate([batch.x, batch.target], { device: device() })
    expect([...x].every(Number.isNaN)).toBe(true)
    expect(y[0]).toBeGreaterThanOrEqual(classes)
  })

  it('can be filled piece by piece', async () => {
    const { rows, labels } = labelledRows(30)
    using data = FeatureDataset.allocate(device(), { width, labels, classes, ...inBlocks(30) })
    data.write(11, rows.subarray(11 * width))
    data.write(0, rows.subarray(0, 11 * width))
    const all = tensor(Uint32Array.from({ length: 30 }, (_, i) => i))
    const { x } = data.batch({ batch: 30, tensor: all }, tensor(Uint32Array.of(0)))
    expect(await x.data()).toEqual(rows)
  })
})

describe('statistics', () => {
  it('are the mean and variance of each feature over the rows of the set, and no others', async () => {
    const count = 9000 // more than two groups of rows
    using data = featureSet(count, inBlocks(count))
    const part = data.subset(Array.from({ length: count - 500 }, (_, i) => (i * 7) % count))
    const { rows } = labelledRows(count)
    const { mean, variance } = await part.statistics()
    for (let column = 0; column < width; column++) {
      const values = Array.from(part.indices, (row) => rows[row * width + column] ?? Number.NaN)
      const center = values.reduce((sum, x) => sum + x, 0) / values.length
      const spread = values.reduce((sum, x) => sum + (x - center) ** 2, 0) / values.length
      expect(disagreement([mean[column] ?? 0], [center], { rtol: 1e-5, atol: 0 })).toBeUndefined()
      expect(disagreement([variance[column] ?? 0], [spread], { rtol: 1e-5, atol: 1e-9 })).toBeUndefined()
    }
  })
})

describe('the normalization layer', () => {
  it('subtracts the mean and divides by the deviation; constant features become zero', async () => {
    using model = nn.sequential('standard', [3], [normalization('normalization')])
    model.setWeights(
      new Map([
        ['normalization/mean', { shape: [3], data: Float32Array.of(2, -1, 0.5) }],
        ['normalization/variance', { shape: [3], data: Float32Array.of(4, 0.25, 0) }],
      ]),
    )
    const y = await model.call(tensor([[4, -2, 0.5]])).data({ device: device() })
    expect([...y]).toEqual([1, -2, 0])
    expect(model.trainableWeights).toEqual([])
  })

  it('does not change in training', async () => {
    using data = featureSet(40)
    using model = head()
    const { mean, variance } = await data.statistics()
    const numbers = new Map(await model.weightNumbers())
    numbers.set('normalization/mean', { shape: [width], data: mean })
    numbers.set('normalization/variance', { shape: [width], data: variance })
    model.setWeights(numbers)
    await nn.fit(model, data, { ...base, epochs: 2 })
    const after = await model.weightNumbers()
    expect(after.get('normalization/mean')?.data).toEqual(mean)
    expect(after.get('normalization/variance')?.data).toEqual(variance)
    expect(after.get('hidden/kernel')?.data).not.toEqual(numbers.get('hidden/kernel')?.data)
  })
})

describe('training on features', () => {
  it('gives the same bits twice, and the same in several blocks as in one', async () => {
    const first = await trained()
    expect(await trained()).toEqual(first)
    expect(await trained({}, inBlocks(90))).toEqual(first)
  })

  it('learns the classes, and leaves nothing on the device', async () => {
    const before = device().memory()
    {
      using data = featureSet(400)
      using test = featureSet(200, {}, 2)
      using model = head()
      const { mean, variance } = await data.statistics()
      const numbers = new Map(await model.weightNumbers())
      numbers.set('normalization/mean', { shape: [width], data: mean })
      numbers.set('normalization/variance', { shape: [width], data: variance })
      model.setWeights(numbers)
      const { epochs } = await nn.fit(model, data, { ...base, epochs: 10 })
      expect(epochs.at(-1)?.loss).toBeLessThan(epochs[0]?.loss ?? 0)
      const { accuracy, predictions } = await nn.evaluate(model, test, { batchSize: 64 })
      expect(accuracy).toBeGreaterThan(0.9)
      const right = test.labelsOf().filter((label, i) => label === predictions[i]).length
      expect(right / test.count).toBeCloseTo(accuracy, 6)
    }
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('resumes after a stop as if there had been none', async () => {
    const whole = await trained()
    const controller = new AbortController()
    let checkpoint: TrainingCheckpoint | undefined
    using data = featureSet(90)
    using model = head()
    const stopped = nn.fit(model, data, {
      ...base,
      signal: controller.signal,
      callbacks: {
        onFirstStep: () => controller.abort(),
        onCheckpoint: (next) => {
          checkpoint = next
        },
      },
    })
    expect(await failure(stopped)).toMatchObject({ code: 'aborted' })
    expect(checkpoint).toMatchObject({ epoch: 0, step: 1 })
    using again = head(9)
    const resumed = checkpoint === undefined ? {} : { resume: checkpoint }
    await nn.fit(again, data, { ...base, ...resumed })
    expect(await again.weightNumbers()).toEqual(whole.weights)
  })
})

describe('early stopping', () => {
  /** A rate so high that validation soon gets worse. */
  const restless: Partial<FitOptions> = { optimizer: nn.adam({ learningRate: 0.05 }), epochs: 40 }

  it('stops after `patience` epochs without improvement, and restores the best weights', async () => {
    using data = featureSet(90)
    using model = head()
    const kept = new Map<number, WeightNumbers>()
    const { epochs, bestEpoch } = await nn.fit(model, data, {
      ...base,
      ...restless,
      earlyStopping: { patience: 3 },
      callbacks: { onCheckpoint: ({ epoch, weights }) => void kept.set(epoch, weights) },
    })
    expect(epochs).toHaveLength(bestEpoch + 3)
    expect(epochs.length).toBeLessThan(40)
    expect(await model.weightNumbers()).toEqual(kept.get(bestEpoch))
  })

  it('stops a resumed run where the uninterrupted one stops, with the same weights', async () => {
    const whole = await trained({ ...restless, earlyStopping: { patience: 4 } })
    const stops = whole.epochs.length
    for (const after of [1, stops - 1, stops]) {
      using data = featureSet(90)
      let checkpoint: TrainingCheckpoint | undefined
      using first = head()
      await nn.fit(first, data, {
        ...base,
        ...restless,
        earlyStopping: { patience: 4 },
        callbacks: {
          onCheckpoint: (next) => {
            if (next.epoch === after) checkpoint = next
          },
        },
      })
      if (checkpoint === undefined) throw new Error(`no checkpoint of epoch ${after}`)
      using again = head(9)
      const options = { ...base, ...restless, earlyStopping: { patience: 4 }, resume: checkpoint }
      const { epochs } = await nn.fit(again, data, options)
      expect(epochs).toHaveLength(stops)
      expect(await again.weightNumbers()).toEqual(whole.weights)
    }
  })

  it('needs validation data, and a patience of at least one epoch', async () => {
    using data = featureSet(30)
    using model = head()
    const { validationSplit: _, ...unvalidated } = base
    for (const options of [
      { ...unvalidated, earlyStopping: { patience: 2 } },
      { ...base, earlyStopping: { patience: 0 } },
    ])
      expect(await failure(nn.fit(model, data, options))).toMatchObject({ code: 'argument' })
    expect(model.device).toBeUndefined()
  })
})

describe('refused before anything is changed:', () => {
  it('rows that do not fit the model, or have more classes than it has outputs', async () => {
    using data = featureSet(30)
    using wide = nn.sequential('wide', [width + 1], [nn.dense('logits', classes)])
    using few = nn.sequential('few', [width], [nn.dense('logits', 2)])
    expect(await failure(nn.fit(wide, data, base))).toMatchObject({
      code: 'shape',
      message: expect.stringMatching(/wide.*22.*21/),
    })
    expect(await failure(nn.fit(few, data, base))).toMatchObject({ code: 'mismatch' })
    expect(await failure(nn.evaluate(wide, data))).toMatchObject({ code: 'shape' })
  })

  it('invalid data sets', () => {
    const before = device().memory().liveBytes
    const labels = Uint8Array.of(0, 1, 2)
    const attempts: readonly [Partial<FeatureSpec>, string][] = [
      [{ width: 0 }, 'data'],
      [{ width: 1.5 }, 'data'],
      [{ labels: new Uint8Array(0) }, 'data'],
      [{ labels: Uint8Array.of(0, 3) }, 'data'],
      [{ blockBytes: 11 }, 'limit'],
    ]
    for (const [spec, code] of attempts)
      expect(() => FeatureDataset.allocate(device(), { width, labels, classes, ...spec })).toThrow(
        expect.objectContaining({ code }),
      )
    expect(device().memory().liveBytes).toBe(before)
  })

  it('numbers that do not fill whole rows, or do not fit', () => {
    using data = featureSet(4)
    for (const [first, rows] of [
      [0, new Float32Array(width + 1)],
      [3, new Float32Array(2 * width)],
      [-1, new Float32Array(width)],
      [0.5, new Float32Array(width)],
    ] as const)
      expect(() => data.write(first, rows)).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('subsets of rows that do not exist', () => {
    using data = featureSet(4)
    expect(() => data.subset([])).toThrow(/at least one row/)
    expect(() => data.subset([4])).toThrow(/no row 4 in a set of 4/)
  })
})
