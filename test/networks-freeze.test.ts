/** Frozen networks: the same numbers as the original network, with fewer kernels. */

import { describe, expect, it } from 'vitest'
import { evaluate, planOf } from '../src/autograd/tensors.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { freeze } from '../src/nn/freeze.ts'
import type { Layer } from '../src/nn/layers.ts'
import {
  activation,
  add,
  batchNormalization,
  conv2d,
  dense,
  depthwiseConv2d,
  dropout,
  flatten,
  maxPooling2d,
  separableConv2d,
  zeroPadding2d,
} from '../src/nn/layers.ts'
import type { Model } from '../src/nn/model.ts'
import { sequential } from '../src/nn/model.ts'
import type { ModelWeight } from '../src/nn/model-weights.ts'
import { Wiring } from '../src/nn/wiring.ts'
import { tensor } from '../src/operators/tensor.ts'
import { hashedNumbers, hashedReader } from '../src/weights/hashed.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const read = hashedReader(1)

const namesOf = (model: Model): string[] => model.layers.map(({ layer }) => layer.name)

/** Checks the outputs of all layers that both have; returns the number of dispatches of each. */
async function compare(model: Model, keep: readonly string[] = []): Promise<{ plain: number; frozen: number }> {
  using plain = model
  using frozen = freeze(model, { keep })
  await plain.load(device(), read)
  await frozen.load(device(), read)
  const shape = [2, ...model.inputShape]
  const x = tensor(hashedNumbers('x', elementCount(shape)), shape)
  const common = namesOf(frozen)
  const own = await evaluate(frozen.features(x, common))
  const expected = await evaluate(plain.features(x, common))
  common.forEach((name, i) => {
    expect(disagreement(own[i] ?? [], expected[i] ?? [], { rtol: 1e-5, atol: 1e-5 }), name).toBeUndefined()
  })
  const dispatches = (one: Model): number => planOf([one.call(x)]).dispatches.length
  return { plain: dispatches(plain), frozen: dispatches(frozen) }
}

const image = (...layers: Layer[]): Model => sequential('net', [9, 8, 4], layers)

describe('a normalisation after a layer with a kernel becomes part of it', () => {
  it.each([
    ['a convolution', conv2d('a', 6, 3, { useBias: false })],
    ['a convolution with a bias', conv2d('a', 6, 3, { strides: 2, padding: 'same' })],
    ['a depthwise convolution', depthwiseConv2d('a', 3, { depthMultiplier: 3, useBias: false })],
    ['a separable convolution', separableConv2d('a', 5, 3, { depthMultiplier: 2, useBias: false })],
    ['a separable convolution with a bias', separableConv2d('a', 5, 3, { padding: 'same' })],
    ['a dense layer', dense('a', 7)],
  ])('%s', async (_, layer) => {
    const model = image(layer, batchNormalization('norm'), activation('out', 'relu'))
    const frozen = freeze(model)
    expect(namesOf(frozen)).toEqual(['norm', 'out'])
    expect(frozen.layers[0]?.layer.className).toBe(layer.className)
    const { plain, frozen: fewer } = await compare(model)
    expect(fewer).toBeLessThan(plain)
  })

  it('even if any of its parts is missing', async () => {
    for (const options of [{ scale: false }, { center: false }, { scale: false, center: false, epsilon: 0.5 }])
      await compare(image(conv2d('a', 6, 3), batchNormalization('norm', options)))
  })

  it('with relu in one kernel', async () => {
    const model = image(conv2d('a', 6, 3, { useBias: false }), batchNormalization('norm'), activation('out', 'relu'))
    expect(await compare(model)).toMatchObject({ frozen: 1 })
  })

  it('but not if something else reads the layer, or comes between them', async () => {
    const net = new Wiring()
    const a = net.chain(net.input, conv2d('a', 4, 3, { padding: 'same' }))
    const norm = net.chain(a, batchNormalization('norm'))
    const pooled = net.chain(a, maxPooling2d('pool', { poolSize: 1, strides: 1 }))
    net.merge(add('sum'), norm, pooled)
    const branched = net.model('branched', [9, 8, 4])
    expect(namesOf(freeze(branched))).toEqual(['a', 'norm', 'pool', 'sum'])
    await compare(branched)

    const apart = image(conv2d('a', 6, 3, { activation: 'relu' }), batchNormalization('norm'))
    expect(namesOf(freeze(apart))).toEqual(['a', 'norm'])
    await compare(apart)
  })

  it('but not if the layer is kept', async () => {
    const model = (): Model =>
      image(conv2d('a', 6, 3), batchNormalization('norm'), conv2d('b', 3, 3), batchNormalization('last'))
    expect(namesOf(freeze(model(), { keep: ['a', 'norm'] }))).toEqual(['a', 'norm', 'last'])
    await compare(model(), ['a', 'norm'])
  })
})

