/** A layer, or a model, in several places of a model: one set of weights, counted, trained, saved and frozen once. */
import { describe, expect, it } from 'vitest'
import { abs, mean, square, sub, type Tensor, tensor } from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(3 * i + 1))
const rows = tensor(numbers(12), [3, 4])

/** One input whose halves go through the same tower: Siamese. */
function siamese(): nn.Model {
  const tower = nn.sequential(
    'tower',
    [4, 4, 2],
    [nn.conv2d('conv', 3, 3, { useBias: false }), nn.batchNormalization('norm'), nn.activation('relu'), nn.flatten()],
    { seed: 5 },
  )
  const net = new nn.Wiring()
  const top = net.chain(
    net.input,
    nn.cropping2d([
      [0, 4],
      [0, 0],
    ]),
    tower,
  )
  const bottom = net.chain(
    net.input,
    nn.cropping2d([
      [4, 0],
      [0, 0],
    ]),
    tower,
  )
  net.chain(net.merge(nn.subtract('difference'), top, bottom), nn.dense('head', 1))
  return net.model('siamese', [8, 4, 2])
}
const pairs = tensor(numbers(2 * 64), [2, 8, 4, 2])

describe('a layer used again', () => {
  it('has one set of weights, and computes with it in each place', async () => {
    const both = nn.dense('both', 4, { activation: 'tanh' })
    using model = nn.sequential('twice', [4], [both, both, nn.dense('logits', 2)])
    using once = nn.sequential('once', [4], [nn.dense('both', 4, { activation: 'tanh' })])
    expect(model.weights.map(({ name }) => name)).toEqual(['both/kernel', 'both/bias', 'logits/kernel', 'logits/bias'])
    expect(model.parameterCount).toBe(20 + 10)
    expect(model.summary()).toMatch(/both \(Dense\) +\[batch, 4\] +used again/)
    const [, second] = model.features(rows, ['both', 'logits'])
    expect(second?.shape).toEqual([3, 2])
    const hidden = await once.call(once.call(rows)).data({ device: device() })
    const outputs: unknown[] = []
    const seen: Tensor[] = []
    model.call(rows, { tap: (_, output) => seen.push(output) })
    for (const output of seen) outputs.push(await output.data({ device: device() }))
    expect(outputs[1]).toEqual(hidden)
  })

  it('is named once if it is unnamed', () => {
    const relu = nn.activation('relu')
    using model = nn.sequential('m', [4], [nn.dense(4), relu, nn.dense(4), relu, nn.activation('relu')])
    expect(model.layers.map(({ layer }) => layer.name)).toEqual([
      ...['dense', 'activation', 'dense_1', 'activation', 'activation_1'],
    ])
  })

  it('is refused where its weights would have other shapes, and names still differ', () => {
    const both = nn.dense('both', 3)
    expect(() => nn.sequential('m', [4], [both, both])).toThrow(
      /both\/kernel is \[4, 3\], not \[3, 3\] as for another input/,
    )
    expect(() => nn.sequential('m', [4], [nn.dense('a', 4), nn.dense('a', 4)])).toThrow(/two layers called a/)
  })

  it('is trained as the same products with one weight', async () => {
    const both = nn.dense('both', 4, { activation: 'tanh' })
    using model = nn.sequential('twice', [4], [both, both]).to(device())
    using once = nn.sequential('once', [4], [nn.dense('both', 4, { activation: 'tanh' })]).to(device())
    using step = nn.trainStep(
      model,
      ({ x }, options) => mean(square(model.call(x as Tensor, options))),
      nn.sgd({ learningRate: 0.5 }),
    )
    using other = nn.trainStep(
      once,
      ({ x }, options) => mean(square(once.call(once.call(x as Tensor, options), options))),
      nn.sgd({ learningRate: 0.5 }),
    )
    for (let i = 0; i < 3; i++) {
      await step.run({ x: rows })
      await other.run({ x: rows })
    }
    expect(await step.losses()).toEqual(await other.losses())
    expect(await model.weightNumbers()).toEqual(await once.weightNumbers())
  })

  it('draws another dropout mask at each use', async () => {
    const drop = nn.dropout('drop', 0.5)
    const net = new nn.Wiring()
    net.merge(nn.subtract(), net.chain(net.input, drop), net.chain(net.input, drop))
    using model = net.model('masks', [64])
    const x = tensor(numbers(64), [1, 64])
    expect((await abs(model.call(x, { training: true })).data({ device: device() })).some((d) => d > 0)).toBe(true)
    expect([...(await model.call(x).data({ device: device() }))]).toEqual(new Array(64).fill(0))
  })

  it('moves its statistics once for each use, one after the other, as Keras does', async () => {
    const norm = nn.batchNormalization('norm', { momentum: 0.5, center: false, scale: false })
    const net = new nn.Wiring()
    const doubled = net.chain(net.input, nn.rescaling(3, { offset: 2 }))
    net.chain(net.merge(nn.add(), net.chain(net.input, norm), net.chain(doubled, norm)), nn.dense('out', 1))
    using model = net.model('statistics', [4]).to(device())
    using step = nn.trainStep(
      model,
      ({ x }, options) => mean(square(model.call(x as Tensor, options))),
      nn.sgd({ learningRate: 0.1 }),
    )
    await step.run({ x: rows })
    await step.losses()
    const found = (await model.weightNumbers()).get('norm/moving_mean')?.data ?? []
    const given = numbers(12)
    for (let c = 0; c < 4; c++) {
      const m = [0, 1, 2].reduce((sum, row) => sum + (given[4 * row + c] ?? 0) / 3, 0)
      expect(found[c]).toBeCloseTo(0.5 * (0.5 * m) + 0.5 * (3 * m + 2), 5)
    }
  })
})

