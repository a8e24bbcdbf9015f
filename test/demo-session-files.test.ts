/** The user's files in a session of the demo: data, models and networks for photos. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { evaluate } from '../src/autograd/tensors.ts'
import type { SafeTensor } from '../src/format/safetensors.ts'
import { readSafetensors, writeSafetensors } from '../src/format/safetensors.ts'
import { vgg16 } from '../src/nn/models/vgg16.ts'
import { predict } from '../src/nn/predict.ts'
import { preprocessInput } from '../src/nn/preprocessing.ts'
import { resize } from '../src/operators/index.ts'
import { tensor } from '../src/operators/tensor.ts'
import { loadTrainedModel } from '../src/runs/trained-model.node.ts'
import { barImages } from './support/bar-images.ts'
import { disagreement } from './support/compare.ts'
import { fileOf, idxFiles, idxImages, noBitmap, photo, refusal, settings, useSessions } from './support/demo-session.ts'
import { hashedGlorotWeights } from './support/hashed-weights.ts'

const { openSession, openBars } = useSessions()

describe("the user's data", () => {
  it('are recognised by their content, in any order and under any names', async () => {
    const { session } = await openSession()
    const files = [...idxFiles('train', 60), ...idxFiles('t10k', 20)]
    const renamed = files.reverse().map((file, i) => new File([file], `file ${i}`))
    expect(await session.useFiles(renamed)).toMatchObject({ trainCount: 60, validationCount: 20 })
    expect(await session.useFiles(idxFiles('t10k', 50))).toMatchObject({ trainCount: 40, validationCount: 10 })
  })

  it('can be a CSV, whose lines with missing cells are left out', async () => {
    const { session } = await openSession()
    const { pixels, labels } = barImages(20, 'csv')
    const header = ['label', ...Array.from({ length: 784 }, (_, i) => `pixel${i + 1}`)].join()
    const rows = Array.from(labels, (label, i) => [label, ...pixels.subarray(i * 784, (i + 1) * 784)].join())
    const text = [header, ...rows, rows[0]?.replace(/,\d+$/, ','), ''].join('\n')
    const summary = await session.useFiles([fileOf('mine.csv', text)])
    expect(summary).toMatchObject({ trainCount: 16, validationCount: 4, droppedLines: 1, source: 'mine.csv' })
  })

  it('that are damaged, incomplete or of another kind are refused by name, and nothing changes', async () => {
    const { session, told } = await openBars()
    const training = session.train({ ...settings, epochs: 2 })
    await told.until(() => told.steps.length > 0)
    await session.pause('user')
    await training
    const states = told.states.length
    const before = await session.saveModel()

    const [images, labels] = idxFiles('train', 30)
    if (images === undefined || labels === undefined) throw new Error('a half has two files')
    const cut = new File([images.slice(0, 5000)], 'cut-images')
    const cases: [File[], string, string][] = [
      [[], 'data', 'No files'],
      [[images], 'data', 'train-images-idx3-ubyte'],
      [[labels], 'data', 'train-labels-idx1-ubyte.gz'],
      [[cut, labels], 'format', 'cut-images'],
      [[images, new File([labels.slice(0, 30)], 'cut-labels.gz')], 'format', 'cut-labels.gz'],
      [[images, ...idxFiles('train', 20).slice(1)], 'data', 'train-images-idx3-ubyte'],
      [[fileOf('not.csv', 'a,b\n1,2\n')], 'format', 'not.csv'],
      [[fileOf('photo.png', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 1))], 'format', 'photo.png'],
      [[fileOf('empty', '')], 'format', 'empty'],
      [[images, labels, ...idxFiles('t10k', 20), ...idxFiles('more', 10)], 'data', 'more-images-idx3-ubyte'],
    ]
    for (const [files, code, name] of cases) {
      const told = await refusal(session.useFiles(files))
      expect({ name, ...told }).toMatchObject({ name, code })
      expect(told.message).toContain(name)
    }
    expect(told.states).toHaveLength(states)
    expect(await session.saveModel()).toEqual(before)
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
    expect(told.steps.at(-1)).toMatchObject({ steps: 38 })
  })

  it('end a training that uses other data', async () => {
    const { session, told } = await openBars()
    const training = session.train(settings)
    await told.until(() => told.steps.length > 0)
    await session.useFiles(idxFiles('train', 50))
    await training
    expect(told.states.at(-1)).toEqual({ kind: 'none' })
    expect(await refusal(session.resume())).toMatchObject({ code: 'argument' })
  })
})

const models = fileURLToPath(new URL('fixtures/models', import.meta.url))
const expected = readSafetensors(readFileSync(join(models, 'expected.safetensors'))).tensors
const expectedImages = expected.get('images')?.data as Uint8Array
const expectedProbabilities = expected.get('probabilities')?.data as Float32Array

describe("the user's model", () => {
  it.each(['lenet5.h5', 'lenet5.keras', 'lenet5.weights.h5', 'lenet5_keras2_weights.h5'])(
    'is read from %s, and gives the probabilities that Keras gave',
    async (name) => {
      const { session, told } = await openSession()
      const summary = await session.loadModel(fileOf(name, readFileSync(join(models, name))))
      expect(summary.source).toBe(name)
      expect(told.models.at(-1)).toEqual(summary)
      for (const i of [0, 1, 2]) {
        const { probabilities } = await session.classify(expectedImages.slice(i * 784, (i + 1) * 784))
        const wanted = expectedProbabilities.subarray(i * 10, (i + 1) * 10)
        expect(disagreement(probabilities, wanted, { rtol: 0, atol: 1e-5 })).toBeUndefined()
      }
    },
  )

  it('can have other dense layers, which further training keeps', async () => {
    const small = await openSession()
    const tensors = new Map<string, SafeTensor>()
    const shapes = { conv1: [5, 5, 1, 6], conv2: [5, 5, 6, 16], dense1: [400, 24], dense2: [24, 12], logits: [12, 10] }
    for (const [layer, shape] of Object.entries(shapes)) {
      const count = shape.reduce((product, extent) => product * extent, 1)
      const bias = shape.at(-1) ?? 0
      tensors.set(`${layer}/kernel`, { dtype: 'F32', shape, data: new Float32Array(count).fill(0.01) })
      tensors.set(`${layer}/bias`, { dtype: 'F32', shape: [bias], data: new Float32Array(bias) })
    }
    const file = fileOf('small.safetensors', writeSafetensors(tensors, {}))
    expect((await small.session.loadModel(file)).parameters).toBe(156 + 2416 + 9624 + 300 + 130)
    await small.session.useFiles(idxFiles('train', 50))
    await small.session.train({ ...settings, epochs: 1 })
    expect(small.told.models.at(-1)).toMatchObject({ source: 'training', parameters: 12_626 })
  })

  it('can be saved, and read by the command and by the session', async () => {
    const { session, told } = await openBars()
    await session.train(settings)
    const saved = await session.saveModel()
    const [image] = idxImages(300)
    const { probabilities } = await session.classify(image)
    const folder = await mkdtemp(join(tmpdir(), 'weftgrad-demo-'))
    try {
      await writeFile(join(folder, 'model.safetensors'), saved)
      const { model, classNames } = await loadTrainedModel(folder)
      using read = model
      expect(model.summary()).toContain('dense1 (Dense)')
      expect(classNames?.[9]).toBe('Ankle boot')
      expect(
        disagreement(await predict(read, image, [28, 28, 1]), probabilities, { rtol: 0, atol: 1e-6 }),
      ).toBeUndefined()
    } finally {
      await rm(folder, { recursive: true })
    }
    await session.train({ ...settings, epochs: 1, seed: 9 })
    await session.loadModel(fileOf('saved.safetensors', saved))
    expect(told.states.at(-1)).toEqual({ kind: 'none' })
    expect(await session.saveModel()).toEqual(saved)
    expect((await session.classify(image)).probabilities).toEqual(probabilities)
    const archive = await session.saveModel('keras')
    await session.train({ ...settings, epochs: 1, seed: 9 })
    await session.loadModel(fileOf('saved.keras', archive))
    expect(await session.saveModel()).toEqual(saved)
  })

  it("that is damaged or not a LeNet-5 is refused with the reader's message, and nothing changes", async () => {
    const { session, told } = await openBars()
    const training = session.train(settings)
    await told.until(() => told.steps.length > 0)
    await session.pause('user')
    await training
    const before = await session.saveModel()
    const other: SafeTensor = { dtype: 'F32', shape: [3, 4], data: new Float32Array(12) }
    const bad = readFileSync(join(models, 'lenet5.h5')).subarray(0, 100_000)
    expect(await refusal(session.loadModel(fileOf('cut.h5', bad)))).toMatchObject({ code: 'format' })
    expect(await refusal(session.loadModel(fileOf('text.txt', 'hello')))).toMatchObject({ code: 'format' })
    const foreign = fileOf('foreign.safetensors', writeSafetensors(new Map([['dense/kernel', other]]), {}))
    const told1 = await refusal(session.loadModel(foreign))
    expect(told1.code).toBe('mismatch')
    expect(told1.message).toMatch(/foreign\.safetensors does not fit lenet5: conv1/)
    expect(await session.saveModel()).toEqual(before)
    expect(told.models).toHaveLength(2)
    await session.resume()
    expect(told.states.at(-1)).toEqual({ kind: 'finished' })
  })
})

describe('a network for photos', () => {
  it("is VGG16 from a file: it gives the network's deepest feature maps, also after a lost device", async () => {
    const { session, told, device } = await openSession()
    using network = vgg16()
    const weights = hashedGlorotWeights(network)
    const tensors = new Map<string, SafeTensor>()
    for (const [name, { shape, data }] of weights) tensors.set(name, { dtype: 'F32', shape, data })
    const file = fileOf('vgg16.safetensors', writeSafetensors(tensors, {}))
    expect(await session.loadVgg16(file)).toEqual({ source: 'vgg16.safetensors', hasTop: false, side: 224 })
    expect(told.fractions.at(-1)).toBe(1)
    const result = await session.describePhoto(noBitmap)
    expect(result.featureShape).toEqual([7, 7, 512])
    expect(result.top5).toBeUndefined()

    await session.destroyDevice()
    expect((await session.describePhoto(noBitmap)).features).toEqual(result.features)

    network.setWeights(weights)
    const pixels = Float32Array.from(photo.rgba).filter((_, i) => i % 4 !== 3)
    const small = resize(tensor(pixels, [1, 300, 300, 3]), { height: 224, width: 224 })
    const [maps] = await evaluate([network.call(preprocessInput(small, 'caffe'))], { device: device() })
    const largest = Math.max(...(maps ?? []))
    expect(disagreement(result.features, maps ?? [], { rtol: 1e-4, atol: 1e-5 * largest })).toBeUndefined()
  })

  it('of another kind is refused, and the previous one stays', async () => {
    const { session } = await openSession()
    const lenet = fileOf('lenet5.h5', readFileSync(join(models, 'lenet5.h5')))
    const told = await refusal(session.loadVgg16(lenet))
    expect(told.code).toBe('mismatch')
    expect(told.message).toContain('It looks like the weights of a LeNet-5.')
    expect(await refusal(session.describePhoto(noBitmap))).toMatchObject({ code: 'argument' })
  })
})
