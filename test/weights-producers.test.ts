/**
 * Files that Keras 2, Keras 3 and TensorFlow.js themselves wrote, of every kind of model that people save: they load
 * and give their producer's predictions, or are refused if nothing in the file decides.
 * `fixtures/keras-producers/write.py` made them.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LayersModel } from '@tensorflow/tfjs'
import { unzipSync } from 'fflate'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { freshHdf5 } from '../src/format/hdf5-instance.node.ts'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { openWeights } from '../src/format/open-weights.ts'
import type { WeightFile } from '../src/format/weight-file.ts'
import { elementCount } from '../src/kernels/kernel.ts'
import { add, dense, type Layer, normalization } from '../src/nn/layers.ts'
import { type Model, sequential } from '../src/nn/model.ts'
import { Wiring } from '../src/nn/wiring.ts'
import { tensor } from '../src/operators/tensor.ts'
import { loadWeights } from '../src/weights/load.ts'
import { useDevice } from './support/device.ts'
import { writeLayersModel } from './support/layers-model.ts'
import { loadTensorFlow } from './support/tfjs.ts'
import { smallModel } from './support/weight-files.ts'

const device = useDevice()

const tanhs = (...names: string[]): Model =>
  sequential(
    'chain',
    [4],
    names.map((name) => dense(name, 4, { activation: 'tanh' })),
  )

const small = (): Model => smallModel(true)

const branch = (a = 'a', b = 'b', b2 = 'b2'): Model => {
  const net = new Wiring()
  const layer = (name: string): Layer => dense(name, 4, { activation: 'tanh' })
  const left = net.chain(net.input, layer(a))
  net.merge(add('sum'), left, net.chain(net.input, layer(b), layer(b2)))
  return net.model('branch', [4])
}

const models: Readonly<Record<string, () => Model>> = {
  plain: small,
  trained: small,
  nested: small,
  frozen: small,
  subclassed: small,
  partly: () => tanhs('d1', 'd2', 'd3', 'top'),
  twins: () => tanhs('p/d1', 'p/d2', 'q/d1', 'q/d2', 'r'),
  branch: () => branch(),
  backwards: () => tanhs('some', 'second', 'third'),
  shared: () => sequential('once', [4], [dense('both', 4, { activation: 'tanh' }), dense('logits', 4)]),
  normalization: () => sequential('scaled', [4], [normalization('scale'), dense('logits', 2)]),
  names: () => tanhs('Head-1', 'stem.conv', 'dense_7', 'dense_3', 'kernel'),
  auto: () => tanhs(...Array.from({ length: 12 }, (_, i) => `l${i + 1}`)),
  float16: () => tanhs('a', 'b'),
}

/**
 * Files in which layers of equal shapes have neither names nor an order: from Keras 2 without a configuration, and from
 * a subclass.
 */
const undecided = new Set([
  ...['tf partly.weights.h5', 'tf twins.weights.h5', 'tf branch.weights.h5'],
  ...['tf backwards.keras', 'tf backwards.weights.h5', 'tf backwards.alone.h5'],
  ...['k3 backwards.keras', 'k3 backwards.weights.h5'],
])

/** The producers' input: see `write.py`. */
function example(shape: readonly number[]): Float32Array {
  return Float32Array.from({ length: 2 * elementCount(shape) }, (_, i) => ((7 * i) % 13) / 13 - 0.5)
}

async function predicted(model: Model, file: WeightFile): Promise<number[]> {
  try {
    await loadWeights(model, device(), file)
    return [...(await model.call(tensor(example(model.inputShape), [2, ...model.inputShape])).data())]
  } finally {
    file.close()
  }
}

/** Keras and weftgrad add float32 in different orders. */
function expectNear(found: readonly number[], wanted: readonly number[]): void {
  expect(found).toHaveLength(wanted.length)
  for (const [i, value] of wanted.entries()) {
    expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThan(2e-6 * Math.max(1, Math.abs(value)))
  }
}

const archives = ['tf', 'k3'].map((producer) => {
  const path = fileURLToPath(new URL(`fixtures/keras-producers/${producer}.zip`, import.meta.url))
  const { 'predictions.json': json, ...files } = unzipSync(new Uint8Array(readFileSync(path)))
  const predictions: Readonly<Record<string, readonly number[]>> = JSON.parse(new TextDecoder().decode(json))
  const open = (name: string): Promise<WeightFile> =>
    openWeights(memorySource(files[name] ?? new Uint8Array(), name), { hdf5: freshHdf5 })
  return { producer, names: Object.keys(files), predictions, open }
})

describe.each(archives)('Keras ($producer)', ({ producer, names, predictions, open }) => {
  it('wrote every kind', () => {
    expect(new Set(names.map((name) => name.replace(/\..*/, '')))).toEqual(new Set(Object.keys(models)))
  })

  it.each(names)('%s', async (name) => {
    const kind = name.replace(/\..*/, '')
    const make = models[kind]
    if (make === undefined) throw new Error(`there is no model for ${name}`)
    using model = make()
    const prediction = predicted(model, await open(name))
    if (undecided.has(`${producer} ${name}`)) {
      await expect(prediction).rejects.toMatchObject({
        code: 'mismatch',
        message: expect.stringContaining('does not show which of its layers'),
      })
      expect(model.device).toBeUndefined()
    } else expectNear(await prediction, predictions[kind] ?? [])
  })

  it.each(['branch.h5', 'branch.keras'])("%s under other names too, using the order of Keras' graph", async (name) => {
    using model = branch('x', 'y', 'z')
    expectNear(await predicted(model, await open(name)), predictions.branch ?? [])
    // With one more layer, Keras' order may differ.
    using other = sequential('other', [4], [dense('x', 4), dense('y', 4)])
    await expect(predicted(other, await open(name))).rejects.toMatchObject({ code: 'mismatch' })
  })
})

describe('TensorFlow.js', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weftgrad-producers-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  /** The small network with its first layer frozen: its weights then come last. */
  async function trainedModel(nested: boolean): Promise<{ model: LayersModel; wanted: number[] }> {
    const tf = await loadTensorFlow()
    const base = [
      tf.layers.conv2d({ name: 'conv', filters: 4, kernelSize: 3, inputShape: [8, 8, 3], trainable: false }),
      tf.layers.batchNormalization({ name: 'norm' }),
      tf.layers.conv2d({ name: 'last', filters: 4, kernelSize: 3, useBias: false }),
    ]
    const head = [tf.layers.globalAveragePooling2d({ name: 'pool' }), tf.layers.dense({ name: 'logits', units: 2 })]
    const body = nested ? [tf.sequential({ name: 'base', layers: base })] : base
    const model = tf.sequential({ layers: [...body, ...head] })
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' })
    const x = tf.tensor(example([8, 8, 3]), [2, 8, 8, 3])
    await model.fit(x, tf.tensor([1, 0, 0, 1], [2, 2]), { epochs: 2, verbose: 0 })
    const y = model.predict(x)
    if (Array.isArray(y)) throw new Error('the model has one output')
    return { model, wanted: [...(await y.data())] }
  }

  it.each([
    ['without optimizer', false, false],
    ['with optimizer', false, true],
    ['nested, without optimizer', true, false],
    ['nested, with optimizer', true, true],
  ])('%s', async (name, nested, includeOptimizer) => {
    const { model: theirs, wanted } = await trainedModel(nested)
    const path = join(folder, name)
    await writeLayersModel(await loadTensorFlow(), theirs, path, { includeOptimizer })
    using model = small()
    expectNear(await predicted(model, await openWeightFile(path)), wanted)
  })
})