describe('a model used again', () => {
  it('has its weights once, and the difference of equal halves is nothing', async () => {
    using model = siamese()
    expect(model.weights.map(({ name }) => name)).toEqual([
      ...['tower/conv/kernel', 'tower/norm/gamma', 'tower/norm/beta', 'tower/norm/moving_mean'],
      ...['tower/norm/moving_variance', 'head/kernel', 'head/bias'],
    ])
    const half = numbers(32)
    const same = tensor(Float32Array.from([...half, ...half]), [1, 8, 4, 2])
    const [difference] = model.features(same, ['difference'])
    expect([...((await difference?.data({ device: device() })) ?? [])]).toEqual(new Array(12).fill(0))
    const [other] = model.features(pairs, ['difference'])
    expect((await other?.data())?.some((d) => d !== 0)).toBe(true)
  })

  it('survives a file, with its weights once', async () => {
    using model = siamese().to(device())
    const bytes = await nn.encodeModel(model)
    using back = nn.decodeModel(bytes).model
    expect(back.summary()).toBe(model.summary())
    expect(back.weights).toHaveLength(7)
    expect(await back.call(pairs).data({ device: device() })).toEqual(await model.call(pairs).data())
    expect(await nn.encodeModel(back)).toEqual(bytes)
    const text = new TextDecoder('latin1').decode(bytes)
    // The name again, with other settings.
    const at = text.lastIndexOf('"use_bias\\":false')
    const forged = bytes.slice()
    forged.set(new TextEncoder().encode('"use_bias\\":true '), at)
    expect(() => nn.decodeModel(forged)).toThrow(expect.objectContaining({ code: 'format' }))
  })

  it('within a model that is used again', async () => {
    using part = siamese()
    const net = new nn.Wiring()
    const again = net.chain(net.input, nn.rescaling(0.5), part)
    net.merge(nn.concatenate(), net.chain(net.input, part), again)
    using model = net.model('outer', [8, 4, 2])
    expect(model.weights).toHaveLength(7)
    const [direct] = await Promise.all([part.call(pairs).data({ device: device() })])
    const found = await model.call(pairs).data({ device: device() })
    expect([found[0], found[2]]).toEqual([direct?.[0], direct?.[1]])
  })

  it('is frozen once: merged where its neighbours are the same at each use', async () => {
    using model = siamese().to(device())
    const moved = [...(await model.weightNumbers())].map(
      ([name, { shape, data }]) => [name, { shape, data: data.map((x, i) => x + 0.3 + 0.1 * Math.cos(i)) }] as const,
    )
    model.setWeights(new Map(moved))
    using frozen = nn.freeze(model)
    expect(frozen.layers.map(({ layer }) => layer.className)).not.toContain('BatchNormalization')
    expect(frozen.weights.map(({ name }) => name)).toEqual([
      ...['tower/norm/kernel', 'tower/norm/bias', 'head/kernel', 'head/bias'],
    ])
    await frozen.load(device(), (weight) => model.read(weight))
    const [a, b] = [await model.call(pairs).data(), await frozen.call(pairs).data()]
    for (const [i, x] of b.entries()) expect(x).toBeCloseTo(a[i] ?? Number.NaN, 5)
  })

  it('is frozen as it is where its neighbours differ', async () => {
    const conv = nn.conv2d('conv', 2, 3, { padding: 'same' })
    const net = new nn.Wiring()
    const left = net.chain(net.input, conv, nn.batchNormalization('one'))
    const right = net.chain(net.input, nn.activation('tanh'), conv, nn.batchNormalization('two'), conv)
    net.merge(nn.add(), left, right)
    using model = net.model('mixed', [4, 4, 2]).to(device())
    const moved = [...(await model.weightNumbers())].map(
      ([name, { shape, data }]) => [name, { shape, data: data.map((x, i) => x + 0.3 + 0.1 * Math.cos(i)) }] as const,
    )
    model.setWeights(new Map(moved))
    using frozen = nn.freeze(model)
    await frozen.load(device(), (weight) => model.read(weight))
    const x = tensor(numbers(64), [2, 4, 4, 2])
    const [a, b] = [await model.call(x).data(), await frozen.call(x).data()]
    expect(Math.max(...(await abs(sub(tensor(a, [64]), tensor(b, [64]))).data()))).toBeLessThan(1e-5)
  })
})
