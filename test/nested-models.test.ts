/** Models as parts of models: their names, weights, training, files and freezing; and weights taken by name. */
import { describe, expect, it } from 'vitest'
import { add, mean, square, sub, tensor } from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import * as weights from '../src/weights/index.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()

const encoder = (options: nn.ModelOptions = {}): nn.Model =>
  nn.sequential(
    'encoder',
    [6, 6, 2],
    [
      nn.conv2d('conv', 4, 3, { useBias: false }),
      nn.batchNormalization('norm'),
      nn.activation('relu'),
      nn.dropout('drop', 0.5),
    ],
    { seed: 7, ...options },
  )
const outer = (part: nn.Model, options: nn.ModelOptions = {}): nn.Model =>
  nn.sequential('outer', [6, 6, 2], [nn.activation('tanh'), part, nn.flatten(), nn.dense('head', 3)], options)
const images = tensor(
  Float32Array.from({ length: 144 }, (_, i) => Math.sin(i)),
  [2, 6, 6, 2],
)

describe('a model within a model', () => {
  it('has its layers and weights there, under its name', () => {
    using model = outer(encoder())
    expect(model.weights.map(({ name }) => name)).toEqual([
      ...['encoder/conv/kernel', 'encoder/norm/gamma', 'encoder/norm/beta'],
      ...['encoder/norm/moving_mean', 'encoder/norm/moving_variance', 'head/kernel', 'head/bias'],
    ])
    expect(model.summary()).toContain('encoder/conv (Conv2D)')
    expect(model.outputShape).toEqual([3])
  })

  it('computes what it computes by itself, from numbers on the host and on a device', async () => {
    for (const isPlaced of [false, true]) {
      using part = encoder()
      const kernel = new Float32Array(72).map((_, i) => Math.cos(i))
      part.setWeights(new Map([['conv/kernel', { shape: [3, 3, 2, 4], data: kernel }]]), { partial: true })
      if (isPlaced) part.to(device())
      using model = nn.sequential('outer', [6, 6, 2], [part, nn.flatten()])
      using twice = nn.sequential('third', [6, 6, 2], [model])
      expect((await twice.weightNumbers()).get('outer/encoder/conv/kernel')?.data).toEqual(kernel)
      const expected = await part.call(images).data({ device: device() })
      expect(await model.call(images).data({ device: device() })).toEqual(expected)
      expect(await twice.call(images).data({ device: device() })).toEqual(expected)
      const [features] = model.features(images, ['encoder'])
      expect(await features?.data()).toEqual(expected)
    }
  })

  it('can branch, and be one of several', async () => {
    const net = new nn.Wiring()
    const start = net.chain(net.input, nn.conv2d('stem', 2, 1))
    const left = net.chain(start, encoder())
    const right = net.chain(start, nn.conv2d('right', 4, 3))
    net.merge(nn.add('sum'), left, right)
    using model = net.model('branched', [6, 6, 2])
    using flat = encoder()
    const [stem, wanted, side, sum] = model.features(images, ['stem', 'encoder', 'right', 'sum'])
    if (stem === undefined || wanted === undefined || side === undefined) throw new Error('there are four')
    const [a, b, c] = [await wanted.data({ device: device() }), await side.data(), await sum?.data()]
    expect(c).toEqual(a.map((x, i) => x + (b[i] ?? 0)))
    expect(await flat.call(tensor(Float32Array.from(await stem.data()), [2, 6, 6, 2])).data()).toEqual(a)
  })

  it('is not trained if it, or the outer model, says so: normalisations then keep their statistics', async () => {
    for (const [part, options] of [
      [encoder({ trainable: false }), {}],
      [encoder(), { trainable: ({ name }: nn.Layer) => !name.startsWith('encoder/') }],
    ] as const) {
      using model = outer(part, options).to(device())
      expect(model.trainableWeights.map(({ name }) => name)).toEqual(['head/kernel', 'head/bias'])
      const before = await model.weightNumbers()
      using step = nn.trainStep(model, nn.meanSquaredError(), nn.sgd({ learningRate: 0.1 }))
      await step.run({ x: images, y: tensor(new Float32Array(6), [2, 3]) })
      await step.losses()
      const changed = [...(await model.weightNumbers())].filter(
        ([name, { data }]) => data.join() !== before.get(name)?.data.join(),
      )
      expect(changed.map(([name]) => name)).toEqual(['head/kernel', 'head/bias'])
    }
  })

  it('is trained as the same layers without it, and gives its weights back', async () => {
    using part = encoder()
    using model = outer(part).to(device())
    using step = nn.trainStep(model, nn.meanSquaredError(), nn.sgd({ learningRate: 0.1 }))
    await step.run({ x: images, y: tensor(new Float32Array(6), [2, 3]) })
    await step.losses()
    const own = await model.nestedWeights('encoder')
    expect(own.get('norm/moving_mean')?.data.some((x) => x !== 0)).toBe(true)
    expect(own.get('conv/kernel')?.data).not.toEqual((await part.weightNumbers()).get('conv/kernel')?.data)
    expect(part.setWeights(own).left).toEqual([])
    await expect(model.nestedWeights('encoders')).rejects.toMatchObject({ code: 'argument' })
  })

  it('survives a file, with what is not trained', async () => {
    using model = outer(encoder({ trainable: false })).to(device())
    const bytes = await nn.encodeModel(model)
    using back = nn.decodeModel(bytes).model
    expect(back.summary()).toBe(model.summary())
    expect(back.trainableWeights.map(({ name }) => name)).toEqual(['head/kernel', 'head/bias'])
    expect(await back.weightNumbers()).toEqual(await model.weightNumbers())
    expect(await nn.encodeModel(back)).toEqual(bytes)
    using loaded = outer(encoder())
    await weights.loadWeights(loaded, device(), await weights.open(bytes))
    expect(await loaded.weightNumbers()).toEqual(await model.weightNumbers())
  })

  it('is frozen with the rest', async () => {
    using model = outer(encoder()).to(device())
    using frozen = nn.freeze(model)
    expect(frozen.layers.map(({ layer }) => layer.className)).not.toContain('BatchNormalization')
    await frozen.load(device(), (weight) => model.read(weight))
    const [a, b] = [await model.call(images).data(), await frozen.call(images).data()]
    b.forEach((x, i) => {
      expect(x).toBeCloseTo(a[i] ?? Number.NaN, 5)
    })
    using within = nn.sequential('m', [6, 6, 2], [frozen])
    expect(await within.call(images).data()).toEqual(b)
    expect(() => frozen.features(images, ['head'], { training: true })).toThrow(/is frozen/)
  })

  it('is refused for inputs of another shape, for several inputs, or after its disposal', () => {
    using part = encoder()
    expect(() => nn.sequential('m', [6, 6, 2], [part, part])).toThrow(expect.objectContaining({ code: 'shape' }))
    const wired = [{ layer: part, inputs: [-1, -1] }]
    expect(() => new nn.Model('m', [6, 6, 2], wired)).toThrow(/encoder takes one input, not 2/)
    expect(() => nn.sequential('m', [6, 6, 3], [part])).toThrow(expect.objectContaining({ code: 'shape' }))
    using model = outer(part)
    part.dispose()
    expect(() => model.to(device())).toThrow(expect.objectContaining({ code: 'disposed' }))
  })
})

