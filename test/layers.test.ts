/** Layers, compared with TensorFlow.js' layers of the same settings and weights. */

import type tfjs from '@tensorflow/tfjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { planOf } from '../src/autograd/tensors.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import type { Layer } from '../src/nn/layers.ts'
import {
  activation,
  add,
  average,
  averagePooling2d,
  batchNormalization,
  concatenate,
  conv1d,
  conv2d,
  conv2dTranspose,
  cropping2d,
  dense,
  depthwiseConv2d,
  elu,
  flatten,
  globalAveragePooling2d,
  globalMaxPooling2d,
  layerNormalization,
  leakyReLU,
  maximum,
  maxPooling2d,
  minimum,
  multiply,
  reLU,
  rescaling,
  reshape,
  separableConv2d,
  softmax,
  upSampling2d,
  zeroPadding2d,
} from '../src/nn/layers.ts'
import { Model, sequential } from '../src/nn/model.ts'
import { tensor } from '../src/operators/tensor.ts'
import { hashedNumbers, hashedWeight } from '../src/weights/hashed.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { loadTensorFlow, type TensorFlow } from './support/tfjs.ts'

const device = useDevice()
let tf: TensorFlow
beforeAll(async () => {
  tf = await loadTensorFlow()
})

type KerasLayer = tfjs.layers.Layer

/** A layer, the same layer in Keras' terms, and the shapes of its inputs without the batch. */
interface Case {
  readonly layer: Layer
  readonly keras: (layers: TensorFlow['layers']) => KerasLayer
  readonly inputs?: readonly (readonly number[])[]
}

const mergers: readonly Case[] = [
  { layer: multiply('l'), keras: (k) => k.multiply() },
  { layer: average('l'), keras: (k) => k.average() },
  { layer: maximum('l'), keras: (k) => k.maximum() },
  { layer: minimum('l'), keras: (k) => k.minimum() },
]

