/** A model's file: every layer is described and built again, and nothing else is read as a model. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../src/format/safetensors.ts'
import { gelu, mul, type Tensor, tensor } from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import { describeLayer, layerOf } from '../src/nn/layers/registry.ts'
import type { Layer } from '../src/nn/layers.ts'
import * as layers from '../src/nn/layers.ts'
import { loadModel, saveModel } from '../src/nn/model-file.node.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { useDevice } from './support/device.ts'
import { classNameOf } from './support/layer-classes.ts'

const device = useDevice()

const sequenceLayers = (): Layer[] => [
  nn.conv1d(4, 3, { padding: 'causal' }),
  nn.layerNormalization({ epsilon: 1e-5 }),
  nn.multiHeadAttention(2, 3, { dropout: 0.1 }),
  nn.groupNormalization({ groups: 2 }),
  nn.layerScale(0.5),
  nn.leakyReLU(),
  nn.pReLU({ sharedAxes: [1], alphaInitializer: nn.constantInitializer(0.2) }),
  nn.elu({ alpha: 0.5 }),
  nn.reLU({ maxValue: 6 }),
  nn.softmax(),
  nn.rescaling(2, { offset: -1 }),
  nn.operation({ operator: 'add', operands: [null, { shape: [4] }] }),
  nn.operation({ operator: 'clip', attributes: { min: -1, max: 1 } }),
]

/** All of weftgrad's layers, with settings other than the defaults, and named by their model. */
function everyLayer(): nn.Model {
  const net = new nn.Wiring()
  const stem = net.chain(
    net.input,
    nn.normalization(),
    nn.normalization({ mean: [1, 0, -1], variance: 2 }),
    nn.rescaling([1, 2, 3], { offset: [0, 0.5, 1] }),
    nn.zeroPadding2d([
      [1, 0],
      [2, 1],
    ]),
    nn.conv2d(4, [3, 2], { strides: [1, 2], padding: 'same', activation: 'relu', useBias: false }),
    nn.batchNormalization({ momentum: 0.9, epsilon: 1e-2, center: false }),
    nn.activation(gelu),
    nn.conv2dTranspose(4, 2, { strides: 2 }),
    nn.upSampling2d(),
    nn.spatialDropout2d(0.1),
    nn.cropping2d([3, 2]),
  )
  const left = net.chain(
    stem,
    nn.depthwiseConv2d(3, { depthMultiplier: 2, padding: 'same', activation: 'tanh' }),
    nn.conv2d('mix', 4, 1, { kernelInitializer: nn.heNormal }),
  )
  const right = net.chain(
    stem,
    nn.separableConv2d(4, 3, { padding: 'same', dilationRate: 2 }),
    nn.activation('sigmoid'),
  )
  const both = net.merge(nn.concatenate({ axis: -1 }), net.merge(nn.add(), left, right), right)
  const pooled = net.chain(
    both,
    nn.maxPooling2d({ poolSize: [2, 1] }),
    nn.averagePooling2d({ poolSize: 3, strides: 1 }),
  )
  const ends = [net.chain(pooled, nn.globalAveragePooling2d()), net.chain(pooled, nn.globalMaxPooling2d())]
  const merged = [nn.subtract(), nn.multiply(), nn.average(), nn.maximum(), nn.minimum()].map((layer) =>
    net.merge(layer, ...ends),
  )
  const end = net.merge(nn.concatenate(), ...ends, ...merged)
  const rows = net.chain(pooled, nn.reshape([-1, 8]))
  const further = [nn.globalAveragePooling1d(), nn.globalMaxPooling1d()].map((layer) => net.chain(rows, layer))
  net.chain(
    net.merge(nn.concatenate(), end, ...further),
    nn.reshape([18, -1]),
    ...sequenceLayers(),
    nn.flatten(),
    nn.dropout(0.25),
    nn.dense(5, { activation: gelu }),
    nn.dense(3, { kernelRegularizer: 'l2', biasRegularizer: nn.l1(0.1), biasInitializer: 'ones' }),
  )
  return net.model('every', [9, 8, 3], { seed: 3 })
}

const image = (): Tensor =>
  tensor(
    Float32Array.from({ length: 2 * 9 * 8 * 3 }, (_, i) => Math.sin(i)),
    [2, 9, 8, 3],
  )

