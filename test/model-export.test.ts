/**
 * Models in other tools' formats: read back by weftgrad bit for bit, and by TensorFlow.js with the same outputs. Keras and ONNX Runtime
 * open them in test/model-export-python.test.ts.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeOnnx } from '../src/format/onnx/messages.ts'
import { mul, type Tensor, tensor } from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import type { Layer } from '../src/nn/layers.ts'
import * as layers from '../src/nn/layers.ts'
import { convertFile } from '../src/weights/convert-model.node.ts'
import * as weights from '../src/weights/index.node.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { inputOf, isReadBack, layerCases, networkCases, notInKeras } from './support/export-cases.ts'
import { classNameOf } from './support/layer-classes.ts'
import { loadTensorFlow, type TensorFlow } from './support/tfjs.ts'

const device = useDevice()
const cases = [...layerCases, ...networkCases]
let folder = ''
let tf: TensorFlow
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-export-'))
  tf = await loadTensorFlow()
})
afterAll(() => rm(folder, { recursive: true }))

const options = { classNames: ['a', 'b', 'c'], description: { preprocessing: 'none', author: 'me' } }
const small = (): nn.Model =>
  nn.sequential(
    'small',
    [4, 4, 2],
    [
      nn.conv2d('conv', 3, 3, { kernelRegularizer: 'l2', kernelInitializer: nn.heNormal, activation: 'relu' }),
      nn.flatten(),
      nn.dense(3, { activation: 'softmax' }),
    ],
  )

/** Layers and settings that TensorFlow.js does not have. */
const notInTensorFlowJs =
  /^(Activation: hardSi|Subtract|GroupNorm|Normalization|MultiHead|LayerScale|Rescaling: each|Conv1D: causal|Conv2D: groups|(Conv2DTranspose|DepthwiseConv2D): dilation|UpSampling2D: bilinear|ELU: alpha|ReLU: a slope)/

interface Opened {
  readonly model: nn.Model
  readonly metadata: Readonly<Record<string, string>> | undefined
}

/** The model that weftgrad reads. */
async function readBack(file: weights.WeightFile): Promise<Opened> {
  try {
    return { model: await weights.loadModel(file, { device: device() }), metadata: file.metadata }
  } finally {
    file.close()
  }
}

async function openTensorFlowJs(files: Readonly<Record<string, Uint8Array>>): Promise<weights.WeightFile> {
  const { 'model.json': json = new Uint8Array() } = files
  return await weights.open(json, { openShard: async (path) => files[path] ?? expect.fail(path) })
}

const numbersOf = (model: nn.Model) => model.weightNumbers()

type Encode = (model: nn.Model, options?: weights.ExportOptions) => Promise<weights.WeightFile>
const formats: Readonly<Record<string, Encode>> = {
  '.keras': async (model, given) => await weights.open(await weights.encodeKeras(model, given)),
  '.h5': async (model, given) => await weights.open(await weights.encodeKerasH5(model, given)),
  'TensorFlow.js': async (model, given) => await openTensorFlowJs(await weights.encodeTensorflowJs(model, given)),
}

describe.each(Object.entries(formats))('%s', (format, encode) => {
  const lacking = format === 'TensorFlow.js' ? notInTensorFlowJs : notInKeras
  const held = cases.filter(({ name }) => !lacking.test(name))
  it.each(held.map((one) => [one.name, one] as const))('holds %s', async (name, { build }) => {
    using model = build()
    if (!isReadBack(name)) return
    const { model: back } = await readBack(await encode(model))
    using copy = back
    expect(await numbersOf(copy)).toEqual(await numbersOf(model))
    const x = tensor(inputOf(model), [2, ...model.inputShape])
    expect(await copy.call(x).data()).toEqual(await model.to(device()).call(x).data())
  })

  it('keeps class names and the description', async () => {
    using model = small()
    const { model: back, metadata } = await readBack(await encode(model, options))
    back.dispose()
    expect({ ...metadata }).toEqual({ preprocessing: 'none', author: 'me', classes: '["a","b","c"]' })
  })
})