it('a normalisation of a sum is one kernel with its relu', async () => {
  const net = new Wiring()
  const a = net.chain(net.input, conv2d('a', 4, 3, { padding: 'same' }))
  const sum = net.merge(add('sum'), a, net.input)
  const active = net.chain(sum, batchNormalization('norm'), activation('relu', 'relu'))
  net.merge(add('out'), sum, active)
  // The convolution, the sum, the normalisation with relu, and the last sum.
  expect(await compare(net.model('preactivated', [9, 8, 4]))).toMatchObject({ frozen: 3 })
})

describe('zeros around an image', () => {
  it("become a convolution's own padding", async () => {
    const uneven = [
      [0, 2],
      [3, 1],
    ] as const
    const model = image(zeroPadding2d('pad', uneven), conv2d('a', 6, 3, { strides: 2 }), batchNormalization('norm'))
    expect(namesOf(freeze(model))).toEqual(['norm'])
    expect(await compare(model)).toMatchObject({ frozen: 1 })
    const depthwise = image(zeroPadding2d('pad'), depthwiseConv2d('a', 3))
    expect(namesOf(freeze(depthwise))).toEqual(['a'])
    await compare(depthwise)
  })

  it('stay if a pool reads them, if the convolution pads too, and if they are kept', async () => {
    const pooled = image(zeroPadding2d('pad'), maxPooling2d('pool', { poolSize: 3, strides: 2 }))
    expect(namesOf(freeze(pooled))).toEqual(['pad', 'pool'])
    await compare(pooled)
    const twice = image(zeroPadding2d('pad'), conv2d('a', 6, 3, { padding: 'same' }))
    expect(namesOf(freeze(twice))).toEqual(['pad', 'a'])
    await compare(twice)
    expect(namesOf(freeze(image(zeroPadding2d('pad'), conv2d('a', 6, 3)), { keep: ['pad'] }))).toEqual(['pad', 'a'])
  })
})

describe('a frozen network', () => {
  const model = (): Model =>
    image(
      zeroPadding2d('pad'),
      conv2d('a', 6, 3),
      batchNormalization('norm'),
      dropout('drop', 0.5),
      flatten('flat'),
      dense('b', 2),
    )

  it('is loaded by the names and order of its source, and can be made from a loaded model', async () => {
    using source = model().to(device())
    const asked = new Set<ModelWeight>()
    using frozen = await freeze(source).load(device(), (weight) => {
      asked.add(weight)
      return source.read(weight)
    })
    expect(frozen.source).toBe(source)
    expect([...asked].map(({ name }) => name).sort()).toEqual(source.weights.map(({ name }) => name).sort())
    const x = tensor(hashedNumbers('x', 288), [1, 9, 8, 4])
    expect(
      disagreement(await frozen.call(x).data(), await source.call(x).data(), { rtol: 1e-5, atol: 1e-6 }),
    ).toBeUndefined()
  })

  it('says which layer has absorbed another', () => {
    const x = tensor(new Float32Array(288), [1, 9, 8, 4])
    for (const name of ['pad', 'a'])
      expect(() => freeze(model()).features(x, [name])).toThrow(
        expect.objectContaining({ code: 'argument', message: expect.stringContaining(`keep: ['${name}']`) }),
      )
    expect(() => freeze(model(), { keep: ['nrom'] })).toThrow('did you mean norm')
  })

  it('cannot be used before it is loaded, and cannot be trained', async () => {
    const x = tensor(new Float32Array(288), [1, 9, 8, 4])
    using frozen = freeze(model())
    const before = device().memory().liveBytes
    await expect(frozen.call(x).data()).rejects.toThrow(expect.objectContaining({ code: 'argument' }))
    expect(device().memory().liveBytes).toBe(before)
    expect(() => frozen.call(x, { training: true })).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('refuses invalid statistics, naming the weight of the source', async () => {
    using frozen = freeze(model())
    const wrong = (name: string, value: number) => async (weight: ModelWeight) =>
      weight.name === name ? new Float32Array(6).fill(value) : read(weight)
    for (const value of [-1, Number.NaN])
      await expect(frozen.load(device(), wrong('norm/moving_variance', value))).rejects.toThrow(
        expect.objectContaining({ code: 'data', message: expect.stringContaining('norm/moving_variance') }),
      )
    expect(frozen.device).toBeUndefined()
  })
})