describe("a model's file", () => {
  it('restores every layer: the same architecture, weights and outputs, bit for bit', async () => {
    using model = everyLayer()
    model.to(device())
    const bytes = await nn.encodeModel(model, { classNames: ['a', 'b', 'c'], description: { author: 'me' } })
    const { model: back, classNames, description } = nn.decodeModel(bytes)
    using copy = back.to(device())
    expect([classNames, description]).toEqual([['a', 'b', 'c'], { author: 'me' }])
    expect(copy.summary()).toBe(model.summary())
    expect(await copy.weightNumbers()).toEqual(await model.weightNumbers())
    expect(await copy.call(image()).data()).toEqual(await model.call(image()).data())
    expect(await nn.encodeModel(copy, { classNames: ['a', 'b', 'c'], description: { author: 'me' } })).toEqual(bytes)
  })

  it('knows every layer that weftgrad has', () => {
    using model = everyLayer()
    const used = new Set(model.layers.map(({ layer }) => layer.className))
    const makers = Object.values(layers) as readonly ((...given: unknown[]) => unknown)[]
    const classes = makers.flatMap((make) => classNameOf(make) ?? [])
    expect(classes.length).toBeGreaterThan(15)
    expect(classes.filter((name) => !used.has(name))).toEqual([])
  })

  it.each(Object.entries(pretrained))('describes %s', (_, { build }) => {
    using model = build({ size: 75, pooling: 'avg' })
    const described = model.layers.map(({ layer, inputs }) => ({ layer: layerOf(describeLayer(layer)), inputs }))
    using back = new nn.Model(model.name, model.inputShape, described)
    expect(back.summary()).toBe(model.summary())
    expect(back.layers.map(({ layer }) => describeLayer(layer))).toEqual(
      model.layers.map(({ layer }) => describeLayer(layer)),
    )
  })

  it('holds layers of your own if they have a config and a maker', async () => {
    const scaled = (name: string, factor: number): Layer => ({
      ...{ name, className: 'Scaled', config: { factor } },
      outputShape: ([shape = []]) => shape,
      weights: () => [],
      call: ([x]) => mul(x as Tensor, factor),
    })
    const bytes = await nn.encodeModel(nn.sequential('mine', [2], [nn.dense(2), scaled('twice', 2)]))
    expect(() => nn.decodeModel(bytes)).toThrow(/no layer class Scaled.*customLayers/)
    const customLayers = { Scaled: (name: string, { factor }: nn.LayerConfig) => scaled(name, Number(factor)) }
    using model = nn.decodeModel(bytes, { customLayers }).model
    expect(model.layers.at(-1)?.layer.config).toEqual({ factor: 2 })
  })

  it('is refused for what no file can describe, unless only weights are asked for', async () => {
    const { config: _, ...plain } = nn.flatten('flat')
    for (const chain of [[plain], [nn.dense('d', 2, { activation: (x) => mul(x, 2) })]]) {
      using model = nn.sequential('odd', [2], chain)
      await expect(nn.encodeModel(model)).rejects.toMatchObject({
        code: 'argument',
        message: expect.stringContaining('architecture: false'),
      })
      const bytes = await nn.encodeModel(model, { architecture: false })
      expect(() => nn.decodeModel(bytes, { source: 'odd.safetensors' })).toThrow(/odd.safetensors describes no model/)
    }
    await expect(nn.encodeModel(nn.lenet5(), { classNames: ['cat'] })).rejects.toMatchObject({ code: 'mismatch' })
  })

  it('is written and read whole in Node.js', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-model-'))
    try {
      const path = join(folder, 'model.safetensors')
      using model = nn.sequential('m', [2], [nn.dense(2)], { seed: 5 })
      await saveModel(model, path, { classNames: ['a', 'b'] })
      const { model: back, classNames } = await loadModel(path)
      using copy = back
      expect(classNames).toEqual(['a', 'b'])
      expect(await copy.weightNumbers()).toEqual(await model.weightNumbers())
      const bytes = new Uint8Array(await readFile(path))
      for (const source of [pathToFileURL(path), bytes, new Blob([bytes])]) {
        using other = (await loadModel(source)).model
        expect(await other.weightNumbers()).toEqual(await model.weightNumbers())
      }
      await expect(loadModel(join(folder, 'none'))).rejects.toMatchObject({ code: 'file' })
      await expect(loadModel(new URL('http://127.0.0.1:1/none'))).rejects.toMatchObject({ code: 'fetch' })
      await expect(saveModel(model, join(path, 'm'))).rejects.toMatchObject({ code: 'file' })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  const layer = (changes: object): object => ({
    className: 'Dense',
    name: 'd',
    config: { units: 2 },
    inputs: [-1],
    ...changes,
  })
  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['no layers', { name: 'm', inputShape: [2] }],
    ['an input shape that is none', { name: 'm', inputShape: [-2], layers: [layer({})] }],
    ['a layer without a class', { name: 'm', inputShape: [2], layers: [layer({ className: 3 })] }],
    ['an unknown layer', { name: 'm', inputShape: [2], layers: [layer({ className: 'Dence' })] }],
    ['a layer called __proto__', { name: 'm', inputShape: [2], layers: [layer({ className: '__proto__' })] }],
    [
      'a setting that is none',
      { name: 'm', inputShape: [2], layers: [layer({ config: { units: 2, colour: 'red' } })] },
    ],
    ['units by the billion', { name: 'm', inputShape: [2], layers: [layer({ config: { units: 1e12 } })] }],
    ['half a unit', { name: 'm', inputShape: [2], layers: [layer({ config: { units: 0.5 } })] }],
    ['an input that comes later', { name: 'm', inputShape: [2], layers: [layer({ inputs: [0] })] }],
    ['another width', { name: 'm', inputShape: [3], layers: [layer({})] }],
  ])('is refused with %s', async (_, architecture) => {
    const { tensors, metadata } = readSafetensors(await nn.encodeModel(nn.sequential('m', [2], [nn.dense('d', 2)])))
    const text = typeof architecture === 'string' ? architecture : JSON.stringify(architecture)
    const bytes = writeSafetensors(tensors, { ...metadata, architecture: text })
    expect(() => nn.decodeModel(bytes)).toThrow(
      expect.objectContaining({
        name: 'WeftgradError',
        code: expect.stringMatching(/^(format|argument|mismatch|shape)$/),
      }),
    )
  })
})
