/**
 * Models built from the descriptions in files that Keras 2, Keras 3 and TensorFlow.js wrote: they give their producer's
 * predictions. See test/weights-producers.test.ts.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SymbolicTensor } from '@tensorflow/tfjs'
import { unzipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { dense } from '../src/nn/layers.ts'
import { sequential } from '../src/nn/model.ts'
import { type Tensor, tensor } from '../src/operators/tensor.ts'
import { kerasModel } from '../src/weights/keras-model.ts'
import { loadWeights } from '../src/weights/load.ts'
import { loadModel } from '../src/weights/load-model.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import { writeLayersModel } from './support/layers-model.ts'
import { loadTensorFlow } from './support/tfjs.ts'

const device = useDevice()

/** The producers' input: see `write.py`. */
function example(shape: readonly number[]): Float32Array {
  return Float32Array.from({ length: 2 * elementCount(shape) }, (_, i) => ((7 * i) % 13) / 13 - 0.5)
}

const archives = ['tf', 'k3'].map((producer) => {
  const path = fileURLToPath(new URL(`fixtures/keras-producers/${producer}.zip`, import.meta.url))
  const { 'predictions.json': json, ...files } = unzipSync(new Uint8Array(readFileSync(path)))
  const predictions: Readonly<Record<string, readonly number[]>> = JSON.parse(new TextDecoder().decode(json))
  return { producer, files, predictions }
})

/** Models that weftgrad cannot build, and why. */
const refused: Readonly<Record<string, string>> = {
  subclassed: 'a class of its own',
  backwards: 'a class of its own',
}

/** The file's layer `both` is called twice, but Keras' predictions are those of a single call. */
async function calledTwice(file: WeightFile, input: Tensor, once: readonly number[] = []): Promise<readonly number[]> {
  using model = sequential('once', [4], [dense('both', 4, { activation: 'tanh' }), dense('logits', 4)])
  await loadWeights(model, device(), file)
  const [hidden = input, logits = input] = model.features(input, ['both', 'logits'])
  for (const [i, value] of [...(await logits.data())].entries()) expect(value).toBeCloseTo(once[i] ?? Number.NaN, 5)
  return [...(await model.call(hidden).data())]
}

describe.each(archives)('Keras ($producer)', ({ files, predictions }) => {
  const whole = Object.keys(files).filter((name) => /\.(keras|h5)$/.test(name) && !/\.(weights|alone)\.h5$/.test(name))

  it.each(whole)('%s', async (name) => {
    const kind = name.replace(/\..*/, '')
    const file = await openWeights(memorySource(files[name] ?? new Uint8Array(), name), { hdf5: freshHdf5 })
    try {
      const problem = refused[kind]
      if (problem !== undefined) {
        expect(await failure(loadModel(file, { device: device() }))).toMatchObject({
          code: 'mismatch',
          message: expect.stringContaining(problem),
        })
        return
      }
      using model = await loadModel(file, { device: device() })
      const input = tensor(example(model.inputShape), [2, ...model.inputShape])
      const found = await model.call(input).data()
      const wanted = kind === 'shared' ? await calledTwice(file, input, predictions[kind]) : (predictions[kind] ?? [])
      expect(found).toHaveLength(wanted.length)
      for (const [i, value] of wanted.entries())
        expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThan(2e-6 * Math.max(1, Math.abs(value)))
    } finally {
      file.close()
    }
  })

  it('refuses a file with weights only', async () => {
    const file = await openWeights(memorySource(files['plain.weights.h5'] ?? new Uint8Array(), 'plain'), {
      hdf5: freshHdf5,
    })
    expect(await failure(loadModel(file, { device: device() }))).toMatchObject({ code: 'mismatch' })
    file.close()
  })
})