const cases: Case[] = [
  { layer: conv2d('l', 6, 3), keras: (k) => k.conv2d({ filters: 6, kernelSize: 3 }) },
  {
    layer: conv2d('l', 5, [3, 2], { strides: 2, padding: 'same', activation: 'relu', useBias: false }),
    keras: (k) =>
      k.conv2d({ filters: 5, kernelSize: [3, 2], strides: 2, padding: 'same', activation: 'relu', useBias: false }),
  },
  {
    layer: depthwiseConv2d('l', 3, { depthMultiplier: 2, padding: 'same', activation: 'tanh' }),
    keras: (k) => k.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, padding: 'same', activation: 'tanh' }),
  },
  { layer: separableConv2d('l', 8, 3), keras: (k) => k.separableConv2d({ filters: 8, kernelSize: 3 }) },
  {
    layer: separableConv2d('l', 7, [2, 3], {
      strides: 2,
      padding: 'same',
      depthMultiplier: 3,
      activation: 'relu',
      useBias: false,
    }),
    keras: (k) =>
      k.separableConv2d({
        filters: 7,
        kernelSize: [2, 3],
        strides: 2,
        padding: 'same',
        depthMultiplier: 3,
        activation: 'relu',
        useBias: false,
      }),
  },
  {
    layer: conv1d('l', 5, 3, { strides: 2, padding: 'same', activation: 'relu' }),
    keras: (k) => k.conv1d({ filters: 5, kernelSize: 3, strides: 2, padding: 'same', activation: 'relu' }),
    inputs: [[9, 4]],
  },
  {
    layer: conv2dTranspose('l', 3, [3, 2], { strides: 2, padding: 'same' }),
    keras: (k) => k.conv2dTranspose({ filters: 3, kernelSize: [3, 2], strides: 2, padding: 'same' }),
  },
  { layer: upSampling2d('l'), keras: (k) => k.upSampling2d({}) },
  { layer: upSampling2d('l', { size: [3, 1] }), keras: (k) => k.upSampling2d({ size: [3, 1] }) },
  {
    layer: cropping2d('l', [
      [1, 2],
      [0, 3],
    ]),
    keras: (k) =>
      k.cropping2D({
        cropping: [
          [1, 2],
          [0, 3],
        ],
      }),
  },
  { layer: rescaling('l', 0.5, { offset: -1 }), keras: (k) => k.rescaling({ scale: 0.5, offset: -1 }) },
  { layer: zeroPadding2d('l'), keras: (k) => k.zeroPadding2d() },
  { layer: zeroPadding2d('l', [2, 1]), keras: (k) => k.zeroPadding2d({ padding: [2, 1] }) },
  {
    layer: zeroPadding2d('l', [
      [1, 0],
      [3, 2],
    ]),
    keras: (k) =>
      k.zeroPadding2d({
        padding: [
          [1, 0],
          [3, 2],
        ],
      }),
  },
  { layer: maxPooling2d('l'), keras: (k) => k.maxPooling2d({}) },
  {
    layer: maxPooling2d('l', { poolSize: 1, strides: 2 }),
    keras: (k) => k.maxPooling2d({ poolSize: 1, strides: 2 }),
  },
  {
    layer: maxPooling2d('l', { poolSize: 3, strides: 2, padding: 'same' }),
    keras: (k) => k.maxPooling2d({ poolSize: 3, strides: 2, padding: 'same' }),
  },
  { layer: averagePooling2d('l', { poolSize: [1, 3] }), keras: (k) => k.averagePooling2d({ poolSize: [1, 3] }) },
  { layer: globalAveragePooling2d('l'), keras: (k) => k.globalAveragePooling2d({}) },
  { layer: globalMaxPooling2d('l'), keras: (k) => k.globalMaxPooling2d({}) },
  { layer: batchNormalization('l'), keras: (k) => k.batchNormalization({}) },
  {
    layer: batchNormalization('l', { epsilon: 0.1, scale: false, center: false }),
    keras: (k) => k.batchNormalization({ epsilon: 0.1, scale: false, center: false }),
  },
  { layer: layerNormalization('l'), keras: (k) => k.layerNormalization({}) },
  { layer: leakyReLU('l', { negativeSlope: 0.1 }), keras: (k) => k.leakyReLU({ alpha: 0.1 }) },
  { layer: elu('l'), keras: (k) => k.elu({}) },
  { layer: reLU('l', { maxValue: 0.5 }), keras: (k) => k.reLU({ maxValue: 0.5 }) },
  { layer: softmax('l'), keras: (k) => k.softmax({}), inputs: [[9]] },
  ...mergers.map(({ layer, keras }) => ({
    layer,
    keras,
    inputs: [
      [4, 3],
      [4, 3],
      [4, 3],
    ],
  })),
  { layer: activation('l', 'relu'), keras: (k) => k.activation({ activation: 'relu' }) },
  { layer: flatten('l'), keras: (k) => k.flatten() },
  { layer: reshape('l', [4, -1]), keras: (k) => k.reshape({ targetShape: [4, 42] }) },
  { layer: dense('l', 5, { activation: 'softmax' }), keras: (k) => k.dense({ units: 5, activation: 'softmax' }) },
  { layer: dense('l', 3, { useBias: false }), keras: (k) => k.dense({ units: 3, useBias: false }), inputs: [[9]] },
  {
    layer: add('l'),
    keras: (k) => k.add(),
    inputs: [
      [4, 3, 2],
      [4, 3, 2],
      [4, 3, 2],
    ],
  },
  {
    layer: concatenate('l'),
    keras: (k) => k.concatenate(),
    inputs: [
      [4, 3, 2],
      [4, 3, 5],
    ],
  },
  {
    layer: concatenate('l', { axis: 1 }),
    keras: (k) => k.concatenate({ axis: 1 }),
    inputs: [
      [4, 3, 2],
      [1, 3, 2],
      [2, 3, 2],
    ],
  },
]

describe('a layer has the class, weights, shapes and results of its Keras counterpart', () => {
  it.each(cases.map((c, i) => [`${c.layer.className} ${i}`, c] as const))(
    '%s',
    async (_, { layer, keras, inputs = [[7, 6, 4]] }) => {
      const batch = 2
      const other = keras(tf.layers)
      const numbers = inputs.map((shape, i) => hashedNumbers(`input ${i}`, batch * elementCount(shape)))
      const given = inputs.map((shape, i) => tf.tensor(numbers[i] ?? [], [batch, ...shape]))
      const symbols = inputs.map((shape) => tf.input({ shape: [...shape] }))
      const [symbol] = symbols
      if (symbol === undefined) throw new Error('a layer has inputs')
      const output = other.apply(symbols.length > 1 ? symbols : symbol) as tfjs.SymbolicTensor

      const specs = layer.weights(inputs)
      const values = specs.map(({ name, shape }) => hashedWeight(`l/${name}`, shape, 1))
      expect(other.getClassName()).toBe(layer.className)
      expect([null, ...layer.outputShape(inputs)]).toEqual(output.shape)
      expect(specs.map(({ shape }) => shape)).toEqual(other.weights.map(({ shape }) => shape))
      expect(specs.map(({ trainable }) => trainable)).toEqual(other.weights.map(({ trainable }) => trainable))

      other.setWeights(values.map((value, i) => tf.tensor(value, [...(specs[i]?.shape ?? [])])))
      const expected = tf.model({ inputs: symbols, outputs: output }).predict(given) as tfjs.Tensor
      const own = layer.call(
        numbers.map((data, i) => tensor(data, [batch, ...(inputs[i] ?? [])])),
        values.map((value, i) => tensor(value, specs[i]?.shape)),
        { training: false, seed: 1, counter: undefined, update: () => undefined },
      )
      expect(own.shape).toEqual(expected.shape)
      expect(
        disagreement(await own.data(), await expected.data(), { rtol: 1e-5, atol: 1e-5 }, own.shape),
      ).toBeUndefined()
    },
  )
})

