/**
 * Wrong values that JavaScript callers may pass besides options: training settings, floats instead of bytes, layers
 * without a name, and operands that are neither tensors nor numbers.
 */
import { describe, expect, it } from 'vitest'
import * as weftgrad from '../src/node.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import type { Given } from './support/given.ts'

const device = useDevice()
const { data, nn, tensor, weights } = weftgrad

describe('a training', () => {
  const base = { optimizer: nn.adam(), epochs: 1, batchSize: 2 }
  const told: readonly (readonly [string, object, RegExp])[] = [
    [
      'a loss by name',
      { loss: 'meanSquaredError' },
      /loss must be a loss like meanSquaredError\(\), or a function .*, not 'meanSquaredError'/,
    ],
    ['class weights', { classWeight: { 0: 2 } }, /fit has no option classWeight/],
    ['gradient clipping', { clipNorm: 1 }, /fit has no option clipNorm/],
    [
      'an optimizer by name',
      { optimizer: 'adam' },
      /optimizer must be an optimizer like adam\(\), or a list of .*, not 'adam'/,
    ],
    ['a function that creates an optimizer', { optimizer: nn.adam }, /optimizer must be an optimizer/],
    [
      'a list with something else than callbacks',
      { callbacks: [{ onEpochEnd() {} }, 7] },
      /callbacks must be an object, not 7/,
    ],
    [
      'an invalid callback',
      { callbacks: { onEpochend() {} } },
      /callbacks has no option onEpochend; did you mean onEpochEnd/,
    ],
    [
      'a callback that is not a function',
      { callbacks: { onEpochEnd: 1 } },
      /callbacks: onEpochEnd must be a function, not 1/,
    ],
    ['callbacks of another library', { callbacks: new Map() }, /callbacks/],
    ['an unknown flip', { augmentation: { flip: 'vertical' } }, /flip must be one of random, always, not 'vertical'/],
    ['an unknown augmentation', { augmentation: { rotate: 10 } }, /augmentation has no option rotate/],
    ['a fractional shift', { augmentation: { shift: 0.1 } }, /shift must be a non-negative whole number, not 0.1/],
    ['no patience', { earlyStopping: {} }, /earlyStopping: patience must be a positive whole number, not undefined/],
    ['no optimizer', { optimizer: undefined }, /optimizer must be/],
    ['an array for validation', { validation: [1] }, /validation must be a data set/],
  ]
  it.each(told)('refuses %s, and leaves the model as it is', async (_, changes, message) => {
    using set = data.residentImages(device(), {
      ...{ images: new Uint8Array(4 * 1024), labels: [0, 1, 2, 3], height: 32, width: 32, channels: 1, classes: 10 },
    })
    using model = nn.lenet5({ units: [8, 4] })
    const error = await failure(() => nn.fit(model, set, { ...base, ...changes } as Given))
    expect(error).toMatchObject({ code: 'argument', message: expect.stringMatching(message) })
    expect(model.device).toBeUndefined()
  })

  it('takes an instance of a class as callbacks, with its own state', async () => {
    class Recorder {
      readonly lines: number[] = []
      onEpochEnd({ epoch }: { readonly epoch: number }): void {
        this.lines.push(epoch)
      }
    }
    using set = data.residentImages(device(), {
      ...{ images: new Uint8Array(4 * 1024), labels: [0, 1, 2, 3], height: 32, width: 32, channels: 1, classes: 10 },
    })
    using model = nn.lenet5({ units: [8, 4] })
    const callbacks = new Recorder()
    await nn.fit(model, set, { ...base, callbacks })
    expect(callbacks.lines).toEqual([1])
  })
})

describe('bytes', () => {
  const floats = new Float32Array(1024).fill(0.5) as Given
  it.each<[string, () => unknown]>([
    [
      'residentImages',
      () =>
        data.residentImages(device(), { images: floats, labels: [0], height: 32, width: 32, channels: 1, classes: 2 }),
    ],
    ['predict', () => nn.predict(nn.lenet5(), floats, [32, 32, 1])],
    ['dropDuplicates', () => data.dropDuplicates(floats, 4)],
    ['parseIdx', () => data.parseIdx(floats)],
    ['gunzip', () => data.gunzip(floats)],
    ['parseFashionMnistCsv', () => data.parseFashionMnistCsv(floats)],
    ['decodeModel', () => nn.decodeModel(floats)],
    ['weights.open', () => weights.open(floats)],
  ])('are not accepted as floats: %s', async (_, call) => {
    expect(await failure(call)).toMatchObject({ code: 'argument', message: expect.stringContaining('Float32Array') })
  })

  it('in a Float64Array of weights are read as numbers', async () => {
    using model = nn.sequential('m', [1], [nn.dense('d', 2, { useBias: false })])
    model.to(device())
    model.setWeights(new Map([['d/kernel', { shape: [1, 2], data: Float64Array.of(0.25, 3) as Given }]]))
    expect([...((await model.weightNumbers()).get('d/kernel')?.data ?? [])]).toEqual([0.25, 3])
  })
})