describe('TensorFlow.js', () => {
  it('wrote a model with a layer and a model that are called twice', async () => {
    const tf = await loadTensorFlow()
    const both = tf.layers.dense({ name: 'both', units: 4, activation: 'hardSigmoid' })
    const part = tf.sequential({
      name: 'part',
      layers: [tf.layers.dense({ name: 'in', units: 4, inputShape: [4] }), tf.layers.leakyReLU()],
    })
    const x = tf.input({ shape: [4] })
    const hidden = both.apply(part.apply(both.apply(x))) as SymbolicTensor
    const theirs = tf.model({
      inputs: x,
      outputs: tf.layers.add().apply([part.apply(hidden) as SymbolicTensor, hidden]) as SymbolicTensor,
    })
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-load-'))
    try {
      await writeLayersModel(tf, theirs, folder)
      const file = await openWeightFile(folder)
      using model = await loadModel(file, { device: device() })
      file.close()
      expect(model.weights).toHaveLength(4)
      const found = await model.call(tensor(example([4]), [2, 4])).data()
      const y = theirs.predict(tf.tensor(example([4]), [2, 4]))
      if (Array.isArray(y)) throw new Error('the model has one output')
      for (const [i, value] of [...(await y.data())].entries()) expect(found[i]).toBeCloseTo(value, 5)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('a description', () => {
  const denseLayer = (name: string, more: object = {}) => ({
    class_name: 'Dense',
    config: { name, units: 2, activation: 'relu', ...more },
  })
  const input = { class_name: 'InputLayer', config: { name: 'in', batch_shape: [null, 3] } }
  const sequence = (...layers: object[]) => ({
    class_name: 'Sequential',
    config: { name: 's', layers: [input, ...layers] },
  })
  const graph = (layers: object[], output = 'b') => ({
    class_name: 'Functional',
    config: {
      name: 'f',
      layers: [{ ...input, inbound_nodes: [] }, ...layers],
      input_layers: [['in', 0, 0]],
      output_layers: [[output, 0, 0]],
    },
  })
  const placed = (layer: { config: { name: string } }, ...names: string[]) => ({
    ...layer,
    name: layer.config.name,
    inbound_nodes: [names.map((name) => [name, 0, 0, {}])],
  })
  const refusal = (described: unknown, options = {}) => failure(async () => kerasModel(described, 'x.keras', options))

  it('names all unknown layers at once, and takes makers for them', async () => {
    const strange = (class_name: string) => ({ class_name, config: { name: class_name.toLowerCase(), size: 3 } })
    const described = sequence(strange('Swirl'), denseLayer('d'), strange('Blur'))
    expect(await refusal(described)).toMatchObject({
      code: 'argument',
      message: expect.stringMatching(/Swirl \(swirl\): .*; Blur/),
    })
    const plain = (name: string) => kerasModel(sequence(denseLayer(name)), 'y').layers[0]?.layer
    const customLayers = { Swirl: () => plain('swirl') as never, Blur: () => plain('blur') as never }
    using model = kerasModel(described, 'x', { customLayers })
    expect(model.layers.map(({ layer }) => layer.name)).toEqual(['swirl', 'd', 'blur'])
  })

  it('is refused for settings that would change the numbers', async () => {
    const conv = (more: object) => ({
      class_name: 'Conv2D',
      config: { name: 'c', filters: 2, kernel_size: [3, 3], ...more },
    })
    expect(await refusal(sequence(conv({ data_format: 'channels_first' })))).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('\'c\' (Conv2D) has data_format "channels_first"'),
    })
    expect(await refusal(sequence(conv({ unheard_of: 1 })))).toMatchObject({ code: 'argument' })
  })

  it('is refused for another axis than the last', async () => {
    const image = { class_name: 'InputLayer', config: { name: 'in', batch_shape: [null, 4, 4, 3] } }
    const along = (axis: unknown) => ({
      class_name: 'Sequential',
      config: { name: 's', layers: [image, { class_name: 'BatchNormalization', config: { name: 'n', axis } }] },
    })
    for (const axis of [-1, 3, [3]]) kerasModel(along(axis), 'x').dispose()
    for (const axis of [1, [1], 2, 4])
      expect(await refusal(along(axis))).toMatchObject({
        code: 'mismatch',
        message: expect.stringContaining("'n' has axis"),
      })
  })

  it('may leave the input open', async () => {
    const open = { class_name: 'InputLayer', config: { name: 'in', batch_shape: [null, null] } }
    const described = { class_name: 'Sequential', config: { name: 's', layers: [open, denseLayer('d')] } }
    expect(await refusal(described)).toMatchObject({ code: 'mismatch', message: expect.stringContaining('inputShape') })
    using model = kerasModel(described, 'x', { inputShape: [5] })
    expect(model.inputShape).toEqual([5])
  })

  it('runs layers in an order that works, whatever the order of the list, and leaves out what the output does not need', () => {
    using model = kerasModel(
      graph([placed(denseLayer('b'), 'a'), placed(denseLayer('unused'), 'b'), placed(denseLayer('a'), 'in')]),
      'x',
    )
    expect(model.layers.map(({ layer }) => layer.name)).toEqual(['a', 'b'])
  })

  it('that is damaged or endless is refused', async () => {
    for (const damaged of [
      ...[undefined, null, 7, 'x', [], {}, { class_name: 'Sequential' }, { class_name: 'Sequential', config: {} }],
      ...[sequence({}), sequence({ class_name: 7, config: {} }), sequence({ class_name: 'Dense' })],
      ...[
        graph([placed(denseLayer('b'), 'nowhere')]),
        graph([placed(denseLayer('b'), 'b')]),
        graph([]),
        graph([denseLayer('b')]),
      ],
      graph([placed(denseLayer('a'), 'b'), placed(denseLayer('b'), 'a')]),
    ])
      expect(await refusal(damaged)).toMatchObject({ code: expect.stringMatching(/^(mismatch|format|argument)$/) })
    let nested: object = denseLayer('d')
    for (let i = 0; i < 1000; i++) nested = { class_name: 'Sequential', config: { name: 'n', layers: [nested] } }
    expect(await refusal(sequence(nested))).toMatchObject({ code: 'format' })
    const chain = Array.from({ length: 20_000 }, (_, i) => placed(denseLayer(`d${i}`), i === 0 ? 'in' : `d${i - 1}`))
    expect(await refusal(graph(chain.reverse(), 'd19999x'))).toMatchObject({ code: 'format' })
  })
})