describe('weights by name', () => {
  it('are taken where names and shapes fit, from numbers and from files', async () => {
    const build = (classes: number, seed: number): nn.Model =>
      nn.sequential('m', [4], [nn.dense('a', 5), nn.dense('head', classes)], { seed })
    using trained = build(3, 1)
    const given = await trained.weightNumbers()
    const file = await weights.open(await nn.encodeModel(trained))
    for (const take of [
      (model: nn.Model) => model.setWeights(given, { partial: true }),
      (model: nn.Model) => weights.loadWeightsByName(model, file),
    ]) {
      using model = build(2, 2)
      const before = await model.weightNumbers()
      expect(await take(model)).toEqual({ taken: ['a/kernel', 'a/bias'], left: ['head/kernel', 'head/bias'] })
      const after = await model.weightNumbers()
      expect(after.get('a/kernel')).toEqual(given.get('a/kernel'))
      expect(after.get('head/kernel')).toEqual(before.get('head/kernel'))
    }
    using frozen = nn.freeze(trained)
    await expect(weights.loadWeightsByName(frozen, file)).rejects.toMatchObject({ code: 'argument' })
  })
})

it('features of a network with two heads are trained in one step, with the statistics of its body', async () => {
  const net = new nn.Wiring()
  const body = net.chain(net.input, nn.dense('body', 4), nn.batchNormalization('norm'))
  net.chain(body, nn.dense('left', 1))
  net.chain(body, nn.dense('right', 1))
  using model = net.model('heads', [2]).to(device())
  const before = await model.weightNumbers()
  using step = nn.trainStep<'x'>(
    model,
    ({ x }, training) => {
      const [left, right] = model.features(x, ['left', 'right'], training)
      if (left === undefined || right === undefined) throw new Error('there are two')
      return mean(add(square(left), square(sub(right, 1))))
    },
    nn.sgd({ learningRate: 0.1 }),
  )
  await step.run({ x: tensor([1, 2, 3, 5, 8, 6], [3, 2]) })
  await step.losses()
  for (const name of ['norm/moving_mean', 'left/kernel', 'right/kernel', 'body/kernel'])
    expect((await model.weightNumbers()).get(name)?.data).not.toEqual(before.get(name)?.data)
})
