/** Initializers and regularizers: by value, name and description; what they compute, and what files keep of them. */
import { describe, expect, it } from 'vitest'
import { residentImages } from '../src/data/dataset.ts'
import { add, mean, square, sub, tensor } from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import { describeLayer, layerOf } from '../src/nn/layers/registry.ts'
import { Random } from '../src/random.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

const statistics = (numbers: Float32Array) => {
  const average = numbers.reduce((sum, x) => sum + x, 0) / numbers.length
  const variance = numbers.reduce((sum, x) => sum + (x - average) ** 2, 0) / numbers.length
  return { average, variance, largest: numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 0) }
}

describe('initializers', () => {
  it.each([
    ['glorot_uniform', nn.glorotUniform, 2 / 300, Math.sqrt(6 / 300)],
    ['glorot_normal', nn.glorotNormal, 2 / 300, (2 * Math.sqrt(2 / 300)) / 0.8796],
    ['he_uniform', nn.heUniform, 2 / 100, Math.sqrt(6 / 100)],
    ['he_normal', nn.heNormal, 2 / 100, (2 * Math.sqrt(2 / 100)) / 0.8796],
    ['lecun_uniform', nn.lecunUniform, 1 / 100, Math.sqrt(3 / 100)],
    ['lecun_normal', nn.lecunNormal, 1 / 100, (2 * Math.sqrt(1 / 100)) / 0.8796],
    ['random_uniform', nn.randomUniform(), 0.1 ** 2 / 12, 0.05],
    ['random_normal', nn.randomNormal(), 0.05 ** 2, 0.05 * 6],
    ['truncated_normal', nn.truncatedNormal(), (0.05 * 0.8796) ** 2, 0.1],
    ['variance_scaling', nn.varianceScaling(), 1 / 100, (2 * Math.sqrt(1 / 100)) / 0.8796],
  ] as const)('%s has the variance of its definition, by name and by value', async (name, value, variance, limit) => {
    const [byName, byValue] = await Promise.all(
      [name, value].map(async (kernelInitializer) => {
        using model = nn.sequential('m', [100], [nn.dense('d', 200, { kernelInitializer })])
        return (await model.weightNumbers()).get('d/kernel')?.data ?? new Float32Array()
      }),
    )
    expect(byName).toEqual(byValue)
    const found = statistics(byName ?? new Float32Array())
    // 20,000 numbers: the standard error of a variance is at most 1 % of it.
    expect(found.variance / variance).toBeGreaterThan(0.95)
    expect(found.variance / variance).toBeLessThan(1.05)
    expect(found.largest).toBeLessThanOrEqual(limit * 1.0001)
    expect(Math.abs(found.average)).toBeLessThan(4 * Math.sqrt(variance / 20_000))
  })

  it.each([
    ['tall', [3, 4, 5]],
    ['wide', [4, 9]],
  ])('orthogonal makes the shorter side of a %s kernel orthogonal', (_, shape) => {
    const numbers = nn.orthogonal({ gain: 2 })(shape, new Random(1, 'w'))
    const columns = shape.at(-1) ?? 1
    const rows = numbers.length / columns
    const at = (row: number, column: number): number => numbers[row * columns + column] ?? Number.NaN
    const [count, length] = rows >= columns ? [columns, rows] : [rows, columns]
    const vector = (i: number): number[] => Array.from({ length }, (_, j) => (rows >= columns ? at(j, i) : at(i, j)))
    for (let i = 0; i < count; i++)
      for (let j = 0; j < count; j++) {
        const product = vector(i).reduce((sum, x, k) => sum + x * (vector(j)[k] ?? 0), 0)
        expect(product).toBeCloseTo(i === j ? 4 : 0, 5)
      }
  })

  it('identity and constant are what they say; kernels alone can be orthogonal', () => {
    const random = new Random(1)
    expect([...nn.identityInitializer({ gain: 3 })([2, 3], random)]).toEqual([3, 0, 0, 0, 3, 0])
    expect([...nn.identityInitializer()([3, 2], random)]).toEqual([1, 0, 0, 1, 0, 0])
    expect([...nn.constantInitializer(0.5)([2], random)]).toEqual([0.5, 0.5])
    for (const initializer of [nn.orthogonal(), nn.identityInitializer()])
      expect(() => initializer([4], random)).toThrow(expect.objectContaining({ code: 'shape' }))
  })
})