describe('a layer refuses', () => {
  const refused = (code: string): unknown => expect.objectContaining({ code })

  it('inputs that it cannot merge', () => {
    expect(() =>
      add('sum').outputShape([
        [4, 3],
        [4, 2],
      ]),
    ).toThrow('sum takes two or more inputs of the same shape (an extent of 1 repeats), not [4, 3] and [4, 2]')
    expect(() => add('sum').outputShape([[4, 3]])).toThrow(refused('shape'))
    expect(() =>
      concatenate('all').outputShape([
        [4, 3],
        [5, 2],
      ]),
    ).toThrow(refused('shape'))
    expect(() =>
      concatenate('all', { axis: 0 }).outputShape([
        [4, 3],
        [4, 3],
      ]),
    ).toThrow(refused('shape'))
    expect(() =>
      concatenate('all', { axis: 3 }).outputShape([
        [4, 3],
        [4, 3],
      ]),
    ).toThrow(refused('shape'))
  })

  it('invalid padding, and inputs that are not images', () => {
    expect(() => zeroPadding2d('pad', -1)).toThrow(refused('argument'))
    expect(() => zeroPadding2d('pad', [1, 0.5])).toThrow(refused('argument'))
    expect(() => zeroPadding2d('pad', [[1, 2, 3]] as never)).toThrow(refused('argument'))
    expect(() => zeroPadding2d('pad').outputShape([[12]])).toThrow(refused('shape'))
  })

  it('shapes with a different number of elements', () => {
    expect(() => reshape('r', [5, -1]).outputShape([[12]])).toThrow('r cannot reshape [12] to [5, -1]')
    expect(() => reshape('r', [-1, -1]).outputShape([[12]])).toThrow(refused('shape'))
    expect(() => reshape('r', [0, -1]).outputShape([[12]])).toThrow(refused('shape'))
  })
})

it('a dense layer binds a kernel larger than a binding in blocks of rows', async () => {
  const [rows, units, batch] = [33_000, 1024, 3]
  expect(rows * units * 4).toBeGreaterThan(128 * 2 ** 20)
  using model = sequential('wide', [rows], [dense('fc', units, { activation: 'relu' })])
  await model.load(device(), async ({ name, shape }) => hashedWeight(name, shape, 1))
  const x = hashedNumbers('x', batch * rows)
  const y = model.call(tensor(x, [batch, rows]))
  expect(planOf([y]).choices.filter(({ family }) => family === 'matmul')).toHaveLength(2)

  const own = await y.data()
  const [kernel, bias] = [hashedWeight('fc/kernel', [rows, units], 1), hashedWeight('fc/bias', [units], 1)]
  for (const [image, unit] of [
    [0, 0],
    [1, 511],
    [2, 1023],
    [2, 3],
  ] as const) {
    let sum = bias[unit] ?? 0
    for (let row = 0; row < rows; row++) sum += (x[image * rows + row] ?? 0) * (kernel[row * units + unit] ?? 0)
    expect(own[image * units + unit]).toBeCloseTo(Math.max(0, sum), 4)
  }
})

it('layers that branch and merge are wired by their indices', async () => {
  using model = new Model(
    'branches',
    [3],
    [
      { layer: dense('a', 3, { useBias: false }), inputs: [-1] },
      { layer: activation('b', 'relu'), inputs: [-1] },
      { layer: add('sum'), inputs: [0, 1] },
      { layer: concatenate('all'), inputs: [2, -1, 1] },
    ],
  )
  model.setWeights(new Map([['a/kernel', { shape: [3, 3], data: Float32Array.of(1, 0, 0, 0, 2, 0, 0, 0, 3) }]]))
  expect([...(await model.call(tensor([[1, -1, 2]])).data())]).toEqual([2, -2, 8, 1, -1, 2, 1, 0, 2])
})