describe('TensorFlow.js', () => {
  it.each(cases.map((one) => [one.name, one] as const))('%s: the same outputs, or refused', async (name, { build }) => {
    using model = build()
    if (notInTensorFlowJs.test(name)) {
      await expect(weights.encodeTensorflowJs(model)).rejects.toMatchObject({
        code: 'argument',
        message: expect.stringMatching(/TensorFlow\.js/),
      })
      return
    }
    const { 'model.json': json, ...shards } = await weights.encodeTensorflowJs(model)
    const { modelTopology, weightsManifest } = JSON.parse(new TextDecoder().decode(json))
    const [{ paths, weights: weightSpecs }] = weightsManifest
    const weightData = new Uint8Array(Buffer.concat(paths.map((path: string) => shards[path]))).buffer
    const theirs = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData }))
    const [x, shape] = [inputOf(model), [2, ...model.inputShape]]
    const [output, ...others] = [theirs.predict(tf.tensor(x, shape))].flat()
    expect(others).toEqual([])
    const own = await model.to(device()).call(tensor(x, shape)).data()
    const tolerance = { rtol: 1e-5, atol: 1e-5 }
    expect(disagreement(output?.dataSync() ?? [], own, tolerance, output?.shape ?? [])).toBeUndefined()
    tf.dispose([theirs.weights.map((weight) => weight.read()), output].flat() as never)
  })

  it('has weights in files of at most 4 MB', async () => {
    using model = nn.sequential('wide', [1000], [nn.dense(1100)])
    const files = await weights.encodeTensorflowJs(model)
    expect(
      Object.values(files)
        .map(({ length }) => length)
        .slice(1),
    ).toEqual([2 ** 22, 4 * 1100 * 1001 - 2 ** 22])
    expect(await weights.encodeTensorflowJs(model)).toEqual(files)
  })
})

describe('ONNX', () => {
  it.each(networkCases.map((one) => [one.name, one] as const))('%s: every weight bit for bit', async (_, { build }) => {
    using model = build()
    const bytes = await weights.encodeOnnx(model)
    expect(await weights.encodeOnnx(model)).toEqual(bytes)
    const { graph } = decodeOnnx(bytes, 'test')
    const tensors = new Map(graph?.initializer.map(({ name, dims, rawData }) => [name, { dims, rawData }]))
    const bits = (bytes: Uint8Array): number[] => [...new Uint32Array(bytes.slice().buffer)].sort()
    for (const [name, { data }] of await model.weightNumbers()) {
      const { rawData = new Uint8Array() } = tensors.get(name) ?? {}
      expect(bits(rawData), name).toEqual(bits(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)))
    }
  })

  it('turns no image between its layers, and one before it is flattened', async () => {
    const turns = async (model: nn.Model): Promise<number> => {
      const { graph } = decodeOnnx(await weights.encodeOnnx(model), 'test')
      model.dispose()
      return graph?.node.filter(({ opType }) => opType === 'Transpose').length ?? Number.NaN
    }
    const counts = await Promise.all(networkCases.map(({ build }) => turns(build())))
    expect(Object.fromEntries(networkCases.map(({ name }, i) => [name, counts[i]]))).toEqual({
      'LeNet-5': 1,
      'ResNet-20': 0,
      MobileNetV2: 0,
    })
  })

  it('has class names, the description, and images with their channels first', async () => {
    using model = small()
    const { graph, metadataProps, opsetImport } = decodeOnnx(await weights.encodeOnnx(model, options), 'test')
    expect(metadataProps.map(({ key, value }) => [key, value])).toEqual([
      ['preprocessing', 'none'],
      ['author', 'me'],
      ['classes', '["a","b","c"]'],
    ])
    expect(opsetImport.map(({ version }) => version)).toEqual([17n])
    const type = graph?.input[0]?.type?.value
    const dims = type?.case === 'tensorType' ? type.value.shape?.dim.map(({ value }) => value.value) : []
    expect(dims).toEqual(['batch', 2n, 4n, 4n])
  })
})

describe('what no file can hold', () => {
  const own = (name: string): Layer => ({
    ...{ name, className: 'Doubled', config: {} },
    outputShape: ([shape = []]) => shape,
    weights: () => [],
    call: ([x]) => mul(x as Tensor, 2),
  })
  const encoders = [weights.encodeKeras, weights.encodeKerasH5, weights.encodeTensorflowJs, weights.encodeOnnx]

  it('is refused by name, all of it at once', async () => {
    using model = nn.sequential(
      'odd',
      [4],
      [own('first'), nn.dense('d', 2, { activation: (x) => mul(x, 2) }), own('last')],
    )
    for (const encode of encoders)
      await expect(encode(model)).rejects.toMatchObject({
        code: 'argument',
        message: expect.stringMatching(/3 layers of odd\. first \(Doubled\): .*; d \(Dense\): .*; last \(Doubled\): /),
      })
  })

  it('is a frozen model, a second output, another number of class names, a setting of pixels', async () => {
    using model = small()
    const net = new nn.Wiring()
    net.chain(net.input, nn.dense('left', 2))
    net.chain(net.input, nn.dense('right', 2))
    using heads = net.model('heads', [3])
    using padded = nn.sequential(
      'padded',
      [4, 4, 1],
      [
        nn.conv2d(2, 3, {
          padding: [
            [1, 0],
            [0, 1],
          ],
        }),
      ],
    )
    for (const encode of encoders) {
      await expect(encode(nn.freeze(model) as never)).rejects.toMatchObject({ code: 'argument' })
      await expect(encode(heads)).rejects.toMatchObject({ message: expect.stringContaining('left') })
      await expect(encode(model, { classNames: ['a'] })).rejects.toMatchObject({ code: 'mismatch' })
      if (encode !== weights.encodeOnnx)
        await expect(encode(padded)).rejects.toMatchObject({ message: expect.stringContaining('zeroPadding2d') })
    }
  })

  it('is a class that a test has not shown: every class is among the cases', () => {
    const used = new Set(layerCases.flatMap(({ build }) => build().layers.map(({ layer }) => layer.className)))
    const makers = Object.values(layers) as readonly ((...given: unknown[]) => unknown)[]
    const classes = makers.flatMap((make) => classNameOf(make) ?? [])
    expect(classes.length).toBeGreaterThan(30)
    expect(classes.filter((name) => !used.has(name))).toEqual([])
  })
})