describe('layers without a name', () => {
  it('are named by their model after their class, as in Keras, around those that have one', () => {
    const model = nn.sequential(
      'm',
      [8, 8, 1],
      [
        nn.conv2d(4, 3, { activation: 'relu' }),
        nn.maxPooling2d(),
        nn.conv2d('conv2d_1', 4, 3),
        nn.conv2d(4, 1),
        nn.flatten(),
        nn.dropout(0.5),
        nn.dense(8),
        nn.activation('relu'),
        nn.dropout(0.5),
        nn.dense(2),
      ],
    )
    const names = model.layers.map(({ layer }) => layer.name)
    const expected = ['conv2d', 'max_pooling2d', 'conv2d_1', 'conv2d_2', 'flatten', 'dropout', 'dense', 'activation']
    expect(names).toEqual([...expected, 'dropout_1', 'dense_1'])
    expect(model.weights.map(({ name }) => name)).toContain('dense_1/bias')
  })

  it('start like layers with those names, and are numbered separately in each model', async () => {
    const one = nn.sequential('m', [3], [nn.dense(4), nn.dense(2)], { seed: 3 })
    const two = nn.sequential('m', [3], [nn.dense('dense', 4), nn.dense('dense_1', 2)], { seed: 3 })
    expect(await one.weightNumbers()).toEqual(await two.weightNumbers())
  })

  it('drop different elements, one after the other', async () => {
    const model = nn.sequential('m', [256], [nn.dropout(0.5), nn.dropout(0.5)])
    const kept = await model.call(weftgrad.ones([1, 256]), { training: true, seed: 1 }).data({ device: device() })
    // Both keep a quarter of the elements; with equal masks it would be a half.
    expect(kept.filter((value) => value > 0).length).toBeLessThan(96)
  })

  it('can be used twice in one model, with one name and one set of weights', () => {
    const shared = nn.dense(3)
    using model = nn.sequential('m', [3], [shared, shared])
    expect(model.weights.map(({ name }) => name)).toEqual(['dense/kernel', 'dense/bias'])
    expect(model.parameterCount).toBe(12)
  })

  it.each<[string, () => unknown, RegExp]>([
    [
      'activation',
      () => nn.activation('gelu' as Given),
      /one of linear, relu, sigmoid, tanh, softmax, or a function of a tensor, not 'gelu'/,
    ],
    ['a named activation', () => nn.activation('act', 'gelu' as Given), /^act: .*not 'gelu'/],
    ['dense', () => nn.dense('eight' as Given), /^eight: units must be a positive whole number, not undefined/],
    ['conv2d', () => nn.conv2d(0, 3), /filters must be a positive whole number, not 0/],
    ['dropout', () => nn.dropout(1), /rate must be a number in \[0, 1\), not 1/],
    ['zeroPadding2d', () => nn.zeroPadding2d({} as Given), /padding/],
  ])('refuse anything else: %s', async (_, make, message) => {
    expect(await failure(make)).toMatchObject({ code: 'argument', message: expect.stringMatching(message) })
  })
})

it('a path in the place of an opened weights file is refused, and a missing shape of images', async () => {
  using model = nn.sequential('m', [2, 2, 1], [nn.flatten(), nn.dense(2)])
  expect(await failure(() => weights.loadWeights(model, device(), 'net.h5' as Given))).toMatchObject({
    code: 'argument',
    message: "loadWeights: the file must be a file opened by `weights.open`, not 'net.h5'.",
  })
  for (const shape of [undefined, [2, 2], [2, 2, 0], [2, 2, 1, 1], 'image'])
    expect(await failure(() => nn.predict(model, new Uint8Array(4), shape as Given))).toMatchObject({
      code: 'argument',
      message: expect.stringContaining('predict: the shape must be [height, width, channels]'),
    })
})

it('an operand that is neither a tensor nor a number is refused', async () => {
  for (const operand of [undefined, '3', null, { activation: 'relu' }])
    expect(await failure(() => weftgrad.add(tensor([1]), operand as Given))).toMatchObject({ code: 'argument' })
})
