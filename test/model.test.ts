/** Models before training: their layers, their initial weights, and their device. */
import { describe, expect, it } from 'vitest'
import { open } from '../src/gpu/node/open.ts'
import { nn, tensor } from '../src/index.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import type { Model } from '../src/nn/model.ts'
import type { WeightNumbers } from '../src/nn/model-weights.ts'
import { useDevice } from './support/device.ts'
import { plainModel, restlessModel } from './support/small-models.ts'

const device = useDevice()

describe('a model', () => {
  it('describes its layers', () => {
    expect(nn.lenet5().summary()).toMatchInlineSnapshot(`
      "lenet5: [batch, 32, 32, 1]
      -----------------------------------------------------
      Layer                 Output shape         Parameters
      -----------------------------------------------------
      conv1 (Conv2D)        [batch, 28, 28, 6]          156
      pool1 (MaxPooling2D)  [batch, 14, 14, 6]            0
      conv2 (Conv2D)        [batch, 10, 10, 16]       2,416
      pool2 (MaxPooling2D)  [batch, 5, 5, 16]             0
      flatten (Flatten)     [batch, 400]                  0
      dense1 (Dense)        [batch, 256]            102,656
      dense2 (Dense)        [batch, 32]               8,224
      logits (Dense)        [batch, 10]                 330
      -----------------------------------------------------
      Parameters: 113,782"
    `)
    expect(restlessModel().summary()).toMatchInlineSnapshot(`
      "restless: [batch, 8, 8, 1]
      -------------------------------------------------------
      Layer                      Output shape      Parameters
      -------------------------------------------------------
      conv (Conv2D)              [batch, 6, 6, 4]          36
      norm (BatchNormalization)  [batch, 6, 6, 4]          16
      relu (Activation)          [batch, 6, 6, 4]           0
      drop (Dropout)             [batch, 6, 6, 4]           0
      flatten (Flatten)          [batch, 144]               0
      hidden (Dense)             [batch, 8]             1,160
      drop again (Dropout)       [batch, 8]                 0
      logits (Dense)             [batch, 4]                36
      -------------------------------------------------------
      Parameters: 1,248 (8 not trainable)"
    `)
  })

  it('starts with weights that depend only on the seed and their names', async () => {
    const dense = (name: string, seed: number, before: number): Model =>
      nn.sequential('m', [6], [...(before > 0 ? [nn.dense('first', 6)] : []), nn.dense(name, 5)], { seed })
    const kernelOf = async (model: Model, name: string): Promise<Float32Array | undefined> =>
      (await model.weightNumbers()).get(`${name}/kernel`)?.data
    const first = await kernelOf(dense('a', 1, 0), 'a')
    expect(first).toHaveLength(30)
    expect(await kernelOf(dense('a', 1, 1), 'a')).toEqual(first)
    expect(await kernelOf(dense('b', 1, 0), 'b')).not.toEqual(first)
    expect(await kernelOf(dense('a', 2, 0), 'a')).not.toEqual(first)
    using placed = dense('a', 1, 0).to(device())
    expect(await kernelOf(placed, 'a')).toEqual(first)
  })

  it("starts with kernels within Glorot's limits, zero biases, and neutral statistics", async () => {
    for (const model of [nn.lenet5(), restlessModel()]) {
      for (const [name, { shape, data }] of await model.weightNumbers()) {
        if (!name.endsWith('kernel')) {
          const expected = name.endsWith('gamma') || name.endsWith('variance') ? 1 : 0
          expect(
            data.every((x) => x === expected),
            name,
          ).toBe(true)
          continue
        }
        const field = elementCount(shape.slice(0, -2))
        const limit = Math.sqrt(6 / (field * ((shape.at(-2) ?? 0) + (shape.at(-1) ?? 0))))
        const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
        expect(largest, name).toBeLessThanOrEqual(limit)
        expect(largest, name).toBeGreaterThan(0.85 * limit)
        const mean = data.reduce((sum, x) => sum + x, 0) / data.length
        // Four standard errors of a uniform distribution's mean.
        expect(Math.abs(mean), name).toBeLessThan((4 * limit) / Math.sqrt(3 * data.length))
      }
    }
  })

  it('can start with He-normal kernels: variance 2 / inputs, none beyond two deviations', async () => {
    const layer = nn.dense('d', 100, { kernelInitializer: nn.heNormal })
    const data = (await nn.sequential('m', [50], [layer]).weightNumbers()).get('d/kernel')?.data ?? new Float32Array()
    const variance = data.reduce((sum, x) => sum + x * x, 0) / data.length
    expect(variance).toBeGreaterThan(0.04 * 0.93)
    expect(variance).toBeLessThan(0.04 * 1.07)
    const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    expect(largest).toBeLessThan((2 * 0.2) / 0.8796)
  })

  it('accepts complete, fitting sets of weights, and changes nothing for others', async () => {
    for (const isPlaced of [false, true]) {
      using model = plainModel(1)
      using other = plainModel(2)
      if (isPlaced) model.to(device())
      const own = await model.weightNumbers()
      const given = new Map(await other.weightNumbers())
      const bias = given.get('logits/bias')
      if (bias === undefined) throw new Error('the model has a bias')
      const without = new Map([...given].filter(([name]) => name !== 'logits/bias'))
      const cases: readonly [WeightNumbers, RegExp][] = [
        [without, /logits\/bias\[4\] that the given weights lack/],
        [new Map([...given, ['extra/kernel', bias]]), /no weight extra\/kernel/],
        [
          new Map([...given, ['logits/bias', { ...bias, shape: [2, 2] }]]),
          /logits\/bias is \[4\] here and \[2, 2\] there/,
        ],
        [new Map([...given, ['logits/bias', { ...bias, data: new Float32Array(3) }]]), /logits\/bias/],
      ]
      for (const [numbers, message] of cases) {
        expect(() => model.setWeights(numbers)).toThrow(
          expect.objectContaining({ code: 'mismatch', message: expect.stringMatching(message) }),
        )
        expect(await model.weightNumbers()).toEqual(own)
      }
      model.setWeights(given)
      expect(await model.weightNumbers()).toEqual(await other.weightNumbers())
    }
  })

  it('copies the weights it is given, and returns copies', async () => {
    using model = plainModel()
    const given = await model.weightNumbers()
    given.get('conv/kernel')?.data.fill(7)
    expect((await model.weightNumbers()).get('conv/kernel')?.data[0]).not.toBe(7)
    model.setWeights(given)
    given.get('conv/kernel')?.data.fill(8)
    expect((await model.weightNumbers()).get('conv/kernel')?.data[0]).toBe(7)
  })

  it('lives on one device, until it is disposed', async () => {
    using other = await open()
    const before = device().memory().liveBytes
    const model = plainModel().to(device())
    expect(model.to(device()).device).toBe(device())
    expect(() => model.to(other)).toThrow(expect.objectContaining({ code: 'argument' }))
    const numbers = await model.weightNumbers()
    model.dispose()
    model.dispose()
    expect(device().memory().liveBytes).toBe(before)
    const refusal = { code: 'disposed' }
    expect(() => model.to(device())).toThrow(expect.objectContaining(refusal))
    expect(() => model.setWeights(numbers)).toThrow(expect.objectContaining(refusal))
    await expect(model.weightNumbers()).rejects.toMatchObject(refusal)
    await expect(model.call(tensor(new Float32Array(64), [1, 8, 8, 1])).data()).rejects.toMatchObject(refusal)
  })

  it('refuses duplicate layer names, layers without inputs, and inputs of another shape', () => {
    const layer = nn.dense('d', 3)
    const refusal = { code: 'argument' }
    expect(() => nn.sequential('m', [4], [layer, nn.dense('d', 3)])).toThrow(expect.objectContaining(refusal))
    expect(() => nn.sequential('m', [4], [])).toThrow(expect.objectContaining(refusal))
    for (const inputs of [[0], [1], [-2]])
      expect(() => new nn.Model('m', [4], [{ layer, inputs }])).toThrow(expect.objectContaining(refusal))
    expect(() => nn.dense('d', 0)).toThrow(expect.objectContaining(refusal))
    expect(() => nn.lenet5({ units: [1.5, 2] })).toThrow(expect.objectContaining(refusal))
    expect(() => plainModel().call(tensor(new Float32Array(9), [1, 3, 3, 1]))).toThrow(
      expect.objectContaining({ code: 'shape' }),
    )
  })
})
