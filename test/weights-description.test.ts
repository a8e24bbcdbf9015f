/**
 * What a file says of its layers, compared with the model that gets its weights: every setting that changes the numbers, in
 * files of Keras 2, Keras 3 and TensorFlow.js.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { unzipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import type { Conv2dLayerOptions } from '../src/nn/layers/convolution.ts'
import {
  activation,
  averagePooling2d,
  conv2d,
  dense,
  depthwiseConv2d,
  flatten,
  groupNormalization,
  layerNormalization,
  reLU,
} from '../src/nn/layers.ts'
import { type Model, sequential } from '../src/nn/model.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { Wiring } from '../src/nn/wiring.ts'
import { silu } from '../src/operators/composed-activations.ts'
import { kerasModel } from '../src/weights/keras-model.ts'
import { assignWeights, loadWeights } from '../src/weights/load.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { type GivenLayer, memoryWeightFile } from './support/weight-files.ts'

const device = useDevice()

const models = fileURLToPath(new URL('fixtures/models/', import.meta.url))

type Config = Record<string, unknown>

/** A file that describes a sequence of these layers, and has the weights of those with any. */
function fileOf(
  layers: readonly (readonly [className: string, config: Config, weights?: GivenLayer[1]])[],
): WeightFile {
  const described = layers.map(([class_name, config]) => ({ class_name, config }))
  const held = layers.flatMap(([, { name }, weights]): GivenLayer[] =>
    weights === undefined ? [] : [[String(name), weights]],
  )
  return {
    ...memoryWeightFile('keras-archive', held),
    source: 'net.keras',
    architecture: { class_name: 'Sequential', config: { name: 'net', layers: described } },
  }
}

const conv = (config: Config) =>
  ['Conv2D', { name: 'c', filters: 4, kernel_size: [3, 3], ...config }, { kernel: [3, 3, 4, 4], bias: [4] }] as const
const ofConv = (options: Conv2dLayerOptions = {}, ...further: Parameters<typeof sequential>[2]): Model =>
  sequential('net', [8, 8, 4], [conv2d('c', 4, 3, options), ...further, averagePooling2d('end')])

/** The differences, one a line. */
function differences(model: Model, file: WeightFile): readonly string[] {
  try {
    assignWeights(model, file)
    return []
  } catch (error) {
    return (error as { details: { differences: readonly string[] } }).details.differences
  }
}

