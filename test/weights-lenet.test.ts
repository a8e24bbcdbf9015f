/**
 * One LeNet-5 in every format that Keras and the TensorFlow.js converter write: read, loaded and run, it gives Keras'
 * probabilities. Quantised files hold other numbers: those that TensorFlow.js reads from them.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWeightFile } from '../src/format/open-weights.node.ts'
import { readSafetensors, type SafetensorsArrays } from '../src/format/safetensors.ts'
import type { Model } from '../src/nn/model.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { predict } from '../src/nn/predict.ts'
import { convertWeights } from '../src/weights/convert.node.ts'
import { loadWeights } from '../src/weights/load.ts'
import { guessAt } from '../src/weights/recognize.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { loadTensorFlow, type TensorFlow } from './support/tfjs.ts'

const models = fileURLToPath(new URL('fixtures/models', import.meta.url))
const { tensors } = readSafetensors(readFileSync(join(models, 'expected.safetensors')))

function expected<D extends keyof SafetensorsArrays>(name: string, dtype: D): SafetensorsArrays[D] {
  const tensor = tensors.get(name)
  if (tensor?.dtype !== dtype) throw new Error(`expected.safetensors has no ${dtype} ${name}`)
  return tensor.data as SafetensorsArrays[D]
}
const images = expected('images', 'U8')
const probabilities = expected('probabilities', 'F32')
const layers = ['conv1', 'conv2', 'dense1', 'dense2', 'probabilities']

const device = useDevice()

/** The file's weights in a LeNet-5, in order. */
async function load(path: string): Promise<{ readonly weights: Float32Array[]; readonly probabilities: Float32Array }> {
  using model: Model = lenet5()
  const file = await openWeightFile(path)
  try {
    await loadWeights(model, device(), file)
  } finally {
    file.close()
  }
  const weights = [...(await model.weightNumbers()).values()].map(({ data }) => data)
  return { weights, probabilities: await predict(model, images, [28, 28, 1]) }
}

const exact = { rtol: 0, atol: 0 }

describe("Keras' LeNet-5, read from", () => {
  it.each([
    ['lenet5.h5'],
    ['lenet5.keras'],
    ['lenet5.weights.h5'],
    ['lenet5_keras2_weights.h5'],
    ['tfjs-layers-float32'],
    ['tfjs-graph'],
  ])('%s, has its weights bit for bit and gives its probabilities', async (name) => {
    const own = await load(join(models, name))
    const wanted = layers.flatMap((layer) => [0, 1].map((i) => expected(`weights/${layer}/${i}`, 'F32')))
    expect(own.weights).toHaveLength(wanted.length)
    for (const [i, numbers] of wanted.entries())
      expect(disagreement(own.weights[i] ?? [], numbers, exact)).toBeUndefined()
    expect(disagreement(own.probabilities, probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
  })

  it('safetensors converted from each, is the same again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-lenet-'))
    try {
      for (const name of ['lenet5.keras', 'lenet5.weights.h5', 'lenet5_keras2_weights.h5', 'tfjs-graph']) {
        const file = await openWeightFile(join(models, name))
        const out = join(folder, `${name}.safetensors`)
        const written = await convertWeights(file, out)
        expect(written.map((tensor) => tensor.name)).toEqual(layers.flatMap((l) => [`${l}/kernel`, `${l}/bias`]))
        expect(written.every(({ min, max, notFinite }) => min < max && notFinite === 0)).toBe(true)
        expect(guessAt(file.groups)).toContain('LeNet-5')
        file.close()
        const own = await load(out)
        expect(disagreement(own.probabilities, probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('a quantised LeNet-5, read from', () => {
  let tf: TensorFlow
  beforeAll(async () => {
    tf = await loadTensorFlow()
  })
  afterAll(() => tf.disposeVariables())

  /** The weights as TensorFlow.js reads them, and probabilities for the images. */
  async function byTensorFlow(folder: string): ReturnType<typeof load> {
    const path = join(folder, 'model.json')
    const { modelTopology, weightsManifest } = JSON.parse(await readFile(path, 'utf8'))
    const [{ paths, weights: weightSpecs }] = weightsManifest
    const shards = await Promise.all(paths.map((shard: string) => readFile(join(dirname(path), shard))))
    const weightData = Uint8Array.from(Buffer.concat(shards)).buffer
    const model = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData }))
    const weights = await Promise.all(model.getWeights().map((weight) => weight.data()))
    const result = tf.tidy(() => {
      const bytes = tf.tensor4d(Float32Array.from(images), [images.length / 784, 28, 28, 1])
      const edges = [0, 2, 2, 0].map((zeros): [number, number] => [zeros, zeros])
      return model.predict(tf.pad(tf.div(bytes, 255), edges))
    })
    if (Array.isArray(result)) throw new Error('a LeNet-5 has one output')
    return {
      weights: weights.map((data) => Float32Array.from(data)),
      probabilities: Float32Array.from(await result.data()),
    }
  }

  it.each([['tfjs-layers-float16'], ['tfjs-layers-uint16'], ['tfjs-layers-uint8']])(
    '%s, has the numbers that TensorFlow.js reads, and gives its probabilities',
    async (name) => {
      const own = await load(join(models, name))
      const theirs = await byTensorFlow(join(models, name))
      expect(own.weights).toHaveLength(theirs.weights.length)
      for (const [i, data] of theirs.weights.entries()) {
        expect(disagreement(own.weights[i] ?? [], data, exact)).toBeUndefined()
      }
      expect(disagreement(own.probabilities, theirs.probabilities, { rtol: 0, atol: 1e-5 })).toBeUndefined()
      // Although eight bits are coarse, nearly all images keep their class.
      expect(disagreement(own.probabilities, probabilities, { rtol: 0, atol: 0.05 })).toBeUndefined()
    },
  )
})