describe('saveModel', () => {
  it.each(['m.keras', 'm.h5', 'm.safetensors', 'tfjs', 'tfjs2/model.json'])('writes %s', async (name) => {
    const path = join(folder, name)
    using model = small()
    await weights.saveModel(model, path, options)
    const { model: back, metadata } = await readBack(await weights.open(path))
    using copy = back
    expect(await numbersOf(copy)).toEqual(await numbersOf(model))
    expect(metadata).toMatchObject({ author: 'me', classes: '["a","b","c"]' })
  })

  it('replaces a TensorFlow.js model whole: weights that only the old one had are removed, other files stay', async () => {
    const path = join(folder, 'again')
    await mkdir(path)
    await writeFile(join(path, 'notes.txt'), 'mine')
    for (const seed of [1, 2]) {
      using model = nn.sequential('m', [2], [nn.dense(2)], { seed })
      await weights.saveModel(model, path)
      const names = await readdir(path)
      expect(names.sort()).toEqual(['model.json', 'notes.txt', expect.stringMatching(/^shard1of1-[\da-f]{8}\.bin$/)])
      const { model: back } = await readBack(await weights.open(path))
      using copy = back
      expect(await numbersOf(copy)).toEqual(await numbersOf(model))
    }
  })

  it('refuses other names, and leaves nothing behind where it fails', async () => {
    const place = join(folder, 'none')
    await mkdir(place)
    using model = nn.sequential('odd', [4, 4], [nn.multiHeadAttention(1, 2)])
    await expect(weights.saveModel(model, join(place, 'm.pt'))).rejects.toMatchObject({ code: 'argument' })
    await expect(weights.saveModel(model, `${place}/`)).rejects.toMatchObject({ code: 'argument' })
    expect(await readdir(place)).toEqual([])
  })
})

describe('convertFile', () => {
  const convert = async (from: string, to: string) => {
    const file = await weights.open(join(folder, from))
    try {
      return await convertFile(file, join(folder, to))
    } finally {
      file.close()
    }
  }

  it('takes a model from each format to each other, with its weights and texts', async () => {
    using model = small()
    await weights.saveModel(model, join(folder, 'from.safetensors'), options)
    const steps = ['from.safetensors', 'step.keras', 'step.h5', 'step-tfjs', 'back.safetensors', 'step.onnx']
    for (const [i, to] of steps.slice(1).entries())
      expect(await convert(steps[i] ?? '', to)).toMatchObject({
        model: { name: 'small', layers: 3, ...options },
        tensors: [{ name: 'conv/kernel', storedAs: 'float32' }, {}, {}, {}],
      })
    const { model: back } = await readBack(await weights.open(join(folder, 'back.safetensors')))
    using copy = back
    expect(await numbersOf(copy)).toEqual(await numbersOf(model))
  })

  it('takes weights without a description to safetensors only, and says so', async () => {
    using model = small()
    const bytes = await nn.encodeModel(model, { architecture: false })
    await writeFile(join(folder, 'alone.safetensors'), bytes)
    expect(await convert('alone.safetensors', 'out.safetensors')).toMatchObject({
      format: 'safetensors',
      reason: expect.stringContaining('no description of a model'),
    })
    await expect(convert('alone.safetensors', 'out.keras')).rejects.toMatchObject({ code: 'mismatch' })
    expect(await readdir(folder)).not.toContain('out.keras')
    expect((await readFile(join(folder, 'out.safetensors'))).length).toBeGreaterThan(0)
  })
})
