/** What goes over a whole data set: its examples as tensors, predictions, own metrics, and statistics for normalisation. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { data, evaluate, nn, type Tensor, tensor } from '../src/index.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()

const numbers = Float32Array.from({ length: 30 }, (_, i) => i)
const rowsOf = (): data.ArrayDataset =>
  data.arrays({
    ...{ x: numbers, shape: [3], y: Uint8Array.from({ length: 10 }, (_, i) => i % 3), device: device() },
    sampleWeight: Float32Array.from({ length: 10 }, (_, i) => i / 10),
  })
const imagesOf = (): data.ImageDataset => {
  const images = Uint8Array.from({ length: 6 * 2 * 2 }, (_, i) => i * 10)
  const labels = Uint8Array.from({ length: 6 }, (_, i) => i)
  return data.residentImages(device(), { images, labels, height: 2, width: 2, channels: 1, classes: 6 })
}
const listed = async (...tensors: readonly Tensor[]): Promise<number[][]> =>
  (await evaluate(tensors, { device: device() })).map((one) => Array.from(one))

describe('data.examples', () => {
  it('takes positions in a subset, with targets and weights', async () => {
    using set = rowsOf()
    const part = set.subset([7, 2, 5])
    const { x, target, sampleWeight } = data.examples(part, tensor([2, 0], [2], 'u32'))
    const [xs, targets, weights] = await listed(x, target, sampleWeight as Tensor)
    expect(xs).toEqual([15, 16, 17, 21, 22, 23])
    expect(targets).toEqual([2, 1])
    expect(weights).toEqual([Math.fround(0.5), Math.fround(0.7)])
    expect((await listed(data.examples(part).x))[0]).toEqual([21, 22, 23, 6, 7, 8, 15, 16, 17])
  })

  it('pads images to a shape, and divides them by 255', async () => {
    using set = imagesOf()
    const { x, target } = data.examples(set.subset([1]), undefined, [4, 4, 1])
    const [pixels, labels] = await listed(x, target)
    expect(labels).toEqual([1])
    const inner = [40, 50, 60, 70].map((byte) => Math.fround(byte / 255))
    expect(pixels?.filter((pixel) => pixel > 0)).toEqual(inner)
    expect(pixels).toHaveLength(16)
    expect(set.shape).toEqual([2, 2, 1])
  })

  it('gives NaN beyond the end, and never another example', async () => {
    using set = rowsOf()
    const { x } = data.examples(set.subset([0, 1]), tensor([2, 1], [2], 'u32'))
    const [[a, , , b] = []] = await listed(x)
    expect([a, b]).toEqual([Number.NaN, 3])
  })

  it('refuses generators, and shapes that do not fit', async () => {
    const batches = (): Iterable<data.GeneratedExamples> => []
    using made = data.generator({ shape: [3], count: 4, batches, device: device() })
    expect(await failure(() => data.examples(made))).toMatchObject({
      code: 'argument',
      message: expect.stringMatching(/in their own order/),
    })
    using set = rowsOf()
    expect(await failure(() => data.examples(set, undefined, [4]))).toMatchObject({ code: 'shape' })
  })
})

it('predict gives the outputs for a data set, in its order, also beyond one piece', async () => {
  const count = 600
  const x = Float32Array.from({ length: count * 2 }, (_, i) => Math.sin(i))
  using set = data.arrays({ x, shape: [2], y: new Float32Array(count), device: device() })
  using model = nn.sequential('small', [2], [nn.dense(3, { activation: 'tanh' })])
  const expected = await nn.predict(model, x)
  expect(await nn.predict(model, set)).toEqual(expected)
  expect(await nn.predict(model, set.subset([599, 0]))).toEqual(
    Float32Array.of(...expected.slice(-3), ...expected.slice(0, 3)),
  )
  using wide = nn.sequential('wide', [5], [nn.dense(3)])
  await expect(nn.predict(wide, set)).rejects.toMatchObject({ code: 'shape' })
})

it('predict takes fewer examples at once where the device cannot bind the outputs of a layer for 256', async () => {
  const count = 200
  const most = device().limits.maxStorageBufferBindingSize
  // One layer's output for all examples is a third larger than a binding; for half of them it fits.
  const width = Math.ceil((most * 4) / 3 / count / 4)
  const x = Float32Array.from({ length: count }, (_, i) => i)
  using set = data.arrays({ x, shape: [1], y: x, device: device() })
  const sum = nn.dense('sum', 1, { kernelInitializer: 'ones' })
  using model = nn.sequential('wide', [1], [nn.dense('spread', width, { kernelInitializer: 'ones' }), sum])
  const outputs = await nn.predict(model, set)
  expect(
    disagreement(
      outputs,
      Float32Array.from(x, (one) => one * width),
      { rtol: 1e-6, atol: 0 },
    ),
  ).toBeUndefined()
  expect(await nn.predict(model, x)).toEqual(outputs)
})

it('evaluate takes metrics of its own without a loss: the default one stands beside them', async () => {
  using set = imagesOf()
  using model = nn.sequential('classes', set.shape, [nn.flatten(), nn.dense(6)])
  const { loss, accuracy } = await nn.evaluate(model, set)
  const scores = await nn.evaluate(model, set, { metrics: [nn.accuracy(), nn.topKAccuracy(6)] })
  expect(scores).toEqual({ loss, accuracy, top6Accuracy: 1 })
})

describe("normalization().adapt has Keras' statistics", () => {
  interface Numbers {
    readonly shape: number[]
    readonly data: number[]
  }
  const fixture = new URL('fixtures/keras-normalization/adapted.json', import.meta.url)
  const { cases } = JSON.parse(readFileSync(fixture, 'utf8')) as {
    readonly cases: readonly (Readonly<Record<'data' | 'mean' | 'variance' | 'output', Numbers>> & { name: string })[]
  }

  it.each(cases.map((one) => [one.name, one] as const))('of %s', async (_, { data: given, ...expected }) => {
    const [count = 0, ...shape] = given.shape
    const x = Float32Array.from(given.data)
    // Two examples that adapting must not see.
    const others = new Float32Array((x.length / count) * 2).fill(99)
    using set = data.arrays({ x: [...x, ...others], shape, y: new Float32Array(count + 2), device: device() })
    const layer = await nn.normalization().adapt(set.subset(Array.from({ length: count }, (_, i) => i)))
    using model = nn.sequential('normal', shape, [layer])
    for (const [weight, { data: numbers }] of [
      [model.weights[0], expected.mean],
      [model.weights[1], expected.variance],
    ] as const) {
      if (weight === undefined) throw new Error('there are two weights')
      model.to(device())
      expect(disagreement(await model.read(weight), numbers, { rtol: 2e-6, atol: 1e-7 })).toBeUndefined()
    }
    const own = await nn.predict(model, x)
    // Column 2 of the rows is constant: its deviation is a rounding error in both, divided by the least deviation.
    const isConstant = (i: number): boolean => shape.length === 1 && i % 4 === 2
    const varying = (all: ArrayLike<number>): number[] => Array.from(all).filter((_, i) => !isConstant(i))
    expect(disagreement(varying(own), varying(expected.output.data), { rtol: 1e-5, atol: 2e-6 })).toBeUndefined()
  })

  it('in pieces as in one, and in a file of the model', async () => {
    // 6 million numbers: more than go through at once.
    const [count, width] = [3000, 2000]
    const x = Float32Array.from({ length: count * width }, (_, i) => 100 + Math.sin(i) * (1 + (i % 3)))
    using set = data.arrays({ x, shape: [width], y: new Float32Array(count), device: device() })
    using model = nn.sequential('normal', [width], [await nn.normalization().adapt(set), nn.dense(2)])
    const { mean, variance } = await set.statistics()
    const weights = await model.weightNumbers()
    const numbersOf = (name: string): Float32Array => weights.get(`normalization/${name}`)?.data ?? new Float32Array()
    expect(disagreement(numbersOf('mean'), mean, { rtol: 1e-6, atol: 0 })).toBeUndefined()
    expect(disagreement(numbersOf('variance'), variance, { rtol: 1e-4, atol: 0 })).toBeUndefined()
    using loaded = nn.decodeModel(await nn.encodeModel(model)).model
    const some = x.subarray(0, 10 * width)
    expect(await nn.predict(loaded, some)).toEqual(await nn.predict(model, some))
  })

  it('and refuses other data than it was adapted to, generators, and what is no data set', async () => {
    using set = rowsOf()
    const layer = await nn.normalization().adapt(set)
    expect(await failure(() => nn.sequential('normal', [4], [layer]))).toMatchObject({
      code: 'shape',
      message: expect.stringMatching(/3 features/),
    })
    await expect(nn.normalization().adapt([1, 2] as never)).rejects.toMatchObject({ code: 'argument' })
    using flat = data.arrays({ x: [1, 2], shape: [], y: [1, 2], device: device() })
    await expect(nn.normalization().adapt(flat)).rejects.toMatchObject({ code: 'shape' })
  })
})