describe("a file's description", () => {
  it.each([
    ['padding', 'same', 'valid'],
    ['strides', [2, 2], 1],
    ['dilation_rate', [1, 2], 1],
    ['kernel_size', [3, 1], 3],
    ['groups', 2, 1],
    ['use_bias', false, true],
    ['activation', 'relu', 'linear'],
    ['data_format', 'channels_first', 'channels_last'],
  ])('is refused if %s differs', (setting, theirs, own) => {
    const shown = [Array.isArray(theirs) && theirs[0] === theirs[1] ? theirs[0] : theirs, own].map((value) =>
      typeof value === 'string' ? `'${value}'` : JSON.stringify(value),
    )
    expect(differences(ofConv(), fileOf([conv({ [setting]: theirs })]))).toEqual([
      `layer 'c': ${setting} is ${shown[0]} in net.keras and ${shown[1]} in the model`,
    ])
    expect(differences(ofConv(), fileOf([conv({})]))).toEqual([])
  })

  it("is refused if a normalisation's epsilon, groups or class differs, each with its default", () => {
    const weights = { gamma: [4], beta: [4] }
    const group = (options: { groups: number; epsilon?: number }): Model =>
      sequential('net', [8, 4], [groupNormalization('n', options)])
    const file = (className: string, config: Config) => fileOf([[className, { name: 'n', ...config }, weights]])
    expect(differences(group({ groups: 4 }), file('GroupNormalization', { groups: 4, epsilon: 1e-3 }))).toEqual([])
    expect(
      differences(group({ groups: 4, epsilon: 1e-5 }), file('GroupNormalization', { groups: 2, epsilon: 1e-3 })),
    ).toEqual([
      "layer 'n': groups is 2 in net.keras and 4 in the model",
      "layer 'n': epsilon is 0.001 in net.keras and 0.00001 in the model",
    ])
    expect(differences(group({ groups: 4 }), file('LayerNormalization', { epsilon: 1e-3 }))).toEqual([
      "layer 'n': the class is 'LayerNormalization' in net.keras and 'GroupNormalization' in the model",
    ])
    const layer = sequential('net', [8, 4], [layerNormalization('n')])
    for (const axis of [-1, 2, [2]]) expect(differences(layer, file('LayerNormalization', { axis }))).toEqual([])
    expect(differences(layer, file('LayerNormalization', { axis: [1] }))).toEqual([
      "layer 'n': axis is 1 in net.keras and -1 in the model",
    ])
  })

  it('names a layer by both names if they differ, and lists five differences', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const file = fileOf(
      names.map((name) => [
        'DepthwiseConv2D',
        { name: `x${name}`, padding: 'same' },
        { kernel: [3, 3, 4, 1], bias: [4] },
      ]),
    )
    const model = sequential(
      'net',
      [20, 20, 4],
      names.map((name) => depthwiseConv2d(name, 3)),
    )
    expect(() => assignWeights(model, file)).toThrow(
      /layer 'a' \('xa' in the file\): padding is 'same' .*layer 'e' [^;]*; and 1 more\..*ignoreDescription: true/,
    )
  })

  it('may have an activation in a layer of its own, on either side', () => {
    const fused = [conv({ activation: 'relu' })] as const
    const apart = [conv({ activation: 'linear' }), ['Activation', { name: 'r', activation: 'relu' }]] as const
    const tanh = [conv({ activation: 'linear' }), ['Activation', { name: 'r', activation: 'tanh' }]] as const
    for (const model of [ofConv({ activation: 'relu' }), ofConv({}, activation('r', 'relu')), ofConv({}, reLU('r'))]) {
      expect(differences(model, fileOf(fused))).toEqual([])
      expect(differences(model, fileOf(apart))).toEqual([])
      expect(differences(model, fileOf(tanh))).toEqual([
        "layer 'c': activation is 'tanh' in net.keras and 'relu' in the model",
      ])
    }
  })

  it("is not compared where a side says nothing: functions, layers of classes of one's own, padding by pixels", () => {
    const same = fileOf([conv({ padding: 'same', activation: 'swish' })])
    const pixels = [
      [1, 1],
      [1, 1],
    ] as const
    expect(differences(ofConv({ padding: pixels, activation: 'tanh' }), same)).toEqual([
      "layer 'c': activation is 'swish' in net.keras and 'tanh' in the model",
    ])
    const swish = sequential('net', [4], [dense('d', 4, { activation: silu }), flatten('end')])
    const head = (className: string, config: Config) =>
      fileOf([[className, { name: 'd', ...config }, { kernel: [4, 4], bias: [4] }]])
    expect(differences(swish, head('Dense', { activation: 'relu' }))).toEqual([])
    const linear = sequential('net', [4], [dense('d', 4), flatten('end')])
    expect(differences(linear, head('Swirl', { activation: 'relu' }))).toEqual([])
    expect(differences(linear, head('Dense', { activation: 'relu' }))).toHaveLength(1)
  })

  it('of parallel branches is read in both forms of Keras', () => {
    const net = new Wiring()
    const branch = (name: string) => net.chain(net.input, conv2d(name, 4, 3), activation(`${name}_relu`, 'relu'))
    const wired = net.merge({ ...flatten('x') }, branch('a'))
    expect(wired).toBeGreaterThan(0)
    const keras3 = (layer: string) => [
      { args: [{ class_name: '__keras_tensor__', config: { keras_history: [layer, 0, 0] } }] },
    ]
    const keras2 = (layer: string) => [[[layer, 0, 0, {}]]]
    for (const calls of [keras2, keras3])
      for (const [activationName, expected] of [
        ['relu', []],
        ['tanh', ["layer 'a': activation is 'tanh' in net.keras and 'relu' in the model"]],
      ] as const) {
        const file = fileOf([
          ['Conv2D', { name: 'a', activation: 'linear' }, { kernel: [3, 3, 4, 4], bias: [4] }],
          ['BatchNormalization', { name: 'other' }],
          ['Activation', { name: 'a_act', activation: activationName }],
        ])
        const { config } = file.architecture as { config: { layers: object[] } }
        const inputs = ['in', 'in', 'a']
        const layers = config.layers.map((layer, i) => ({ ...layer, inbound_nodes: calls(inputs[i] ?? '') }))
        const described = { class_name: 'Functional', config: { layers, output_layers: [['a_act', 0, 0]] } }
        expect(differences(net.model('net', [8, 8, 4]), { ...file, architecture: described })).toEqual(expected)
      }
  })

  it('that is damaged compares nothing', () => {
    const file = fileOf([conv({ padding: 'same' })])
    const deep = JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`)
    for (const architecture of [undefined, null, 7, [], {}, { config: { layers: [null, 3, { config: 3 }] } }])
      expect(differences(ofConv(), { ...file, architecture })).toEqual([])
    const nested = {
      config: { layers: [{ class_name: 'Conv2D', config: { name: 'c', activation: deep }, inbound_nodes: deep }] },
    }
    expect(differences(ofConv(), { ...file, architecture: nested })).toHaveLength(1)
  })
})

describe('a LeNet-5 of Keras', () => {
  it.each(['lenet5.keras', 'lenet5.h5', 'tfjs-layers-float32'])(
    'in %s is refused for another padding',
    async (name) => {
      const file = await openWeightFile(`${models}${name}`)
      const text = JSON.stringify(file.architecture)
      expect(text).toContain('"padding":"valid"')
      const architecture = JSON.parse(text.replace('"padding":"valid"', '"padding":"same"'))
      using model = lenet5()
      const before = await model.weightNumbers()
      const error = await failure(loadWeights(model, device(), { ...file, architecture }))
      expect(error).toMatchObject({
        code: 'mismatch',
        message: expect.stringContaining(`layer 'conv1': padding is 'same' in ${file.source} and 'valid' in the model`),
      })
      expect(await model.weightNumbers()).toEqual(before)
      await loadWeights(model, device(), { ...file, architecture }, { ignoreDescription: true })
      expect(await model.weightNumbers()).not.toEqual(before)
      await loadWeights(model, device(), file)
      file.close()
    },
  )
})

/** Another value of each setting that a file may describe. */
const others: Readonly<Record<string, unknown>> = {
  ...{ padding: 'causal', strides: [7, 7], dilation_rate: [7, 7], epsilon: 0.25, activation: 'softsign' },
  ...{ groups: 7, data_format: 'channels_first', kernel_size: [9, 9], depth_multiplier: 7 },
}

describe.each(['tf', 'k3'])('models that their producer described (%s)', (producer) => {
  const path = fileURLToPath(new URL(`fixtures/keras-producers/${producer}.zip`, import.meta.url))
  const files = unzipSync(new Uint8Array(readFileSync(path)))
  const whole = Object.keys(files).filter(
    (name) => /\.(keras|h5)$/.test(name) && !/\.(weights|alone)\.h5$|^(subclassed|backwards|shared)/.test(name),
  )

  it.each(whole)('%s: load into the same layers, and not with any other setting', async (name) => {
    const file = await openWeights(memorySource(files[name] ?? new Uint8Array(), name), { hdf5: freshHdf5 })
    try {
      using model = kerasModel(file.architecture, name)
      expect(differences(model, file)).toEqual([])
      for (const [setting, other] of Object.entries(others)) {
        let changed = 0
        const architecture = JSON.parse(JSON.stringify(file.architecture), (_, value) => {
          const isLayer = typeof value?.class_name === 'string' && setting in (value.config ?? {})
          const hasWeights =
            isLayer &&
            model.layers.some(({ layer, weights }) => weights.length > 0 && layer.name.endsWith(value.config.name))
          if (!hasWeights) return value
          changed += 1
          return { ...value, config: { ...value.config, [setting]: other } }
        })
        expect({ setting, count: differences(model, { ...file, architecture }).length }).toEqual({
          setting,
          count: changed,
        })
      }
    } finally {
      file.close()
    }
  })
})