describe('options of weights', () => {
  it.each([
    [nn.dense('l', 2, { kernelInitializer: 'he_normal', biasRegularizer: nn.l1(0.5) }), [3]],
    [nn.conv2d('l', 2, 1, { kernelRegularizer: nn.l1l2({ l1: 0.1, l2: 0.2 }), biasInitializer: 'ones' }), [3, 3, 2]],
    [nn.depthwiseConv2d('l', 1, { depthwiseInitializer: nn.orthogonal({ gain: 2 }) }), [3, 3, 2]],
    [nn.separableConv2d('l', 2, 1, { pointwiseRegularizer: 'l2' }), [3, 3, 2]],
    [nn.batchNormalization('l', { gammaRegularizer: 'l1', movingMeanInitializer: nn.constantInitializer(2) }), [4]],
    [nn.multiHeadAttention('l', 1, 2, { kernelRegularizer: 'l2', kernelInitializer: 'lecun_normal' }), [3, 4]],
  ])('are kept by a description: %o', (layer, shape) => {
    const described = JSON.parse(JSON.stringify(describeLayer(layer)))
    const back = layerOf(described)
    expect(describeLayer(back)).toEqual(described)
    const specs = (own: nn.Layer) =>
      own.weights([shape]).map(({ initializer, regularizer, ...spec }) => ({
        ...spec,
        numbers: initializer(spec.shape, new Random(1, spec.name)),
        regularizer: regularizer?.className,
        config: regularizer?.config,
      }))
    expect(specs(back)).toEqual(specs(layer))
    expect(Object.keys(described.config).some((key) => /_(initializer|regularizer)$/.test(key))).toBe(true)
  })

  it("take a class's name and settings", () => {
    const [kernel] = nn.dense('d', 2, { kernelRegularizer: { className: 'L2', config: { l2: 3 } } }).weights([[2]])
    expect(kernel?.regularizer?.config).toEqual({ l2: 3 })
    expect(() =>
      nn.dense('d', 2, { kernelRegularizer: { className: 'L2', config: { l3: 3 } } }).weights([[2]]),
    ).toThrow(/no option l3/)
    expect(() => nn.dense('d', 2, { kernelRegularizer: 'l3' as 'l2' })).toThrow(/one of l1, l2, l1_l2/)
  })

  it('refuse to describe a regularizer of your own, which a file cannot hold', () => {
    const layer = nn.dense('d', 2, { kernelRegularizer: (weight) => mean(square(weight)) })
    expect(() => describeLayer(layer)).toThrow(/kernelRegularizer is a function without a name/)
  })
})

describe('a penalty', () => {
  const settings = {
    kernelRegularizer: nn.l1l2({ l1: 0.1, l2: 0.2 }),
    biasRegularizer: nn.l2(0.3),
    biasInitializer: 'ones',
  } as const

  it('sums the penalties of the trained weights', async () => {
    const layers = [nn.dense('a', 2, settings), nn.dense('b', 2, settings)]
    using model = nn.sequential('m', [3], layers, { trainable: ({ name }) => name === 'a' }).to(device())
    const kernel = (await model.weightNumbers()).get('a/kernel')?.data ?? new Float32Array()
    const expected = kernel.reduce((sum, x) => sum + 0.1 * Math.abs(x) + 0.2 * x * x, 2 * 0.3)
    expect(await model.penalty()?.item()).toBeCloseTo(expected, 5)
    using plain = nn.sequential('m', [3], [nn.dense(2)])
    expect(plain.penalty()).toBeUndefined()
  })

  it('is part of the loss of evaluate, fit, its validation, and trainStep', async () => {
    const data = residentImages(device(), {
      ...{ images: Uint8Array.from({ length: 64 }, (_, i) => i * 3), labels: [0, 1, 2, 0] },
      ...{ height: 4, width: 4, channels: 1, classes: 3 },
    })
    const build = (own: object): nn.Model => nn.sequential('m', [4, 4, 1], [nn.flatten(), nn.dense('d', 3, own)])
    try {
      using model = build(settings)
      using plain = build({ biasInitializer: 'ones' })
      model.to(device())
      plain.to(device())
      const penalty = (await model.penalty()?.item()) ?? Number.NaN
      expect(penalty).toBeGreaterThan(0.9)
      const expected = (await nn.evaluate(plain, data)).loss + penalty
      expect((await nn.evaluate(model, data)).loss).toBeCloseTo(expected, 4)
      const loss = nn.sparseCategoricalCrossentropy()
      expect((await nn.evaluate(model, data, { loss })).loss).toBeCloseTo(expected, 4)
      const before = await model.weightNumbers()
      const optimizer = nn.sgd({ learningRate: 0.01 })
      const history = await nn.fit(model, data, { optimizer, epochs: 1, batchSize: 4, validation: data })
      expect(history.epochs[0]?.loss).toBeCloseTo(expected, 4)
      const after = (await nn.evaluate(model, data)).loss
      expect(history.epochs[0]?.validationLoss).toBeCloseTo(after, 4)
      const bias = (await model.weightNumbers()).get('d/bias')?.data[0] ?? 0
      expect(bias).toBeLessThan(before.get('d/bias')?.data[0] ?? 0)
    } finally {
      data.dispose()
    }
    const [x, y] = [tensor([[1, 2]]), tensor([[1]])]
    using regular = nn.sequential('r', [2], [nn.dense('d', 1, settings)]).to(device())
    const own = add(mean(square(sub(regular.call(x), y))), regular.penalty() ?? 0)
    const expected = await own.item()
    using step = nn.trainStep(regular, nn.meanSquaredError(), nn.sgd())
    await step.run({ x, y })
    expect((await step.losses())[0]).toBeCloseTo(expected, 5)
  })
})
